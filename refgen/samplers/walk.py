"""The list of times that a sampler walks, and what it asks of a network."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen.processes import Schedule
from refgen.typing import Array

Predict = Callable[[Array, int], Array]  # (x, t) -> the noise in x


def checked(times: Sequence[int] | None, schedule: Schedule) -> tuple[int, ...]:
    """Return the times, T .. 0 if none are given; a network call stands between two of them.

    Raises ValueError unless they fall strictly from T to 0.
    """
    walk = tuple(range(schedule.T, -1, -1)) if times is None else tuple(times)
    falls = all(t > s for t, s in pairwise(walk))
    if len(walk) < 2 or walk[0] != schedule.T or walk[-1] != 0 or not falls:
        shown = walk if len(walk) <= 6 else (*walk[:3], "...", *walk[-2:])
        raise ValueError(
            f"sampling times must fall strictly from T = {schedule.T} to 0, not {shown}; "
            "refgen.processes.stride(T, steps) makes such a list"
        )
    return walk
