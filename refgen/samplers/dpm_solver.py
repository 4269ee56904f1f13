r"""DPM-Solver++: DDIM along a better estimate of the data, of second order at one call a step.

Shapes     x, noise_hat, data estimates : (N, *S)    times : falling    a, b, λ : floats of a time
Sources    lu2022-dpm-solver-pp  algorithms 1 (2S) and 2 (2M);  song2021-ddim  (first order)

On x = a data + b noise the probability flow is dx/dt = a' x̂ + b' (x − a x̂)/b, where x̂ is the
estimate of the data that the network's noise implies. In x/b two terms cancel and leave
d(x/b)/dt = (a/b)' x̂. So with λ = log a/b, from t to s by h = λ_s − λ_t > 0,

    x_s/b_s − x_t/b_t = ∫ e^λ x̂ dλ   from λ_t to λ_s.

With one D for all that x̂ is on the way the integral is e^λ_s (1 − e^−h) D, and

    x_s = (b_s/b_t) x_t + a_s (1 − e^−h) D                                              (DPM.1)

Since e^−h = a_t b_s / (a_s b_t), this is DDIM's step, back to level s along the noise that x_t and
D imply:

    x_s = a_s D + b_s (x_t − a_t D) / b_t                                               (DPM.2)

D = x̂_t, which is x̂(x_t, t), is of first order. Of second order is the value that x̂ has half way,
h/2 ahead, if it moves on a straight line in λ. The line is drawn through the estimate of the step
before (2M, one call a step), whose length was h',

    D = x̂_t + (h / 2h') (x̂_t − x̂_before)                                                (DPM.3)

or through that at a time m between t and s (2S, two calls for a pair of steps), h'' = λ_m − λ_t:

    D = x̂_t + (h / 2h'') (x̂_m − x̂_t),   x_m by (DPM.2) with D = x̂_t                      (DPM.4)

A step into b = 0 has no end in λ. There x_s = a_s D is the estimate itself, and D = x̂_t; so it is
in the first step of 2M, which has none before it. λ is the paper's here, half of what other pages
call λ.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen.processes.path import Path
from refgen.samplers.walk import falling
from refgen.typing import Array

Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x


def sample_dpm_solver_2m(
    predict_noise: Predict, x: Array, path: Path, *, times: Sequence[float]
) -> Array:
    """Return data from x, a draw of N(0, b²) at the first time; one network call a step.

    times fall, and the last may be where b = 0. Raises ValueError for other times, and for a
    first time without signal (a = 0), where the data cannot be told from the noise.
    """
    times = falling(times)
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
            towards = data + (step / (2 * length)) * (data - earlier)  # (DPM.3)
        x = _step(x, towards, (a, b), (a_next, b_next))
        before = data, step
    return x


def sample_dpm_solver_2s(
    predict_noise: Predict, x: Array, path: Path, *, times: Sequence[float]
) -> Array:
    """Return data from x; two network calls for every two steps of the list.

    Every second time is the one between. No pair is made with a step into b = 0: that one, and what
    is left over without a partner before it or at the end, is of first order. So there are as many
    calls as steps in any case. Raises ValueError as 2M does.
    """
    times = falling(times)
    levels, i = _levels(path, times), 0
    while i < len(times) - 1:
        (a, b, lam), (a_mid, b_mid, lam_mid) = levels[i], levels[i + 1]
        data = (x - b * predict_noise(x, times[i])) / a
        middle = _step(x, data, (a, b), (a_mid, b_mid))
        if i + 2 == len(times) or levels[i + 2][1] == 0:
            x, i = middle, i + 1
            continue
        a_next, b_next, lam_next = levels[i + 2]
        there = (middle - b_mid * predict_noise(middle, times[i + 1])) / a_mid
        ratio = (lam_next - lam) / (2 * (lam_mid - lam))
        towards = data + ratio * (there - data)  # (DPM.4)
        x, i = _step(x, towards, (a, b), (a_next, b_next)), i + 2
    return x


def _step(x: Array, data: Array, here: tuple[float, float], there: tuple[float, float]) -> Array:
    (a, b), (a_next, b_next) = here, there
    y: Array = (b_next / b) * x + (a_next - b_next * a / b) * data  # (DPM.1), as (DPM.2)
    return y


def _levels(path: Path, times: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return (a, b, λ) of every time. Raises ValueError for times that cannot be walked."""
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
