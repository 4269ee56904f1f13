r"""Ancestral sampling: draw from the reverse Gaussians, one noise level after another.

Shapes     x : (N, *S)    times : falling, from T to 0    one network call a step
Source     ho2020-ddpm  algorithm 2

    for each step t → s:   x ← (x − (1 − α) / √(1 − ᾱ_t) ε̂(x, t)) / √α + σ z      (AS.1)
    α = ᾱ_t / ᾱ_s                                                                  (AS.2)
    σ² = 1 − α   or   σ² = (1 − α) (1 − ᾱ_s) / (1 − ᾱ_t);   σ = 0 at s = 0          (AS.3)

The two variances are exact for Gaussian data of variance 1 and for a single datum. Over all of
T, T − 1, ..., 0 they are β_t and β̃_t; a longer stride needs the ratio (AS.2), not α_t.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes import Schedule
from refgen.processes.parametrization import clip_noise
from refgen.samplers.walk import Predict, checked
from refgen.typing import Array

VARIANCES = ("beta", "posterior")


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
    if variance not in VARIANCES:
        raise ValueError(f"unknown variance {variance!r}; there are {', '.join(VARIANCES)}")
    for t, s in pairwise(checked(times, schedule)):
        alpha_bar, alpha_bar_next = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
        alpha = alpha_bar / alpha_bar_next  # (AS.2)
        var = 1 - alpha
        if variance == "posterior":
            var *= (1 - alpha_bar_next) / (1 - alpha_bar)
        sigma = math.sqrt(var) if s > 0 else 0.0  # (AS.3)
        noise_hat = predict_noise(x, t)
        if clip is not None:
            noise_hat = clip_noise(x, noise_hat, alpha_bar, clip)
        stream = noise.at("step", t).stream
        x = ops.ddpm_step_drawn(
            x, noise_hat, stream, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )  # (AS.1)
    return x
