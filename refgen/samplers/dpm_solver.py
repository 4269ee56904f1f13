r"""DPM-Solver++: DDIM along a better estimate of the data, of second order at one call a step.

Shapes     x, noise_hat, data estimates : (N, *S)    times : falling    a, b, λ : floats of a time
Sources    lu2022-dpm-solver-pp  algorithms 1 (2S) and 2 (2M);  song2021-ddim  (first order)

In λ = log a/b the probability flow of x = a data + b noise is linear but for the data, and its
solution from t to s, h = λ_s − λ_t > 0, is exact where the estimate x̂ does not change:

    x_s = (b_s/b_t) x_t − a_s (e^−h − 1) D                                               (DP.1)

and since e^−h = a_t b_s / (a_s b_t), this is DDIM's step, back to level s along the noise that
x_t and D imply:

    x_s = a_s D + b_s (x_t − a_t D) / b_t                                                (DP.2)

With D = x̂(x_t, t) it is of first order. An estimate that moves on a straight line in λ is met
by its value half way, h/2 ahead, which either the step before foretells (2M, one call a step),
with h' its length,

    D = x̂_t + (h / 2h') (x̂_t − x̂_before)                                                 (DP.3)

or a call at a time m between t and s tells (2S, two calls for a pair of steps), h'' = λ_m − λ_t:

    D = x̂_t + (h / 2h'') (x̂_m − x̂_t),   x_m by (DP.2) with D = x̂_t                        (DP.4)

The last step, into b = 0, has no length in λ. There x_s = a_s D is the estimate itself, so it is
taken with D = x̂_t; so is the first step of 2M, which has none before it.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen.processes.path import Path
from refgen.typing import Array

Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x


def sample_dpm_solver_2m(
    predict_noise: Predict, x: Array, path: Path, *, times: Sequence[float]
) -> Array:
    """Return data from x, a draw of N(0, b²) at the first time; one network call a step.

    times fall, and the last may be where b = 0. Raises ValueError for other times, and for a
    first time without signal (a = 0), where the data cannot be told from the noise.
    """
    levels = _levels(path, times)
    before: tuple[Array, float] | None = None
    for (t, (a, b, lam)), (_, (a_next, b_next, lam_next)) in pairwise(
        zip(times, levels, strict=True)
    ):
        data = (x - b * predict_noise(x, t)) / a
        step = lam_next - lam
        towards = data
        if before is not None and math.isfinite(step):
            earlier, length = before
            towards = data + (step / (2 * length)) * (data - earlier)  # (DP.3)
        x = _step(x, towards, (a, b), (a_next, b_next))
        before = data, step
    return x


def sample_dpm_solver_2s(
    predict_noise: Predict, x: Array, path: Path, *, times: Sequence[float]
) -> Array:
    """Return data from x; two network calls for every two steps of the list.

    Every second time is the one between. Where the number of steps is odd, or b is 0 at the end,
    the last step is one of first order, so there are as many calls as steps in any case. Raises
    ValueError as 2M does.
    """
    levels, i = _levels(path, times), 0
    while i < len(times) - 1:
        (a, b, lam), (a_mid, b_mid, lam_mid) = levels[i], levels[i + 1]
        data = (x - b * predict_noise(x, times[i])) / a
        middle = _step(x, data, (a, b), (a_mid, b_mid))
        last = i + 2 == len(times)
        if last or not math.isfinite(levels[i + 2][2]):
            x, i = middle, i + 1
            continue
        a_next, b_next, lam_next = levels[i + 2]
        there = (middle - b_mid * predict_noise(middle, times[i + 1])) / a_mid
        ratio = (lam_next - lam) / (2 * (lam_mid - lam))
        towards = data + ratio * (there - data)  # (DP.4)
        x, i = _step(x, towards, (a, b), (a_next, b_next)), i + 2
    return x


def _step(x: Array, data: Array, here: tuple[float, float], there: tuple[float, float]) -> Array:
    (a, b), (a_next, b_next) = here, there
    y: Array = (b_next / b) * x + (a_next - b_next * a / b) * data  # (DP.1), as (DP.2)
    return y


def _levels(path: Path, times: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return (a, b, λ) of every time. Raises ValueError for times that do not fall."""
    if len(times) < 2 or any(s >= t for t, s in pairwise(times)):
        raise ValueError(f"sampling times fall, two at least, not {list(times)[:6]}")
    found = []
    for t in times:
        a, b, _, _ = (float(level) for level in path.levels(t))
        if a <= 0 or (b <= 0 and t != times[-1]):
            raise ValueError(
                f"at t = {t} the signal is {a:g} and the noise {b:g}: start where a > 0, and reach "
                "b = 0 at the last time only"
            )
        found.append((a, b, math.log(a / b) if b > 0 else math.inf))
    return found
