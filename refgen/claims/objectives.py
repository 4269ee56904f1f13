r"""Claims on the bound that training descends: learnt variances, the estimate, the hybrid loss.

Sources    nichol2021-improved  eq. 4-7, 15, 16

Truths are divergences as expectations by quadrature, sums over all times, and complex steps.
"""

import math
from typing import Any

import numpy as np

from refgen.check.witness import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising
from refgen.objectives.hybrid import Hybrid
from refgen.objectives.variational import VariationalBound
from refgen.processes import Schedule
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9


class Scalars:
    """A network whose two answers are its parameters: ŷ and r, the same for every point."""

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Any]:
        """Return (N, 2) and nothing to keep."""
        return np.stack([params["y"] + 0 * x[:, 0], params["r"] + 0 * x[:, 0]], axis=1), None

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Any]:
        """Return (dx, grads)."""
        return dy, {"y": np.sum(dy[:, :1]), "r": np.sum(dy[:, 1:])}


def learnt_variance(form: Form, noise: Noise) -> float:
    """Compare form(schedule, t, ŷ, r, data, draw) with the divergence's slopes in ŷ and r."""
    schedule = beds.some_schedule(noise.at("schedule"))
    t = beds.integer(noise.at("t"), 2, schedule.T)
    data, draw, y_hat, r = noise.at("case").normal(4)
    p, q, var = beds.posterior(schedule, t)
    keep = beds.kept(schedule, t)
    x = math.sqrt(keep) * data + math.sqrt(1 - keep) * draw
    beta = float(schedule.beta[t])

    def term(y_hat: Array, r: Array) -> Array:
        guess = (x - math.sqrt(1 - keep) * y_hat) / math.sqrt(keep)
        model = np.exp(0.5 * (1 + r) * math.log(beta) + 0.5 * (1 - r) * math.log(var))
        nodes, weights = np.polynomial.hermite_e.hermegauss(20)
        drawn = p * x + q * data + math.sqrt(var) * nodes
        ratio = beds.log_normal(drawn, p * x + q * data, var)
        ratio = ratio - beds.log_normal(drawn, p * x + q * guess, model)
        return np.asarray(weights @ ratio / math.sqrt(2 * math.pi))

    at = [np.array(y_hat), np.array(r)]
    truth = [complex_step(term, at, list(along)) for along in np.eye(2)]
    return gap(form(schedule, t, y_hat, r, data, draw), truth)


def _learnt(
    schedule: Schedule, t: int, y_hat: float, r: float, data: float, draw: float
) -> tuple[float, float]:
    bound = VariationalBound(Scalars(), schedule, "noise", "learned")
    params = {"y": np.array(y_hat), "r": np.array(r)}
    found = bound.value(params, np.array([[data]]), np.array([[draw]]), np.array([t]))
    grads = bound.backward(np.array([1 / schedule.T]), found)
    return float(np.asarray(grads["y"])), float(np.asarray(grads["r"]))


def _without_the_constant(
    schedule: Schedule, t: int, y_hat: float, r: float, data: float, draw: float
) -> tuple[float, float]:
    """Return the slopes of e²/2v alone, as if v were no parameter of the rest."""
    of_y, of_r = _learnt(schedule, t, y_hat, r, data, draw)
    half_range = 0.5 * math.log(float(schedule.beta[t] / schedule.posterior_var[t]))
    var = math.exp((1 + r) * half_range) * float(schedule.posterior_var[t])
    return of_y, of_r - half_range * 0.5 * (1 - float(schedule.posterior_var[t]) / var)


def estimate(form: Form, noise: Noise) -> float:
    """Compare form(bound, params, data, place), (N,), with L_T + T L_{t−1} at the drawn times.

    The divergences are expectations by quadrature; t = 1 is a density, its variance β̃_2 for β̃_1.
    """
    schedule = beds.some_schedule(noise.at("schedule"))
    bound, T = VariationalBound(Scalars(), schedule, "data", "learned"), schedule.T
    params = dict(zip("yr", noise.at("params").normal(2), strict=True))
    data, place = noise.at("data").normal(6), noise.at("draws")
    times = 1 + place.at("t").integers(T, 6)
    x = place.at("noise").normal((6, 1))[:, 0]
    keep, truth = beds.kept(schedule, T), []
    for datum, t, draw in zip(data, times, x, strict=True):
        p, q, var = beds.posterior(schedule, int(t))
        low = var if t > 1 else beds.posterior(schedule, 2)[2]
        share = 0.5 * (1 + params["r"])
        model = math.exp(share * math.log(schedule.beta[t]) + (1 - share) * math.log(low))
        at = math.sqrt(beds.kept(schedule, int(t))) * datum
        at = p * (at + math.sqrt(1 - beds.kept(schedule, int(t))) * draw)
        means = float(at + q * datum), float(at + q * params["y"])
        if t > 1:
            term = beds.kl(means[0], var, means[1], model)
        else:
            term = -float(beds.log_normal(float(datum), means[1], model))
        prior = beds.kl(math.sqrt(keep) * float(datum), 1 - keep, 0.0, 1.0)
        truth.append(prior + T * term)
    return gap(form(bound, params, data[:, None], place), truth)


