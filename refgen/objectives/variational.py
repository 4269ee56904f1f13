r"""The variational bound of a diffusion, term by term; its variances may be learnt.

Shapes     N batch, *S axes of one example, the last of them C channels.   data, x, y : (N, *S)
           network : (N, *S) and t -> (N, *S), or (N, *S with 2 C channels) where variances are
           learnt    t : (N,) in 1 .. T    every term of the bound : (N,), in nats
Sources    ho2020-ddpm  eq. 5-8, 13 (the terms, the decoder);  sohl2015-diffusion;
           nichol2021-improved  eq. 4-7, 15 (bound, learnt variance)

The model starts from N(0, I) and walks back, p(x_{t−1} | x_t) = N(μ_θ, v). Its density of data is
an integral over all walks, which is bounded term by term:

    −log p(data) ≤ L_T + Σ_{t ≥ 2} L_{t−1} + L_0,   each on average over q(x_t | data)      (VB.1)
    L_T = ½ Σ (ᾱ_T data² − ᾱ_T − log(1 − ᾱ_T))                                             (VB.2)
    L_{t−1} = ½ Σ (β̃/v − 1 − log β̃/v + e²/v),   e = μ̃ − μ_θ                                (VB.3)
    L_0 = −log P(data | N(μ_θ, v)), the bins of discretized.py, or for data without levels
          ½ Σ (e²/v + log 2πv)                                                             (VB.4)

Σ is over dimensions; μ̃, β̃ and β are those of step t. Lectures 3 and 4 write L_t for L_{t−1}, and
lecture 0 has L_0 with the other sign. Of (VB.3), a KL between Gaussians of any two variances, they
show e²/2v, the rest being constant where v is (`refgen verify --errata`: E32, E33).

The network's ŷ is data, noise or another kind of processes/parametrization.py. At given x_t an
error of any kind is an error of the mean in other units (PA.9, Δ from PA.7), so e needs no
difference of means; at t = 1 the posterior's mean is the data:

    e = c (y − ŷ),   c = Δ_mean / Δ_kind;   at t = 1 μ_θ = data − e                         (VB.5)

Variances v are β_t or β̃_t, or lie between them where a network r(x, t) says:

    log v = ½ (1 + r) log β_t + ½ (1 − r) log β̃_t                                          (VB.6)

β̃_1 = 0 has no logarithm; β̃_2 stands there, or first_var. How fine the first noise should be is
said on the decoder's page.

One t for each example estimates the sum without bias:

    loss = L_T + T L_{t−1},   t ~ U{1 .. T}                                                 (VB.7)

Adjoint. First the slopes of one term, for t ≥ 2 and, with β̃ = 0, for L_0 of a density; those of
bins are (DZ.7) of discretized.py, with de = −dmean. By (VB.7) a term counts T dloss, and ŷ moves e
by −c:

    de = e/v,   dlogv = ½ (1 − β̃/v − e²/v)                                                 (VB.8)
    dŷ = −c T dloss de,   dr = ½ (log β_t − log β̃_t) T dloss dlogv                         (VB.9)
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from refgen import ops as reference
from refgen.exact.chain import BoundTerms
from refgen.noise import Noise
from refgen.objectives.ddpm import Predictor
from refgen.objectives.discretized import (
    HALF_LOG_2PI,
    Bins,
    discretized_nll_backward,
    discretized_nll_forward,
)
from refgen.ops.home import beside, here
from refgen.ops.protocol import Ops
from refgen.processes.discrete import of_schedule
from refgen.processes.parametrization import area, coefficients, column, direction, refuse_blind
from refgen.processes.schedule import Schedule
from refgen.processes.weights import loss_weight
from refgen.typing import Array, Cache, Grads

VARIANCES = ("beta", "posterior", "learned")


class Step(NamedTuple):
    """What the steps of a batch have by themselves, each (N,)."""

    a: Array  # x_t = a data + b noise
    b: Array
    p: Array  # y = p data + q noise
    q: Array
    of_error: Array  # c
    log_posterior: Array  # log β̃; 0 at t = 1
    low: Array  # log v at r = −1
    high: Array  # log v at r = 1
    simple: Array  # the weight of the simple loss


class Term(NamedTuple):
    """One term of the bound for each example, and its gradients."""

    nats: Array  # (N,)
    de: Array  # (N, *S)
    dlogvar: Array  # (N, *S), or what broadcasts to it


class Found(NamedTuple):
    """What one pass of the network came to."""

    term: Term
    y_hat: Array  # (N, *S)
    y: Array  # (N, *S)
    step: Step
    model: Cache


@dataclass(frozen=True)
class VariationalBound:
    """The bound of a network under a schedule, for data on levels (bins) or without any.

    variance is "beta", "posterior" or "learned"; then the network has twice the data's channels,
    the second half being r. first_var stands for β̃_1. Raises ValueError for an unknown kind or
    variance, and for a kind that says nothing about the data at some level of the schedule.
    """

    model: Predictor
    schedule: Schedule
    kind: str = "noise"
    variance: str = "beta"
    bins: Bins | None = None
    first_var: float | None = None
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES:
            raise ValueError(f"variance {self.variance!r} is not one of {', '.join(VARIANCES)}")
        if self.first_var is not None and not (self.first_var > 0 and self.variance != "beta"):
            raise ValueError(
                f"first_var is positive and stands for β̃_1, not {self.first_var} in a model of "
                f"variance {self.variance}: use posterior or learned"
            )
        refuse_blind(self.kind, self.schedule)

    def forward(
        self, params: Any, data: Array, noise: Noise, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "prior"}, cache), (N,) in nats: an unbiased estimate of the bound.

        prior is L_T, which no parameter moves. Raises ValueError for data that are no levels.
        """
        found = self.drawn(params, data, noise, given)
        prior = self.prior(data)
        loss = prior + self.schedule.T * found.term.nats  # (VB.7)
        return {"loss": loss, "prior": prior}, found

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        found: Found = cache
        dterm = column(self.schedule.T * dloss, found.y)
        of_error = column(found.step.of_error, found.y)
        return self.pull(-of_error * dterm * found.term.de, dterm, found)  # (VB.9)

    def terms(self, params: Any, data: Array, noise: Noise, **given: Any) -> BoundTerms:
        """Return every term, each at its own draw: T calls of the network.

        Raises ValueError for data that are no levels.
        """
        nats = []
        for t in range(1, self.schedule.T + 1):
            times = np.full(len(data), t, like=data)
            nats.append(self._at(times, params, data, noise.at("term", t), given).term.nats)
        each = np.stack(nats, axis=1)  # (N, T), t = 1 first
        return BoundTerms(self.prior(data), each[:, 1:], each[:, 0])  # (VB.1)

    def drawn(self, params: Any, data: Array, noise: Noise, given: Any) -> Found:
        """Return the term of one drawn time for each example."""
        t = 1 + noise.at("t").integers(self.schedule.T, len(data), words=self.ops.words)
        return self._at(t, params, data, noise.at("noise"), given)

    def value(self, params: Any, data: Array, drawn: Array, t: Array, **given: Any) -> Found:
        """Return the terms of given times (N,) for a given noise (N, *S)."""
        step = self._step(t, data)
        x, _ = self.ops.noising_forward(data, drawn, step.a, step.b)
        return self._found(params, x, data, drawn, t, step, given)

    def prior(self, data: Array) -> Array:
        """Return L_T, (N,) in nats."""
        kept = float(self.schedule.alpha_bar[-1])
        each = 0.5 * (kept * data * data - kept - float(np.log1p(-kept)))  # (VB.2)
        nats: Array = np.sum(each, axis=tuple(range(1, data.ndim)))
        return nats

    def pull(self, dy: Array, dterm: Array, found: Found) -> Grads:
        """Return grads from a gradient in ŷ and one, (N, 1, ..., 1), in the term's variances."""
        if self.variance == "learned":
            between = column(found.step.high - found.step.low, found.y)
            dr = 0.5 * between * dterm * found.term.dlogvar  # (VB.9)
            dy = np.concatenate([dy, dr], axis=-1)
        return self.model.backward(dy, found.model)[1]

    def reverse(self, params: Any, x: Array, t: int, **given: Any) -> tuple[Array, Array]:
        """Return μ_θ and log v, (N, *S), of the step from t: what a sampler draws from."""
        times = np.full(len(x), t, like=x)
        y_hat, logvar, _ = self._predicted(params, x, times, self._step(times, x), given)
        path = of_schedule(self.schedule)
        of_x, of_y = coefficients(self.kind, "mean", path.levels(t), path.levels(t - 1))
        return float(of_x) * x + float(of_y) * y_hat, logvar + 0 * x

    def _at(self, t: Array, params: Any, data: Array, noise: Noise, given: Any) -> Found:
        """Return the terms of given times for a noise that is drawn here."""
        step = self._step(t, data)
        x, drawn = self.ops.noising_drawn(data, step.a, step.b, noise.stream)
        return self._found(params, x, data, drawn, t, step, given)

    def _found(
        self, params: Any, x: Array, data: Array, drawn: Array, t: Array, step: Step, given: Any
    ) -> Found:
        if self.bins is not None:
            self.bins.refuse(data)
        y = {"data": data, "noise": drawn}.get(self.kind)
        if y is None:
            y = self.ops.noising_forward(data, drawn, step.p, step.q)[0]
        y_hat, logvar, model = self._predicted(params, x, t, step, given)
        e = column(step.of_error, data) * (y - y_hat)  # (VB.5)
        return Found(self._term(data, e, logvar, t, step), y_hat, y, step, model)

    def _predicted(
        self, params: Any, x: Array, t: Array, step: Step, given: Any
    ) -> tuple[Array, Array, Cache]:
        """Return ŷ, log v and the network's cache."""
        out, cache = self.model.forward(params, x, t, **given)
        low, high = column(step.low, x), column(step.high, x)
        if self.variance != "learned":
            return out, low, cache
        if out.shape != (*x.shape[:-1], 2 * x.shape[-1]):
            raise ValueError(
                f"a network that learns variances gives {(*x.shape[:-1], 2 * x.shape[-1])} for "
                f"{x.shape}, twice the channels, not {out.shape}: two networks make a TwoHeads"
            )
        y_hat, r = np.split(out, 2, axis=-1)
        logvar = 0.5 * (1 + r) * high + 0.5 * (1 - r) * low  # (VB.6)
        return y_hat, logvar, cache

    def _term(self, data: Array, e: Array, logvar: Array, t: Array, step: Step) -> Term:
        first = column(t, data) == 1
        precision = np.exp(-logvar)
        error, gap = e * e * precision, column(step.log_posterior, data) - logvar
        sample = tuple(range(1, data.ndim))
        nats = 0.5 * np.sum(np.expm1(gap) - gap + error, axis=sample)  # (VB.3)
        de, dlogvar = e * precision, 0.5 * (1 - np.exp(gap) - error)  # (VB.8)
        if here(t) and not np.any(t == 1):
            return Term(nats, de, dlogvar)
        if self.bins is None:
            nll = np.sum(0.5 * (error + logvar) + HALF_LOG_2PI, axis=sample)  # (VB.4)
            dmean, dlogvar_first = -de, 0.5 * (1 - error)
        else:
            nll, cache = discretized_nll_forward(data, data - e, logvar + 0 * e, bins=self.bins)
            dmean, dlogvar_first = discretized_nll_backward(np.ones_like(nll), cache)
        return Term(
            np.where(t == 1, nll, nats),
            np.where(first, -dmean, de),
            np.where(first, dlogvar_first, dlogvar),
        )

    def _step(self, t: Array, data: Array) -> Step:
        rows = beside(self._table, t)[t].astype(data.real.dtype)
        return Step(*(rows[:, i] for i in range(len(Step._fields))))

    @cached_property
    def _table(self) -> Array:
        """The steps of t = 0 .. T, (T + 1, 9) float64; t = 0 is never asked."""
        path, t = of_schedule(self.schedule), np.arange(1, self.schedule.T + 1)
        levels, earlier = path.levels(t), path.levels(t - 1)
        known = area(self.kind, levels, earlier)
        beta, smallest = self.schedule.beta[1:], self.schedule.posterior_var[1:].copy()
        instead = smallest[1] if len(smallest) > 1 else beta[0]
        smallest[0] = instead if self.first_var is None else self.first_var
        low = np.log(beta if self.variance == "beta" else smallest)
        high = low if self.variance == "posterior" else np.log(beta)
        columns = (
            levels.a,
            levels.b,
            *direction(self.kind, levels, earlier),
            area("mean", levels, earlier) / known,
            np.where(t == 1, 0.0, np.log(smallest)),
            low,
            high,
            loss_weight("simple", self.kind, levels, earlier=earlier),
        )
        rows = np.stack([np.broadcast_to(column, t.shape) for column in columns], axis=1)
        return np.concatenate([np.zeros_like(rows[:1]), rows])
