r"""Diffusion in continuous time: signal and noise levels with their rates. t = 0 data, t = 1 noise.

Shapes     t : a float or (N,); levels and rates have its shape; beta, sigma : floats
Sources    song2021-sde  eq. 9-12, appendix C (VP, sub-VP, VE);  karras2022-edm  section 3

    x_t = a(t) data + b(t) noise,   λ = log a²/b²,  the log of signal to noise           (PT.1)

A path is four functions, a, b and their rates. All else follows: the SDE whose marginals these
are has a drift that shrinks the data as a does, and noise that makes up what b lacks,

    dx = f x dt + g dW,   f = a'/a,   g² = (b²)' − 2 f b²                                (PT.2)

since the variance given the data obeys v' = 2 f v + g². With ∫β short for ∫₀ᵗ β:

    VP        a = exp(−½ ∫β),   b² = 1 − a²,   β = β₀ + (β₁ − β₀) t                      (PT.3)
    sub-VP    a as above,       b = 1 − a²: never more noise than VP                     (PT.4)
    VE        a = 1,            b = σ₀ (σ₁/σ₀)ᵗ                                          (PT.5)
    cosine    a = cos ½πt,      b = sin ½πt                                              (PT.6)
    EDM       a = 1,            b = σ₁ t: time is the noise level, in units of the last  (PT.7)

Dividing x by a turns any path into one of growing variance, y = data + (b/a) noise. Two paths
with the same b/a differ by a factor only, and their probability flows pass the same points.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from refgen.typing import Array

Time = float | Array


class Levels(NamedTuple):
    """What a path is at a time."""

    a: Time  # signal
    b: Time  # noise
    da: Time  # da/dt
    db: Time


class Path(Protocol):
    """A way from data to noise."""

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""


@dataclass(frozen=True)
class VP:
    """Variance preserving, β growing linearly. Raises ValueError unless 0 ≤ β₀ ≤ β₁, β₁ > 0."""

    first: float = 0.1  # β₀
    last: float = 20.0  # β₁

    def __post_init__(self) -> None:
        if not (0 <= self.first <= self.last and self.last > 0):
            raise ValueError(f"VP: 0 ≤ first ≤ last with last > 0, not {self.first}, {self.last}")

    def beta(self, t: Time) -> Time:
        """Return β(t)."""
        return self.first + (self.last - self.first) * t

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates; db is infinite at t = 0."""
        total = t * self.first + 0.5 * t * t * (self.last - self.first)
        a = np.exp(-0.5 * total)
        b = np.sqrt(-np.expm1(-total))  # (PT.3)
        da = -0.5 * self.beta(t) * a
        with np.errstate(divide="ignore", invalid="ignore"):
            return Levels(a, b, da, -a * da / b)


@dataclass(frozen=True)
class SubVP(VP):
    """Less noise than VP at every time, and the same signal."""

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        total = t * self.first + 0.5 * t * t * (self.last - self.first)
        a = np.exp(-0.5 * total)
        da = -0.5 * self.beta(t) * a
        return Levels(a, -np.expm1(-total), da, -2 * a * da)  # (PT.4)


@dataclass(frozen=True)
class VE:
    """Variance exploding, geometric. Raises ValueError unless 0 < σ₀ < σ₁."""

    first: float = 0.01  # σ₀: what noise is left at t = 0
    last: float = 50.0  # σ₁

    def __post_init__(self) -> None:
        if not 0 < self.first < self.last:
            raise ValueError(f"VE: 0 < first < last, not {self.first}, {self.last}")

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        rate = math.log(self.last / self.first)
        b = self.first * np.exp(rate * t)  # (PT.5)
        return Levels(0 * t + 1.0, b, 0.0 * t, rate * b)


@dataclass(frozen=True)
class CosinePath:
    """Uniform motion on a quarter of a circle; no signal is left at t = 1."""

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        turn = 0.5 * math.pi
        a, b = np.cos(turn * t), np.sin(turn * t)  # (PT.6)
        return Levels(a, b, -turn * b, turn * a)


@dataclass(frozen=True)
class EDM:
    """Time is the noise level. Raises ValueError unless σ₁ > 0."""

    last: float = 80.0  # σ₁

    def __post_init__(self) -> None:
        if not self.last > 0:
            raise ValueError(f"EDM: the last noise level is positive, not {self.last}")

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        return Levels(0 * t + 1.0, self.last * t, 0.0 * t, 0 * t + self.last)  # (PT.7)


PATHS: dict[str, Path] = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "ve": VE(),
    "cosine": CosinePath(),
    "edm": EDM(),
}


def log_snr(path: Path, t: Time) -> Time:
    """Return λ(t), falling; infinite where there is no noise, minus infinite without signal."""
    a, b, _, _ = path.levels(t)
    with np.errstate(divide="ignore"):
        return 2 * (np.log(a) - np.log(b))  # (PT.1)


def sde(path: Path, t: Time) -> tuple[Time, Time]:
    """Return (f, g²) of the SDE whose marginals the path's are."""
    a, b, da, db = path.levels(t)
    f = da / a
    return f, 2 * b * (db - f * b)  # (PT.2)
