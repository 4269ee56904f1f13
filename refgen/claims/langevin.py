r"""Claims on Langevin's walk: where it ends, and what a step of the annealed one is.

Sources    roberts1996-langevin;  song2019-ncsn  algorithm 1, section 4.3

The walks are the project's. Truths are variances carried from step to step, and the lecture's
algorithm written out again.
"""

import math
from collections.abc import Sequence

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.ops.solver import langevin_step_forward
from refgen.processes.schedule import geometric
from refgen.samplers.langevin import (
    NoisyScore,
    Score,
    sample_annealed_langevin,
    sample_langevin,
    stationary_variance,
)
from refgen.typing import Array

FAMILY = "score"
ROUNDING = 1e-9
DYNAMICS, ANNEALED = 'L4 "Langevin Dynamics"', 'L4 "Noise Conditional Score Network"'


def variance_after(steps: int, step: float, var: float, start: float) -> float:
    """Return the variance after so many steps of the project in N(0, var), from a start."""
    probe, draw = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    kept, added = langevin_step_forward(probe, -probe / var, draw, step=step)[0]
    for _ in range(steps):
        start = float(kept**2 * start + added**2)
    return start


def _stationary(form: Form, noise: Noise) -> float:
    """Compare form(var, ε) with the variance of a walk that is as long as it takes."""
    var = beds.between(noise.at("var"), 0.3, 2.0)
    step = var * beds.between(noise.at("step"), 0.05, 0.8)
    return gap(form(var, step), variance_after(2000, step, var, 4.0))


def _one_step(form: Form, noise: Noise) -> float:
    """Compare form(score, x, α, place) with x + ½ α s(x) + √α z."""
    world, alpha = beds.some_mixture(noise.at("world")), beds.between(noise.at("alpha"), 0.05, 0.6)
    x, place = noise.at("x").normal((5, 1)), noise.at("walk")
    z = place.at("step", 0).normal((5, 1))
    truth = x + 0.5 * alpha * world.score(x) + math.sqrt(alpha) * z
    return gap(form(world.score, x, alpha, place), truth)


def _walked(times: float) -> Form:
    """Return one step of plain Langevin with ε that many α."""

    def form(score: Score, x: Array, alpha: float, place: Noise) -> Array:
        return sample_langevin(score, x, place, step=times * alpha, steps=1)

    return form


def _sizes(form: Form, noise: Noise) -> float:
    """Compare the ratio √α_i / σ_i of form(σ, ϵ), (L,), with √ϵ / σ_L at every level."""
    L, last = beds.integer(noise.at("L"), 3, 8), beds.between(noise.at("last"), 0.05, 0.4)
    sigmas = np.array([*(last * (1 + np.cumsum(noise.at("gaps").uniform(L))))[::-1], last])
    step = beds.between(noise.at("step"), 0.1, 1.0) * last**2
    ratio = np.sqrt(form(sigmas, step)) / sigmas
    return gap(ratio / (math.sqrt(step) / last), np.ones(L + 1))


def _alphas(sigmas: Array, step: float) -> Array:
    """Return α_i of the project's walk: twice what it multiplies a score at that level by."""

    def ends(level: float, size: float) -> float:
        def score(x: Array, sigma: float) -> Array:
            return size * (sigma == level) + 0 * x

        x = sample_annealed_langevin(score, np.zeros(1), list(sigmas), Noise(0), step=step, inner=1)
        return float(x[0])

    return np.array([2 * (ends(level, 1.0) - ends(level, 0.0)) for level in sigmas])


def _algorithm_1(form: Form, noise: Noise) -> float:
    """Compare form(score, x, σ, place, ϵ, T) with the algorithm, line by line."""
    world, last = beds.some_mixture(noise.at("world")), beds.between(noise.at("last"), 0.3, 0.6)
    sigmas, step = geometric(4, 2.0, last), 0.3 * last**2
    x, place = noise.at("x").normal((5, 1)), noise.at("walk")
    found = form(lambda x, s: world.score(x, 1.0, s), x, sigmas, place, step, 3)
    for i, sigma in enumerate(sigmas):
        alpha = step * sigma**2 / sigmas[-1] ** 2
        for k in range(3):
            z = place.at("level", i, "step", k).normal((5, 1))
            x = x + 0.5 * alpha * world.score(x, 1.0, sigma) + math.sqrt(alpha) * z
    return gap(found, x)


def _annealed(
    score: NoisyScore, x: Array, sigmas: Sequence[float], place: Noise, step: float, inner: int
) -> Array:
    return sample_annealed_langevin(score, x, list(sigmas), place, step=step, inner=inner)


CLAIMS = (
    Claim(
        "langevin.ula_bias",
        r"x \leftarrow x + \varepsilon \nabla\log p + \sqrt{2\varepsilon}\,z,\ p = \mathcal "
        r"N(0, s^2): \quad \mathrm{Var}_\infty = \frac{s^2}{1 - \varepsilon/2s^2}",
        FAMILY,
        (DYNAMICS, "roberts1996-langevin"),
        stationary_variance,
        {
            "no bias": lambda var, step: var,
            "ε for ε/2": lambda var, step: var / abs(1 - step / var),
            "too narrow": lambda var, step: var / (1 + step / (2 * var)),
            "the first order alone": lambda var, step: var + 0.5 * step,
        },
        _stationary,
        ROUNDING,
    ),
    Claim(
        "ncsn.annealed_step_equiv",
        r"x + \tfrac\alpha2 s + \sqrt\alpha\,z \text{ is a step of Langevin's with } \varepsilon = "
        r"\tfrac\alpha2",
        FAMILY,
        (ANNEALED, DYNAMICS, "song2019-ncsn"),
        _walked(0.5),
        {
            "ε = α": _walked(1.0),
            "ε = 2α": _walked(2.0),
            "ε = α/4": _walked(0.25),
        },
        _one_step,
        ROUNDING,
    ),
    Claim(
        "ncsn.annealed_snr_const",
        r"\alpha_i = \epsilon\sigma_i^2/\sigma_L^2 \Rightarrow \sqrt{\alpha_i}/\sigma_i = "
        r"\sqrt\epsilon/\sigma_L \text{ at all levels}",
        FAMILY,
        (ANNEALED, "song2019-ncsn"),
        _alphas,
        {
            "σ_i not squared": lambda sigmas, step: step * sigmas / sigmas[-1],
            "one step for all levels": lambda sigmas, step: step + 0 * sigmas,
            "upside down": lambda sigmas, step: step * (sigmas[-1] / sigmas) ** 2,
            "not divided by σ_L": lambda sigmas, step: step * sigmas**2,
        },
        _sizes,
        ROUNDING,
    ),
    Claim(
        "ncsn.algorithm_1",
        r"\text{for } \sigma_1 > \dots > \sigma_L,\ T \text{ times: } x \leftarrow x + "
        r"\tfrac{\alpha_i}2 s_\theta(x, \sigma_i) + \sqrt{\alpha_i}\,z",
        FAMILY,
        (ANNEALED, "song2019-ncsn"),
        _annealed,
        {
            "twice the step": lambda s, x, sigmas, place, step, T: _annealed(
                s, x, sigmas, place, 2 * step, T
            ),
            "a step less at each level": lambda s, x, sigmas, place, step, T: _annealed(
                s, x, sigmas, place, step, T - 1
            ),
            "the last score at all levels": lambda s, x, sigmas, place, step, T: _annealed(
                lambda y, sigma: s(y, float(sigmas[-1])), x, sigmas, place, step, T
            ),
        },
        _algorithm_1,
        ROUNDING,
    ),
)