def _estimate(
    bound: VariationalBound, params: Any, data: Array, place: Noise, times: float = 1.0
) -> Array:
    """Return the project's estimate, the drawn term counted so many times as often."""
    found = bound.forward(params, data, place)[0]
    estimate: Array = found["prior"] + times * (found["loss"] - found["prior"])
    return estimate


def hybrid(form: Form, noise: Noise) -> float:
    """Compare form(bound, λ, params, data, place) with two slopes: the simple loss's, and λ L's."""
    schedule = beds.some_schedule(noise.at("schedule"))
    bound, weight = VariationalBound(Scalars(), schedule, "noise", "learned"), 0.3
    params = dict(zip("yr", noise.at("params").normal(2), strict=True))
    data, place = noise.at("data").normal((5, 1)), noise.at("draws")

    def simple(y: Array) -> Array:
        class Alone(Scalars):
            def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Any]:
                return super().forward(params, x, t)[0][:, :1], None

        loss = Denoising(Alone(), schedule).forward({**params, "y": y}, data, place)[0]["loss"]
        return np.asarray(np.sum(loss))

    def nats(r: Array) -> Array:
        loss = bound.forward({**params, "r": r}, data, place)[0]["loss"]
        return np.asarray(weight * np.sum(loss))

    one = [np.ones(())]
    truth = [
        complex_step(simple, [np.array(params["y"])], one),
        complex_step(nats, [np.array(params["r"])], one),
    ]
    return gap(form(bound, weight, params, data, place), truth)


def _hybrid(
    bound: VariationalBound, weight: float, params: Any, data: Array, place: Noise
) -> tuple[float, float]:
    loss = Hybrid(bound, weight)
    grads = loss.backward(np.ones(len(data)), loss.forward(params, data, place)[1])
    return float(np.asarray(grads["y"])), float(np.asarray(grads["r"]))


def _not_held(
    bound: VariationalBound, weight: float, params: Any, data: Array, place: Noise
) -> tuple[float, float]:
    of_y, of_r = _hybrid(bound, weight, params, data, place)
    also = bound.backward(weight * np.ones(len(data)), bound.forward(params, data, place)[1])
    return of_y + float(np.asarray(also["y"])), of_r


CLAIMS = (
    Claim(
        "ddpm.learned_variance",
        r"\log v = \tfrac{1 + r}2 \log\beta_t + \tfrac{1 - r}2 \log\tilde\beta_t: \quad "
        r"\partial_r L_{t-1} = \tfrac14 \log\tfrac{\beta_t}{\tilde\beta_t} \bigl(1 - "
        r"\tfrac{\tilde\beta_t}v - \tfrac{\Vert\tilde\mu_t - \mu_\theta\Vert^2}v\bigr)",
        FAMILY,
        ('L0 "ELBO Derivation"', "nichol2021-improved"),
        _learnt,
        {
            "the constant C left out": _without_the_constant,
            "r from 0 to 1": lambda s, t, y, r, d, e: (
                _learnt(s, t, y, 2 * r - 1, d, e)[0],
                2 * _learnt(s, t, y, 2 * r - 1, d, e)[1],
            ),
            "the ends exchanged": lambda s, t, y, r, d, e: (
                _learnt(s, t, y, -r, d, e)[0],
                -_learnt(s, t, y, -r, d, e)[1],
            ),
        },
        learnt_variance,
        ROUNDING,
    ),
    Claim(
        "ddpm.bound_estimate",
        r"L_T + \sum_{t=1}^T L_{t-1} = \mathbb E_{t \sim U\{1..T\}}\,[L_T + T\,L_{t-1}]",
        FAMILY,
        ('L0 "DDPM algorithm"', "nichol2021-improved"),
        _estimate,
        {
            "the mean for the sum": lambda b, p, x, at: _estimate(b, p, x, at, 1 / b.schedule.T),
            "T − 1 terms": lambda b, p, x, at: _estimate(b, p, x, at, 1 - 1 / b.schedule.T),
            "in bits": lambda b, p, x, at: _estimate(b, p, x, at) / math.log(2),
        },
        estimate,
        ROUNDING,
    ),
    Claim(
        "ddpm.hybrid_gradient",
        r"L_{\mathrm{hybrid}} = L_{\mathrm{simple}} + \lambda L_{\mathrm{vlb}}: \quad \partial_\mu "
        r"L_{\mathrm{hybrid}} = \partial_\mu L_{\mathrm{simple}}, \quad \partial_v "
        r"L_{\mathrm{hybrid}} = \lambda\,\partial_v L_{\mathrm{vlb}}",
        FAMILY,
        ("nichol2021-improved",),
        _hybrid,
        {
            "the mean not held fixed": _not_held,
            "no lambda": lambda b, w, p, d, n: (
                _hybrid(b, w, p, d, n)[0],
                _hybrid(b, w, p, d, n)[1] / w,
            ),
            "one term for T of them": lambda b, w, p, d, n: (
                _hybrid(b, w, p, d, n)[0],
                _hybrid(b, w, p, d, n)[1] / b.schedule.T,
            ),
        },
        hybrid,
        ROUNDING,
    ),
)
