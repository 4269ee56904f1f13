r"""The noise predictor's loss: predict the noise that was mixed into the data.

Shapes     N batch, *S axes of one example.   data, x, noise : (N, *S)    t : (N,) in 1 .. T
           loss : (N,), in nats with the elbo weights
Sources    ho2020-ddpm  eq. 12 (weighted), eq. 14 and algorithm 1 (simple)

    t ~ U{1 .. T},   ε ~ N(0, I),   x = √ᾱ_t data + √(1 − ᾱ_t) ε                   (DD.1)
    loss = w_t ‖ε̂(x, t) − ε‖²                                                      (DD.2)
    simple: w_t = 1                                                                (DD.3)
    elbo:   w_t = T β_t² / (2 σ_t² α_t (1 − ᾱ_t)),   σ_t² = β_t                     (DD.4)

L_{t−1} is the KL of two Gaussians of fixed variance, ‖μ̃ − μ‖² / 2σ_t² up to terms without
parameters, and by (PA.5) of processes/parametrization.py the two means differ by
β_t / √(α_t (1 − ᾱ_t)) times ε̂ − ε. L_0 is −log p(x_0 | x_1), the same square with μ̃ = x_0. T makes
the mean over t their sum, in nats. σ_t² = β_t keeps w_1 finite; the posterior's β̃_t, which lectures
1 and 3 take, is 0 at t = 1, so their weights are for t ≥ 2. Lecture 1 also prints ᾱ for α in three
places, lectures 0 and 4 print norms for σ_t² (`refgen verify --errata`: E17, E02, E07, E08).

Adjoint. Nothing but the prediction depends on parameters:

    dε̂ = 2 w_t dloss (ε̂ − ε)                                                       (DD.5)
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.processes import Schedule
from refgen.processes.parametrization import refuse_blind
from refgen.typing import Array, Cache, Grads

WEIGHTS = ("simple", "elbo")


def loss_weights(schedule: Schedule, weight: str) -> Array:
    """Return w_0 .. w_T, (T + 1,) float64; w_0 = 0 since t = 0 is the data.

    Raises ValueError for a weight that is not one of WEIGHTS, and for a schedule on which no signal
    is left at T: there the noise is x itself, and α_T = 0 divides in (DD.4).
    """
    if weight not in WEIGHTS:
        raise ValueError(f"unknown loss weight {weight!r}; there are {', '.join(WEIGHTS)}")
    if schedule.alpha_bar[-1] == 0:
        refuse_blind("noise", schedule)
    w = np.ones(schedule.T + 1)  # (DD.3)
    if weight == "elbo":
        beta, alpha, alpha_bar = schedule.beta[1:], schedule.alpha[1:], schedule.alpha_bar[1:]
        w[1:] = schedule.T * beta**2 / (2 * beta * alpha * (1 - alpha_bar))  # (DD.4)
    w[0] = 0.0
    return w


class Predictor(Protocol):
    """A network ε̂ : (N, *S), (N,) -> (N, *S)."""

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""


@dataclass(frozen=True)
class NoisePrediction:
    """The loss of a network ε̂(x, t) under a schedule. Raises ValueError as loss_weights does."""

    model: Predictor
    schedule: Schedule
    weight: str = "simple"
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        loss_weights(self.schedule, self.weight)

    def forward(self, params: Any, data: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); t and ε are drawn at this place in the noise."""
        t = 1 + noise.at("t").integers(self.schedule.T, len(data), words=self.ops.words)
        dtype = data.real.dtype
        a, b = self.schedule.signal(t).astype(dtype), self.schedule.spread(t).astype(dtype)
        x, drawn = self.ops.noising_drawn(data, a, b, noise.at("noise").stream)  # (DD.1)
        noise_hat, model_cache = self.model.forward(params, x, t)
        w = beside(loss_weights(self.schedule, self.weight), t)[t].astype(dtype)
        error, error_cache = self.ops.squared_error_forward(noise_hat, drawn)
        return {"loss": w * error}, (w, error_cache, model_cache)  # (DD.2)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        w, error_cache, model_cache = cache
        dnoise_hat, _ = self.ops.squared_error_backward(w * dloss, error_cache)  # (DD.5)
        _, grads = self.model.backward(dnoise_hat, model_cache)
        return grads
