r"""Paths whose time is a whole number, and the chain that every path is between two times.

Shapes     t : an int or (N,) ints, 0 data .. T noise    a, b, da, db : (T + 1,) float64
           sigma : (L,), falling
Sources    song2021-sde  eq. 8, 10 (the chains of VE and VP), 9, 11 (their limits), appendix B;
           song2019-ncsn  section 4 (noise levels);  ho2020-ddpm  eq. 6, 7 (the posterior)

A schedule is a path that is known at whole times. Its levels are known there, its rates are not:
they are told from the neighbours, in units of one step, and are finite at both ends.

    a_t = √ᾱ_t,   b_t = √(1 − ᾱ_t)                                                       (PD.1)
    a'_t ≈ ½ (a_{t+1} − a_{t−1}),   a'_0 ≈ a_1 − a_0,   a'_T ≈ a_T − a_{T−1}             (PD.2)

The other way, T steps of a path: the levels at t/T, and the rates, which are exact, over T. If
a² + b² = 1 this is a schedule with the path's own marginals,

    β_t = 1 − a(t/T)² / a((t − 1)/T)²                                                    (PD.3)

which on VP is β(t/T)/T up to O(1/T²): the chain of the lectures and the SDE have one limit.

The noise levels of a walk count from the largest, σ_1 > ... > σ_L. As a path they are

    a_t = 1,   b_0 = 0,   b_t = σ_{L+1−t}                                                (PD.4)

Between two times, s < t, any path is a Gaussian step, since x_s/a_s and x_t/a_t are the data with
noise that only grows:

    x_t given x_s ~ N(r x_s, v I),   r = a_t/a_s,   v = b_t² − r² b_s²                   (PD.5)

Where a² + b² = 1 so is r² + v, the step of the lectures; for VE r = 1 and v = σ_t² − σ_s². Given
the data too, Bayes' rule averages x_t/r and a_s data with the precisions r²/v and 1/b_s²:

    x_s given x_t and the data ~ N(p x_t + q data, w I),
    p = r b_s²/b_t²,   q = a_s v/b_t²,   w = v b_s²/b_t²                                 (PD.6)

On a schedule, with s = t − 1, these are the lectures' √α_t = r, β_t = v, μ̃_t and β̃_t = w.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refgen.ops.home import beside
from refgen.processes.path import Levels, Path, Preserving, Time
from refgen.processes.schedule import Schedule, from_alpha_bar
from refgen.typing import Array

FAR = 1e6  # λ of a level without noise; minus that without signal


class Transition(NamedTuple):
    """A step up: from a time to a later one."""

    gain: Time  # r
    var: Time  # v


class Posterior(NamedTuple):
    """A step down, when the data are known."""

    of_x: Time  # p
    of_data: Time  # q
    var: Time  # w


@dataclass(frozen=True, eq=False)
class DiscretePath:
    """A path at the whole times 0 .. T. Raises ValueError unless its signal-to-noise falls."""

    name: str
    a: Array  # (T + 1,)
    b: Array  # (T + 1,)
    da: Array  # (T + 1,), per step
    db: Array  # (T + 1,), per step

    def __post_init__(self) -> None:
        arrays = {n: np.array(getattr(self, n), np.float64) for n in ("a", "b", "da", "db")}
        if len({array.shape for array in arrays.values()}) > 1 or arrays["a"].shape < (2,):
            raise ValueError(f"{self.name}: levels and rates are (T + 1,), T ≥ 1, all of one shape")
        a, b = arrays["a"], arrays["b"]
        if not ((b[1:] * a[:-1] > a[1:] * b[:-1]).all() and (a[:-1] > 0).all() and b[0] >= 0):
            raise ValueError(f"{self.name}: b/a must grow with t, and a be positive before T")
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def T(self) -> int:
        """The last time."""
        return len(self.a) - 1

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates per step.

        Raises ValueError for times that are not whole numbers of 0 .. T.
        """
        whole = isinstance(t, int) or getattr(t, "dtype", np.dtype(float)).kind in "iu"
        looked_at = isinstance(t, int | np.integer | np.ndarray)  # on a device that would wait
        if not whole or (looked_at and (np.any(t < 0) or np.any(t > self.T))):
            raise ValueError(f"{self.name}: times are whole numbers, 0 .. {self.T}, not {t!r}")
        index: Any = t
        return Levels(*(beside(array, t)[index] for array in (self.a, self.b, self.da, self.db)))

    def time_of(self, log_snr: Time) -> Time:
        """Return the whole time whose λ is nearest, the later one if two are equally near."""
        with np.errstate(divide="ignore"):
            own = np.clip(2 * (np.log(self.a) - np.log(self.b)), -FAR, FAR)
        wanted = np.clip(log_snr, -FAR, FAR)
        after = np.searchsorted(-own, -wanted)  # the first time with λ no larger
        after = np.clip(after, 1, self.T)
        nearer = np.abs(own[after - 1] - wanted) < np.abs(own[after] - wanted)
        t: Time = (after - nearer)[()]
        return t


def of_schedule(schedule: Schedule) -> DiscretePath:
    """Return a schedule as a path, with finite differences for rates.

    >>> from refgen.processes.schedule import cosine
    >>> path = of_schedule(cosine(100, offset=0.0))
    >>> [round(float(level), 4) for level in path.levels(50)]
    [0.7071, 0.7071, -0.0111, 0.0111]
    """
    a, b = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)  # (PD.1)
    return DiscretePath(schedule.name, a, b, np.gradient(a), np.gradient(b))  # (PD.2)


def of_path(path: Path, T: int) -> DiscretePath:
    """Return a path at T + 1 even times, with its own rates, divided by T."""
    a, b, da, db = (np.asarray(level) for level in path.levels(np.arange(T + 1) / T))
    return DiscretePath(f"{path} in {T} steps", a, b, da / T, db / T)


def of_noise_levels(sigma: Array) -> DiscretePath:
    """Return the noise levels of a walk, largest first, as a path without noise at t = 0."""
    b = np.concatenate([[0.0], sigma[::-1]])
    a = np.ones_like(b)  # (PD.4)
    return DiscretePath(f"{len(sigma)} noise levels", a, b, 0 * a, np.gradient(b))


def discretized(path: Path, T: int) -> Schedule:
    """Return the schedule of T steps whose marginals are the path's.

    Raises ValueError for a path on which a² + b² is not 1: its chain is `transition`.
    """
    if not isinstance(path, Preserving):
        raise ValueError(f"{path} does not preserve variance, as a Schedule does: use of_path")
    a = np.asarray(path.levels(np.arange(T + 1) / T).a)
    return from_alpha_bar(f"{path} in {T} steps", a * a)  # (PD.3)


def transition(later: Levels, earlier: Levels) -> Transition:
    """Return how x at a time follows from x at an earlier one, where a > 0."""
    gain = later.a / earlier.a
    return Transition(gain, later.b**2 - gain**2 * earlier.b**2)  # (PD.5)


def posterior(later: Levels, earlier: Levels) -> Posterior:
    """Return how x at a time follows from x at a later one, b > 0, and the data."""
    gain, var = transition(later, earlier)
    share, var_later = earlier.b**2 / later.b**2, later.b**2
    return Posterior(gain * share, earlier.a * var / var_later, var * share)  # (PD.6)
