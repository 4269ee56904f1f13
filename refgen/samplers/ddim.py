r"""DDIM: estimate the data, then return to the next level along the same noise.

Shapes     x, data : (N, *S)    times : falling, from T to 0    one network call a step
Lectures   4 (DDIM: η = 0), 0 (sampling is expensive)
Source     song2021-ddim  eq. 12 and 16, section 4.3 (inversion)

ε̂ is the network's noise for x, z a draw of N(0, I), a new one at every step.

    for each step t → s:   x̂ = (x − √(1 − ᾱ_t) ε̂(x, t)) / √ᾱ_t
                           x ← √ᾱ_s x̂ + √(1 − ᾱ_s − σ²) ε̂ + σ z                  (DI.1)
    σ² = η² (1 − ᾱ_s) / (1 − ᾱ_t) (1 − ᾱ_t / ᾱ_s)                                (DI.2)

η = 0 draws nothing and is the lecture's sampler. Divided by √ᾱ_s, (DI.1) moves x/√ᾱ along ε̂ by as
much as √(1 − ᾱ)/√ᾱ changes: Euler's rule for the probability flow in that ratio, of first order.
η = 1 is the ancestral sampler with the posterior variance: with α = ᾱ_t / ᾱ_s the root is then
√α (1 − ᾱ_s) / √(1 − ᾱ_t), and (DI.1) has the posterior's mean. (In print lecture 4's list of S
regular steps ends at 1; it ends at T/S, and then comes 0: `refgen verify --errata`, E23.)

Inversion. At η = 0 a step takes x_t to x_s = p x_t + q ε̂(x_t, t), with p = √(ᾱ_s/ᾱ_t) and
q = √(1 − ᾱ_s) − p √(1 − ᾱ_t). It is undone by the x_t for which that holds,
x_t = (x_s − q ε̂(x_t, t)) / p, which is the step (DI.1) with its two levels exchanged. But x_t
stands on both sides. So begin with the signal's part alone, and put what is found in again:

    x⁰ = √(ᾱ_t/ᾱ_s) x_s,   xᵏ = the step (DI.1) from s to t, of x_s along ε̂(xᵏ⁻¹, t)       (DI.3)

k rounds return within O(hᵏ) for steps of h, and many, where the steps are short enough to converge,
exactly. The paper takes ε̂(x_s, s), which is of the same order as one round, but asks the network at
t = 0, where there is no noise to name. Here it is never asked there.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes import Schedule
from refgen.samplers.walk import Predict, checked, within
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
        x = descend(
            predict_noise, x, t, s, schedule, noise.at("step", t), eta=eta, clip=clip, ops=ops
        )
    return x


def descend(
    predict_noise: Predict,
    x: Array,
    t: int,
    s: int,
    schedule: Schedule,
    noise: Noise,
    *,
    eta: float,
    clip: float | None,
    ops: Ops,
) -> Array:
    """Return x at level s from x at t, by one network call. Draws at this place if σ > 0."""
    alpha_bar, alpha_bar_next = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
    ratio = (1 - alpha_bar_next) / (1 - alpha_bar)
    sigma = eta * math.sqrt(ratio * (1 - alpha_bar / alpha_bar_next))  # (DI.2)
    noise_hat = within(predict_noise(x, t), x, alpha_bar, clip)
    if sigma == 0:
        return _along(x, noise_hat, alpha_bar, alpha_bar_next, ops)
    return ops.ddim_step_drawn(
        x,
        noise_hat,
        noise.stream,
        alpha_bar=alpha_bar,
        alpha_bar_next=alpha_bar_next,
        sigma=sigma,
    )  # (DI.1)


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
        guess = math.sqrt(alpha_bar / alpha_bar_next) * x  # x⁰
        for _ in range(rounds):
            noise_hat = predict_noise(guess, t)
            guess = _along(x, noise_hat, alpha_bar_next, alpha_bar, ops)  # (DI.3)
        x = guess
    return x


def _along(x: Array, noise_hat: Array, here: float, there: float, ops: Ops) -> Array:
    """Return (DI.1) between two ᾱ with σ = 0: any array may stand for z."""
    y, _ = ops.ddim_step_forward(
        x, noise_hat, noise_hat, alpha_bar=here, alpha_bar_next=there, sigma=0.0
    )
    return y
