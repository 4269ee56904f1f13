r"""Ancestral sampling: draw from the reverse Gaussians, one noise level after another.

Shapes     x, v : (N, *S)    times : falling, from T to 0    one network call a step
Lectures   0, 2, 4 (algorithm 2), 3 (DDPM sampling)
Sources    ho2020-ddpm  algorithm 2;  nichol2021-improved  eq. 15 (a variance that is learned)

ε̂ is the network's noise for x, z a draw of N(0, I), a new one at every step.

    for each step t → s:   x ← (x − (1 − α) / √(1 − ᾱ_t) ε̂(x, t)) / √α + σ z      (AS.1)
    α = ᾱ_t / ᾱ_s                                                                  (AS.2)
    β = 1 − α,   β̃ = β (1 − ᾱ_s) / (1 − ᾱ_t),   σ² = β^v β̃^(1 − v),  0 ≤ v ≤ 1     (AS.3)

The mean is that of x_s given x and the data which ε̂ implies. Over all of T, T − 1, ..., 0 α and β
are α_t and β_t; a longer stride needs the ratio (AS.2) everywhere. Nothing is drawn into s = 0: σ
is 0 there, which (AS.3) says by itself but for v = 1.

How much to draw. If all data are one point, x_s given x has variance β̃ (v = 0, "posterior"). If
data are N(0, 1) then so are x and x_s, their correlation is √α, and x_s given x has variance
1 − α = β (v = 1, "beta"). Data between the two want a variance in between: v = ½, "between", takes
the geometric mean, and a network may learn v for every coordinate, as a mean of logarithms

    log σ² = v log β + (1 − v) log β̃                                               (AS.4)

In print (`refgen verify --errata`): lectures 0 and 4 have ᾱ_t where line 4 of the algorithm has
α_t, which makes of every step the estimate of the data plus σ z (E01). Lecture 4 keeps the α_t of
one step on a subsequence: it takes out the noise of one level where it crosses several (E24).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes import Schedule
from refgen.samplers.walk import Predict, checked, within
from refgen.typing import Array

PredictBoth = Callable[[Array, int], tuple[Array, Array]]  # (x, t) -> the noise in x, and v
SHARES = {"beta": 1.0, "posterior": 0.0, "between": 0.5}  # the name of a variance, its v
VARIANCES = tuple(SHARES)


def sample_ancestral(
    predict_noise: Predict,
    x: Array,
    schedule: Schedule,
    noise: Noise,
    *,
    times: Sequence[int] | None = None,
    variance: str = "posterior",
    clip: float | None = None,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, I).

    times defaults to T, T − 1, ..., 0. clip limits the estimate of the data to ±clip at every
    step; algorithm 2 has no such limit. Raises ValueError for times that do not fall
    from T to 0 and for an unknown variance.
    """
    if variance not in SHARES:
        raise ValueError(f"unknown variance {variance!r}; there are {', '.join(VARIANCES)}")
    v = SHARES[variance]
    for t, s in pairwise(checked(times, schedule)):
        alpha_bar, alpha, beta, posterior = _step(schedule, t, s)
        sigma = math.sqrt(beta**v * posterior ** (1 - v)) if s > 0 else 0.0  # (AS.3)
        noise_hat = within(predict_noise(x, t), x, alpha_bar, clip)
        stream = noise.at("step", t).stream
        x = ops.ddpm_step_drawn(
            x, noise_hat, stream, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )  # (AS.1)
    return x


def sample_ancestral_learned(
    predict: PredictBoth,
    x: Array,
    schedule: Schedule,
    noise: Noise,
    *,
    times: Sequence[int] | None = None,
    clip: float | None = None,
    ops: Ops = reference,
) -> Array:
    """Return data from x, each coordinate with the variance that the network names beside ε̂.

    v is of x's shape, or broadcast to it; where the network's output o runs from −1 to 1, v is
    ½ (o + 1). times, clip and errors are as above.
    """
    for t, s in pairwise(checked(times, schedule)):
        alpha_bar, alpha, beta, posterior = _step(schedule, t, s)
        noise_hat, v = predict(x, t)
        noise_hat = within(noise_hat, x, alpha_bar, clip)
        x, _ = ops.ddpm_step_forward(
            x, noise_hat, noise_hat, alpha=alpha, alpha_bar=alpha_bar, sigma=0.0
        )  # (AS.1) with σ = 0, the mean: any array may stand for z
        if s > 0:
            logvar = v * math.log(beta) + (1 - v) * math.log(posterior)  # (AS.4)
            place = noise.at("step", t)
            z = place.normal(x.shape, dtype=x.dtype, normals=ops.normals)
            x = x + np.exp(0.5 * logvar) * z
    return x


def _step(schedule: Schedule, t: int, s: int) -> tuple[float, float, float, float]:
    """Return ᾱ_t, α, β and β̃ of a step."""
    alpha_bar, alpha_bar_next = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
    alpha = alpha_bar / alpha_bar_next  # (AS.2)
    beta = 1 - alpha
    posterior = beta * ((1 - alpha_bar_next) / (1 - alpha_bar))  # β̃ of (AS.3)
    return alpha_bar, alpha, beta, posterior
