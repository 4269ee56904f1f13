r"""Which levels a sampler visits: explicit lists, falling, one network call between two entries.

Shapes     T levels, S steps.   times : S + 1 falling ints, 0 at the end
           sigmas : S + 1 falling floats, 0 at the end; σ = b/a is noise over signal
Sources    lin2024-zero-snr  table 2 (leading, trailing, linspace);
           nichol2021-improved  section 4 (respacing);  dhariwal2021-adm  (sections);
           karras2022-edm  eq. 5;  lu2022-dpm-solver-pp  (uniform in λ)

Samplers walk a list and do no arithmetic on t. Every list ends at t_0 = 0. Beside schedule.py's
stride, t_i = ⌊i T/S⌋, there are, for i = S .. 1 and with round(x) = ⌊x + ½⌋,

    leading     t_i = 1 + (i − 1) ⌊T/S⌋                                                  (SP.1)
    trailing    t_i = round(i T/S)                                                       (SP.2)
    linspace    t_i = 1 + round((i − 1)(T − 1)/(S − 1)),   t_1 = T if S = 1              (SP.3)
    sections    T is cut into equal parts (the first ones longer by 1 where that does not come
                out even), and a part of n levels is visited c times, at its levels
                1 + round(j (n − 1)/(c − 1)),  j = 0 .. c − 1, or at its first           (SP.4)

    list        begins at                   visits t = 1        ends at    calls
    stride      T                           if S > T/2          0          S
    trailing    T                           if S > 2T/3         0          S
    leading     1 + (S − 1) ⌊T/S⌋           always              0          S
    linspace    T                           if S > 1            0          S
    sections    T if the last count is      always              0          the counts' sum
                2 or more, or its part
                has but one level

A list that begins below T starts from more signal than a draw of N(0, I) has: leading, the oldest,
begins at 901 of 1000 for ten steps, and at 1 for one. Two lists of noise over signal, the first
bending towards small σ as ρ grows, the second the same for ρ → ∞. As times do, levels count down
to 0, so that σ_S is the largest (in schedule.py's geometric list it is σ_1):

    karras        σ_i = (σ_S^{1/ρ} + (S − i)/(S − 1) (σ_1^{1/ρ} − σ_S^{1/ρ}))^ρ, then 0  (SP.5)
    log uniform   σ_i = σ_S (σ_1/σ_S)^((S − i)/(S − 1)), then 0: even in λ = −2 log σ    (SP.6)

A path turns them into times exactly. A schedule has the nearest level, t_i, moved where two would
be one, so that S calls see S levels; from i = S down, with t_{S+1} = T + 1,

    t_i ← min(max(t_i, i), t_{i+1} − 1)                                                  (SP.7)

The levels of a list are a schedule of their own, on which every step is a step of one:

    ᾱ'_i = ᾱ_{t_i},   i = 0 .. S                                                         (SP.8)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from refgen.processes.discrete import of_schedule
from refgen.processes.path import Path, time_of
from refgen.processes.schedule import Schedule, from_alpha_bar, stride


def leading(T: int, steps: int) -> tuple[int, ...]:
    """Return steps + 1 times from 1 + (steps − 1) ⌊T / steps⌋, through 1, to 0.

    Raises ValueError unless 1 ≤ steps ≤ T.

    >>> leading(1000, 4)
    (751, 501, 251, 1, 0)
    """
    gap = T // _counted(T, steps)
    return (*(1 + (i - 1) * gap for i in range(steps, 0, -1)), 0)  # (SP.1)


def trailing(T: int, steps: int) -> tuple[int, ...]:
    """Return steps + 1 times from T to 0, the exact ones rounded.

    Raises ValueError unless 1 ≤ steps ≤ T.

    >>> trailing(1000, 3), stride(1000, 3)
    ((1000, 667, 333, 0), (1000, 666, 333, 0))
    """
    _counted(T, steps)
    return (*(_rounded(i * T, steps) for i in range(steps, 0, -1)), 0)  # (SP.2)


def linspace(T: int, steps: int) -> tuple[int, ...]:
    """Return steps + 1 times from T, through 1 if steps > 1, to 0.

    Raises ValueError unless 1 ≤ steps ≤ T.

    >>> linspace(1000, 4)
    (1000, 667, 334, 1, 0)
    """
    if _counted(T, steps) == 1:
        return (T, 0)
    return (
        *(1 + _rounded((i - 1) * (T - 1), steps - 1) for i in range(steps, 0, -1)),  # (SP.3)
        0,
    )


def sections(T: int, counts: str | Sequence[int]) -> tuple[int, ...]:
    """Return times with so many in each equal part of 1 .. T, the first count for the data's end.

    Raises ValueError for counts that are not whole numbers of 1 or more, or exceed their part.

    >>> sections(8, "2,1")
    (5, 4, 1, 0)
    """
    try:
        wanted = [int(c) for c in (counts.split(",") if isinstance(counts, str) else counts)]
    except ValueError:
        raise ValueError(f"sections are counts such as '10,15,20', not {counts!r}") from None
    times, start = [0], 1
    for part, count in enumerate(wanted):
        size = T // len(wanted) + (part < T % len(wanted))
        if not 1 <= count <= size:
            raise ValueError(
                f"section {part + 1} of {len(wanted)} has {size} of the T = {T} levels: it can "
                f"visit 1 .. {size} of them, not {count}"
            )
        last = max(count - 1, 1)
        times += [start + _rounded(j * (size - 1), last) for j in range(count)]  # (SP.4)
        start += size
    return tuple(times[::-1])


SPACINGS: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "stride": stride,
    "trailing": trailing,
    "leading": leading,
    "linspace": linspace,
}


def karras(steps: int, first: float, last: float, rho: float = 7.0) -> tuple[float, ...]:
    """Return steps + 1 noise levels from first, through last if steps > 1, to 0.

    Raises ValueError unless 0 < last < first, steps ≥ 1 and rho > 0.

    >>> [round(sigma, 3) for sigma in karras(4, 80.0, 0.002)]
    [80.0, 9.723, 0.47, 0.002, 0.0]
    """
    if not rho > 0:
        raise ValueError(f"karras noise levels: rho is positive, not {rho}")
    part = _parts(steps, first, last)
    top, end = first ** (1 / rho), last ** (1 / rho)
    inner = [(end + p * (top - end)) ** rho for p in part[1:-1]]  # (SP.5)
    return _framed(steps, first, inner, last)


def log_uniform(steps: int, first: float, last: float) -> tuple[float, ...]:
    """Return steps + 1 noise levels in equal ratios from first, through last if steps > 1, to 0.

    Raises ValueError unless 0 < last < first and steps ≥ 1.

    >>> [round(sigma, 3) for sigma in log_uniform(3, 10.0, 0.1)]
    [10.0, 1.0, 0.1, 0.0]
    """
    part = _parts(steps, first, last)
    inner = [first**p * last ** (1 - p) for p in part[1:-1]]  # (SP.6)
    return _framed(steps, first, inner, last)


def times_on_path(path: Path, sigmas: Sequence[float]) -> tuple[float, ...]:
    """Return the times at which a path has these b/a; 0 stands for t = 0.

    Raises ValueError for noise that the path does not pass, and where the times would not fall: a
    VE path begins at σ₀, so a list that passes it must end there, not at 0.
    """
    with np.errstate(divide="ignore"):
        inner = time_of(path, -2 * np.log(np.array([s for s in sigmas if s != 0])))
    times = tuple(float(t) for t in np.asarray(inner)) + (0.0,) * sum(s == 0 for s in sigmas)
    if any(s >= t for t, s in pairwise(times)):
        raise ValueError(f"times must fall, and {sigmas} on {path} are {times}")
    return times


def times_on_schedule(schedule: Schedule, sigmas: Sequence[float]) -> tuple[int, ...]:
    """Return the nearest levels of a schedule, as many different ones as there are noise levels.

    Raises ValueError unless the noise levels fall to 0 and number at most T before it.

    >>> from refgen.processes.schedule import linear
    >>> times_on_schedule(linear(1000), karras(5, 80.0, 0.02))
    (931, 776, 530, 136, 3, 0)
    """
    if sigmas[-1] != 0 or any(s >= t for t, s in pairwise(sigmas)):
        raise ValueError(f"noise levels fall to 0 at the end, not {tuple(sigmas)}")
    steps = _counted(schedule.T, len(sigmas) - 1)
    nearest = of_schedule(schedule).time_of(-2 * np.log(np.array(sigmas[:-1])))
    times = [schedule.T + 1]
    for i, t in zip(range(steps, 0, -1), np.asarray(nearest), strict=True):
        times.append(min(max(int(t), i), times[-1] - 1))  # (SP.7)
    return (*times[1:], 0)


def respaced(schedule: Schedule, times: Sequence[int]) -> Schedule:
    """Return the schedule of a list's levels; its time i is the list's i-th from the end.

    A network that was taught on the whole schedule must still be told the list's times. Raises
    ValueError for times that do not fall to 0, or lie beyond T.
    """
    falls = all(t > s for t, s in pairwise(times))
    if len(times) < 2 or not falls or times[-1] != 0 or times[0] > schedule.T:
        raise ValueError(f"times fall from at most T = {schedule.T} to 0, not {tuple(times)[:6]}")
    kept = schedule.alpha_bar[list(times)[::-1]]  # (SP.8)
    return from_alpha_bar(f"{schedule.name} at {len(times) - 1} of {schedule.T}", kept)


def _counted(T: int, steps: int) -> int:
    if not 1 <= steps <= T:
        raise ValueError(f"a schedule of T = {T} levels has 1 .. {T} sampling steps, not {steps}")
    return steps


def _rounded(top: int, below: int) -> int:
    """Return ⌊top / below + ½⌋ in whole numbers: no rounding error decides."""
    return (2 * top + below) // (2 * below)


def _parts(steps: int, first: float, last: float) -> list[float]:
    """Return how far above last each level is, from 1 to 0."""
    if not (0 < last < first and steps >= 1):
        raise ValueError(f"noise levels: 0 < last < first, steps ≥ 1, not {last}, {first}, {steps}")
    return [(i - 1) / max(steps - 1, 1) for i in range(steps, 0, -1)]


def _framed(steps: int, first: float, inner: list[float], last: float) -> tuple[float, ...]:
    return (first, *inner, last, 0.0) if steps > 1 else (first, 0.0)
