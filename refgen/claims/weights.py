r"""Claims on what an error weighs in a loss, and on ends of a path that are learnt.

Sources    hang2023-min-snr;  kingma2021-vdm;  kingma2023-understanding

Truths are divergences of Gaussians, and closed forms of integrals in a Gaussian world.
"""

import math

import numpy as np

from refgen.check.witness import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.parametrizations import converted, on_the_circle
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.processes.learned import LearnedSNR, bound_backward
from refgen.processes.parametrization import KINDS, area
from refgen.processes.path import VE, VP, Levels, Path, SigmoidPath, SubVP, time_of
from refgen.processes.weights import WEIGHTS, elbo, elbo_of_step, in_kind, loss_weight
from refgen.typing import Array

FAMILY = "parametrizations"
ROUNDING = 1e-9
NODES, SHARES = np.polynomial.legendre.leggauss(60)
CLOCK, SHARES = 0.5 * NODES + 0.5, 0.5 * SHARES  # of [0, 1]


def _errors(levels: Levels, noise: Noise) -> dict[str, float]:
    """Return the squared errors of one wrong guess, as data, as noise and as v."""
    data, guess, x = noise.normal((3, 4))
    a, b, _, _ = levels
    draws = [(x - a * d) / b for d in (data, guess)]
    v = [a * e - b * d for e, d in zip(draws, (data, guess), strict=True)]
    pairs = {"data": (data, guess), "noise": draws, "v": v}
    return {kind: float(np.sum((one - two) ** 2)) for kind, (one, two) in pairs.items()}


def _min_snr(form: Form, noise: Noise) -> float:
    """Compare form(a, b, γ) times the error of v with min(SNR, γ) times that of the data."""
    levels = on_the_circle(noise)
    errors, snr = _errors(levels, noise.at("pair")), (levels.a / levels.b) ** 2
    found = [float(form(levels.a, levels.b, part * snr)) * errors["v"] for part in (0.4, 2.5)]
    return gap(found, [min(snr, part * snr) * errors["data"] for part in (0.4, 2.5)])


def _same_gradient(form: Form, noise: Noise) -> float:
    """Compare the slope of every loss of form(W, kind, ...) in parameters with the noise's."""
    levels = on_the_circle(noise)
    earlier = Levels(levels.a + 0.5 * (1 - levels.a), 0.6 * levels.b, 0.0, 0.0)
    x, draw, theta, along = noise.at("case").normal((4, 5))
    worst = 0.0
    for name in WEIGHTS:
        W = float(WEIGHTS[name](levels))
        slopes = []
        for kind in KINDS:
            target = converted(x, draw, "noise", kind, levels, earlier)
            weight = form(W, kind, levels, earlier)

            def loss(theta: Array, kind: str = kind, target: Array = target) -> Array:
                y = converted(x, np.tanh(theta * x) + theta, "noise", kind, levels, earlier)
                total: Array = np.sum((y - target) ** 2)
                return total

            slopes.append(float(weight * complex_step(loss, [theta], [along])))
        exact = (
            W
            / levels.a**2
            * complex_step(lambda p: np.sum((np.tanh(p * x) + p - draw) ** 2), [theta], [along])
        )
        worst = largest(worst, *(abs(slope / exact - 1) for slope in slopes))
    return worst


def _fall_of_snr(form: Form, noise: Noise) -> float:
    """Compare form(levels, earlier) with the divergence of two posteriors, the data being apart."""
    schedule = beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 2, schedule.T - 1)
    _, q, var = beds.posterior(schedule, t)
    apart = float(noise.at("apart").normal(1)[0])
    truth = beds.kl(q * apart, var, 0.0, var)
    here, before = (
        Levels(math.sqrt(keep), math.sqrt(1 - keep), 0.0, 0.0)
        for keep in (beds.kept(schedule, t), beds.kept(schedule, t - 1))
    )
    return abs(float(form(here, before)) * apart**2 / truth - 1)


def _snr(levels: Levels) -> float:
    return float(levels.a / levels.b) ** 2


def _gaussian_error(levels: Levels, var: float) -> Array:
    """Return E (E[noise | x] − noise)² for data of a variance."""
    signal = np.asarray(levels.a**2 * var)
    return signal / (signal + levels.b**2)


def _only_the_ends(form: Form, noise: Noise) -> float:
    """Integrate form(levels) times the error along three paths; compare with the closed form."""
    var = beds.between(noise.at("var"), 0.3, 2.0)
    first, last = -beds.between(noise.at("first"), 1.0, 3.0), beds.between(noise.at("last"), 1, 3)
    truth = 0.5 * (last - first - math.log((var + math.exp(last)) / (var + math.exp(first))))
    worst = 0.0
    paths: tuple[Path, ...] = (LearnedSNR(first, last), VP(0.1, 12.0), SubVP(), SigmoidPath(), VE())
    for path in paths:
        start, end = float(time_of(path, -first)), float(time_of(path, -last))
        levels = path.levels(start + (end - start) * CLOCK)
        integral = (end - start) * (SHARES @ (form(levels) * _gaussian_error(levels, var)))
        worst = largest(worst, gap(integral, truth))
    return worst


