r"""DDIM: estimate the data, then return to the next level along the same noise.

Shapes     x, data : (N, *S)    times : falling, from T to 0    one network call a step
Source     song2021-ddim  eq. 12 and 16, section 4.3 (inversion)

    for each step t → s:   x̂ = (x − √(1 − ᾱ_t) ε̂(x, t)) / √ᾱ_t
                           x ← √ᾱ_s x̂ + √(1 − ᾱ_s − σ²) ε̂ + σ z                  (DI.1)
    σ² = η² (1 − ᾱ_s) / (1 − ᾱ_t) (1 − ᾱ_t / ᾱ_s)                                (DI.2)

η = 0 is deterministic, a first-order solver of the probability-flow ODE; η = 1 is the
ancestral sampler with the posterior variance: the root is then √α (1 − ᾱ_s) / √(1 − ᾱ_t) with
α = ᾱ_t / ᾱ_s, and (DI.1) has the posterior's mean.

Inversion. At η = 0 a step takes x_t to x_s = p x_t + q ε̂(x_t, t), and is undone by the x_t for
which that holds: x_t = (x_s − q ε̂(x_t, t)) / p, the step (DI.1) with its two levels exchanged.
x_t stands on both sides, so begin as if there were no noise between, and put in again:

    x⁰ = √(ᾱ_t/ᾱ_s) x_s,   xᵏ = the step (DI.1) from s to t, of x_s along ε̂(xᵏ⁻¹, t)       (DI.3)

One round is the usual inversion; k rounds return within O(hᵏ) for steps of h, and many, where the
steps are short enough to converge, exactly. The network is never asked at t = 0.
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


def sample_ddim(
    predict_noise: Predict,
    x: Array,
    schedule: Schedule,
    noise: Noise,
    *,
    times: Sequence[int] | None = None,
    eta: float = 0.0,
    clip: float | None = None,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, I).

    times is any falling list from T to 0 (default: all). clip limits the estimate of the data to
    ±clip at every step. Raises ValueError for other times and for eta outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], not {eta}: 0 is deterministic, 1 is ancestral")
    for t, s in pairwise(checked(times, schedule)):
        alpha_bar, alpha_bar_next = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
        ratio = (1 - alpha_bar_next) / (1 - alpha_bar)
        sigma = eta * math.sqrt(ratio * (1 - alpha_bar / alpha_bar_next))  # (DI.2)
        noise_hat = predict_noise(x, t)
        if clip is not None:
            noise_hat = clip_noise(x, noise_hat, alpha_bar, clip)
        if sigma > 0:
            draw = noise.at("step", t).stream
            x = ops.ddim_step_drawn(
                x,
                noise_hat,
                draw,
                alpha_bar=alpha_bar,
                alpha_bar_next=alpha_bar_next,
                sigma=sigma,
            )  # (DI.1)
        else:
            x = _along(x, noise_hat, alpha_bar, alpha_bar_next, ops)
    return x


def invert_ddim(
    predict_noise: Predict,
    data: Array,
    schedule: Schedule,
    *,
    times: Sequence[int] | None = None,
    rounds: int = 1,
    ops: Ops = reference,
) -> Array:
    """Return the noise from which sample_ddim, with eta = 0 and no clip, comes back to the data.

    times are those of the way back, falling from T to 0 (default: all); `rounds` network calls a
    step. Raises ValueError for other times and for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"inversion takes one round a step at least, not {rounds}")
    x = data
    for s, t in pairwise(checked(times, schedule)[::-1]):
        alpha_bar, alpha_bar_next = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
        guess = math.sqrt(alpha_bar / alpha_bar_next) * x
        for _ in range(rounds):
            noise_hat = predict_noise(guess, t)
            guess = _along(x, noise_hat, alpha_bar_next, alpha_bar, ops)  # (DI.3)
        x = guess
    return x


def _along(x: Array, noise_hat: Array, here: float, there: float, ops: Ops) -> Array:
    """Return DDIM's step between two ᾱ. Nothing is drawn: any array may stand for z."""
    y, _ = ops.ddim_step_forward(
        x, noise_hat, noise_hat, alpha_bar=here, alpha_bar_next=there, sigma=0.0
    )
    return y
