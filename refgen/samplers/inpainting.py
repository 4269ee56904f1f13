r"""Inpainting: pixels that are known are put back at every level, the others are drawn around them.

Shapes     x, known, z : (N, *S)    mask : broadcast to x, 1 where known    times : falling, T to 0
Sources    lugmayr2022-repaint  algorithm 1;  song2021-sde  appendix I.2

Two ways, neither of which trains anything. The first goes with any sampler: where a pixel is known
so is its noise at x = a known + b noise, and the predictor is told so,

    ε̂ ← mask (x − a known) / b + (1 − mask) ε̂(x, t)                                    (IP.1)

Known pixels then walk as noised pixels do, and where a sampler ends in b = 0 they are as known. But
a hole is filled step by step to fit known pixels that are still noise, and what was chosen early
may not fit what they turn out to be. So the second way goes back and forth: after each step t → s
known pixels are drawn anew at level s, a_s = √ᾱ_s and b_s = √(1 − ᾱ_s), and all are noised up to t
again, with z and z' of N(0, I),

    x_s ← step(x_t),   x_s ← mask (a_s known + b_s z) + (1 − mask) x_s                  (IP.2)
    x_t ← √α x_s + √(1 − α) z',   α = ᾱ_t / ᾱ_s,   and again, `rounds` times in all     (IP.3)

A step is DDIM's; η = 1 is the ancestral one, which the paper takes. With rounds = 1 there is no
going back. The paper goes back over several steps at once, here it is one. Each round is a step of
a Markov chain between the two levels; as rounds grow the hole is filled anew for the neighbours
that it has by now, and fits them. rounds calls a step, and 1 in the last, at s = 0, where known
pixels are what they are.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes import Schedule
from refgen.samplers.ddim import descend
from refgen.samplers.walk import Predict, checked
from refgen.typing import Array


def knowing(
    predict_noise: Callable[[Array, Any], Array],
    known: Array,
    mask: Array,
    levels: Callable[[Any], tuple[float, float]],
) -> Callable[[Array, Any], Array]:
    """Return a predictor for any sampler that knows the noise of known pixels.

    levels(t) is (a, b), as processes.guidance.levels_of has it.
    """

    def predict(x: Array, t: Any) -> Array:
        a, b = levels(t)
        exact = (x - a * known) / b
        noise_hat: Array = mask * exact + (1 - mask) * predict_noise(x, t)  # (IP.1)
        return noise_hat

    return predict


def inpaint(
    predict_noise: Predict,
    x: Array,
    schedule: Schedule,
    noise: Noise,
    *,
    known: Array,
    mask: Array,
    times: Sequence[int] | None = None,
    rounds: int = 10,
    eta: float = 1.0,
    clip: float | None = None,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, I), equal to `known` where the mask is 1.

    times defaults to T, T − 1, ..., 0; clip limits the estimate of the data to ±clip at every step.
    Raises ValueError for other times, for less than one round and for eta outside [0, 1].
    """
    if rounds < 1 or not 0 <= eta <= 1:
        raise ValueError(f"rounds ≥ 1 and eta in [0, 1], not {rounds} and {eta}")
    x = _put_back(x, known, mask, schedule, schedule.T, noise.at("known"), ops)
    for t, s in pairwise(checked(times, schedule)):
        alpha = float(schedule.alpha_bar[t] / schedule.alpha_bar[s])
        for k in range(rounds if s > 0 else 1):
            place = noise.at("step", t, k)
            if k > 0:
                x = _mixed(x, math.sqrt(alpha), math.sqrt(1 - alpha), place.at("up"), ops)  # (IP.3)
            down = place.at("down")
            x = descend(predict_noise, x, t, s, schedule, down, eta=eta, clip=clip, ops=ops)
            x = _put_back(x, known, mask, schedule, s, place.at("known"), ops)  # (IP.2)
    return x


def _put_back(
    x: Array, known: Array, mask: Array, schedule: Schedule, s: int, place: Noise, ops: Ops
) -> Array:
    a, b = float(schedule.signal(s)), float(schedule.spread(s))
    noised = _mixed(known, a, b, place, ops)
    y: Array = mask * noised + (1 - mask) * x
    return y


def _mixed(data: Array, a: float, b: float, place: Noise, ops: Ops) -> Array:
    """Return a data + b z."""
    z = place.normal(data.shape, dtype=data.dtype, normals=ops.normals)
    y: Array = a * data + b * z
    return y