def _end_slopes(form: Form, noise: Noise) -> float:
    """Compare form(path, square, D, error at t) with complex steps of the bound's integral."""
    var, D = beds.between(noise.at("var"), 0.3, 2.0), beds.integer(noise.at("D"), 2, 5)
    ends = -beds.between(noise.at("first"), 1.0, 4.0), beds.between(noise.at("last"), 0.0, 3.0)

    def mean_bound(first: Array, last: Array) -> Array:
        gamma = first + (last - first) * CLOCK
        share = var / (var + np.exp(gamma))
        a2 = 1 / (1 + np.exp(last))
        prior = a2 * var + (1 - a2) - 1 - np.log(1 - a2)
        total: Array = 0.5 * D * ((last - first) * (SHARES @ share) + prior + first)
        return total

    path = LearnedSNR(*ends)
    at = [np.array(end) for end in ends]
    truth = [float(complex_step(mean_bound, at, list(unit))) for unit in np.eye(2)]
    found = form(path, D * var, D, lambda t: D * float(_gaussian_error(path.levels(t), var)))
    return gap(found, truth)


def _slopes(path: LearnedSNR, square: float, D: int, error: Form, at: tuple[float, float]) -> Array:
    data = np.zeros((1, D))
    data[0, 0] = math.sqrt(square)
    first, last = (np.array([error(t)]) for t in at)
    return np.array(bound_backward(np.ones(1), path, data, first, last)[:2])


CLAIMS = (
    Claim(
        "weight.min_snr_v",
        r"\min(\mathrm{SNR}, \gamma) \Vert \hat x_0 - x_0 \Vert^2 = \frac{\min(\mathrm{SNR}, "
        r"\gamma)}{\mathrm{SNR} + 1} \Vert \hat v - v \Vert^2",
        FAMILY,
        ("hang2023-min-snr", "salimans2022-distillation"),
        lambda a, b, gamma: loss_weight("min-snr", "v", Levels(a, b, 0.0, 0.0), gamma=gamma),
        {
            "the weight of the noise": lambda a, b, g: min(a * a / b**2, g) * b**2 / a**2,
            "the weight of the noise, plus 1": lambda a, b, g: (
                min(a * a / b**2, g) * b**2 / a**2 + 1
            ),
            "SNR + 1 clipped": lambda a, b, g: min(1 / b**2, g) * b**2,
            "the maximum": lambda a, b, g: max(a * a, g * b * b),
        },
        _min_snr,
        ROUNDING,
    ),
    Claim(
        "weight.same_gradient",
        r"w_k = \frac{a^2 w_\epsilon}{\Delta_k^2} \Rightarrow \nabla_\theta\, w_k \Vert \hat y_k - "
        r"y_k \Vert^2 = \nabla_\theta\, w_\epsilon \Vert \hat\epsilon - \epsilon \Vert^2",
        FAMILY,
        ("kingma2023-understanding", "hang2023-min-snr"),
        lambda W, kind, now, s: in_kind(W, kind, now, earlier=s),
        {
            "Δ not squared": lambda W, kind, now, s: W / abs(area(kind, now, s)),
            "one weight for all": lambda W, kind, now, s: W,
            "upside down": lambda W, kind, now, s: W * area(kind, now, s) ** 2,
        },
        _same_gradient,
        ROUNDING,
    ),
    Claim(
        "weight.elbo_fall_of_snr",
        r"D_{KL}(q(x_s \mid x_t, x_0) \Vert q(x_s \mid x_t, \hat x_0)) = \tfrac12 "
        r"(\mathrm{SNR}_s - \mathrm{SNR}_t) \Vert \hat x_0 - x_0 \Vert^2",
        FAMILY,
        ("kingma2021-vdm",),
        lambda now, s: in_kind(elbo_of_step(now, s, variance="posterior"), "data", now),
        {
            "no half": lambda now, s: _snr(s) - _snr(now),
            "the weight of the noise": lambda now, s: 0.5 * (_snr(s) / _snr(now) - 1),
            "the logarithms' fall": lambda now, s: 0.5 * math.log(_snr(s) / _snr(now)),
        },
        _fall_of_snr,
        1e-7,
    ),
    Claim(
        "vdm.only_the_ends_count",
        r"\tfrac12 \int_0^1 |\lambda'(t)|\, \mathbb E\Vert \hat\epsilon - \epsilon \Vert^2\,dt "
        r"\text{ is the same on all paths from } \lambda_0 \text{ to } \lambda_1",
        FAMILY,
        ("kingma2021-vdm",),
        lambda levels: in_kind(elbo(levels), "noise", levels),
        {
            "every t alike": lambda levels: 1.0,
            "no half": lambda levels: 2 * in_kind(elbo(levels), "noise", levels),
            "the rate of SNR": lambda levels: in_kind(elbo(levels), "data", levels),
        },
        _only_the_ends,
        1e-7,
    ),
    Claim(
        "vdm.end_slopes",
        r"\partial_{\gamma_1} = \tfrac12 \mathcal E(\gamma_1) - \tfrac12 a_1^2 (b_1^2 \Vert x_0 "
        r"\Vert^2 + D a_1^2),\quad \partial_{\gamma_0} = \tfrac12 D - \tfrac12 \mathcal "
        r"E(\gamma_0)",
        FAMILY,
        ("kingma2021-vdm",),
        lambda path, square, D, error: _slopes(path, square, D, error, (0.0, 1.0)),
        {
            "the error half way": lambda p, square, D, error: _slopes(
                p, square, D, error, (0.5, 0.5)
            ),
            "the ends exchanged": lambda p, square, D, error: _slopes(
                p, square, D, error, (1.0, 0.0)
            ),
            "the prior left out": lambda p, square, D, error: np.array(
                [0.5 * D - 0.5 * error(0.0), 0.5 * error(1.0)]
            ),
        },
        _end_slopes,
        ROUNDING,
    ),
)
