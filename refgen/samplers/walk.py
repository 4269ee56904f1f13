"""The list of times that a sampler walks, what it asks of a network, and where it has been."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from refgen.processes import Schedule
from refgen.processes.parametrization import clip_noise
from refgen.typing import Array

Predict = Callable[[Array, int], Array]  # (x, t) -> the noise in x
Time = TypeVar("Time")  # a level of a schedule, a time of a path, or a noise level σ


def checked(times: Sequence[int] | None, schedule: Schedule) -> tuple[int, ...]:
    """Return the times, T .. 0 if none are given; a network call stands between two of them.

    Raises ValueError unless they fall strictly from T to 0, and for a schedule that ends without
    signal, where the noise in x does not tell the data.
    """
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(
            f"{schedule.name} schedule: no signal is left at T = {schedule.T}, and the noise in x "
            "says nothing about the data there; take a schedule that keeps some"
        )
    walk = tuple(range(schedule.T, -1, -1)) if times is None else tuple(times)
    falls = all(t > s for t, s in pairwise(walk))
    if len(walk) < 2 or walk[0] != schedule.T or walk[-1] != 0 or not falls:
        shown = walk if len(walk) <= 6 else (*walk[:3], "...", *walk[-2:])
        raise ValueError(
            f"sampling times must fall strictly from T = {schedule.T} to 0, not {shown}; "
            "refgen.processes.stride(T, steps) makes such a list"
        )
    return walk


def numbers(walk: Sequence[float]) -> list[Any]:
    """Return times, or noise levels, as Python's numbers: NumPy's would widen an x of float32."""
    plain: list[Any] = np.asarray(walk).tolist()
    return plain


def falling(walk: Sequence[float], called: str = "sampling times") -> list[Any]:
    """Return the numbers of a continuous walk. Raises ValueError unless there are two, falling."""
    plain = numbers(walk)
    if len(plain) < 2 or any(s >= t for t, s in pairwise(plain)):
        raise ValueError(f"{called} fall, two at least, not {plain[:6]}")
    return plain


def within(noise_hat: Array, x: Array, alpha_bar: float, clip: float | None) -> Array:
    """Return the noise whose data estimate stays within ±clip; None is no limit."""
    return noise_hat if clip is None else clip_noise(x, noise_hat, alpha_bar, clip)


def trace(
    predict: Callable[[Array, Time], Array],
) -> tuple[Callable[[Array, Time], Array], list[tuple[Time, Array]]]:
    """Return a predictor that answers the same, and the list it keeps: (t, x) of every call.

    Give the first to any sampler, and the second is where it has been, ready to be drawn.

    >>> import numpy as np
    >>> from refgen.samplers.ode import solve
    >>> velocity, visited = trace(lambda x, t: -x)
    >>> end = solve(velocity, np.ones((1, 1)), [0.0, 0.5, 1.0], rule="euler")
    >>> [(t, float(x[0, 0])) for t, x in visited], float(end[0, 0])
    ([(0.0, 1.0), (0.5, 0.5)], 0.25)
    """
    visited: list[tuple[Time, Array]] = []

    def keeping(x: Array, t: Time) -> Array:
        visited.append((t, x))
        return predict(x, t)

    return keeping, visited
