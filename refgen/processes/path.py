r"""Diffusion in continuous time: signal and noise levels with their rates. t = 0 data, t = 1 noise.

Shapes     t, λ : a float or (N,); levels, rates, f and g² have its shape; beta, sigma : floats
Sources    song2021-sde  eq. 9-12, appendix C (VP, sub-VP, VE);  karras2022-edm  section 3;
           nichol2021-improved  eq. 17 (cosine);  chen2023-schedules  (sigmoid)

    x_t = a(t) data + b(t) noise,   λ = log a²/b²,  the log of signal to noise           (PT.1)

In the lectures' T steps a is √ᾱ_t and b is √(1 − ᾱ_t) (discrete.py). A path is four functions:
a, b and their rates in t, a' and b'. All else follows: the SDE whose marginals these are has a
drift that shrinks the data as a does, and Brownian noise W that makes up what b lacks,

    dx = f x dt + g dW,   f = a'/a,   g² = (b²)' − 2 f b²                                (PT.2)

since the variance given the data obeys v' = 2 f v + g². Where a² + b² = 1, (b²)' is −2 a a' and

    g² = −2 f                                                                            (PT.3)

The paths, with ∫β short for ∫₀ᵗ β, o an offset and ϑ₀ the ϑ of t = 0:

    VP        a = exp(−½ ∫β),   b² = 1 − a²,   β = β₀ + (β₁ − β₀) t                      (PT.4)
    sub-VP    a as above,       b = 1 − a²: never more noise than VP                     (PT.5)
    VE        a = 1,            b = σ₀ (σ₁/σ₀)ᵗ                                          (PT.6)
    cosine    a = cos ϑ / cos ϑ₀,   b² = 1 − a²,   ϑ = ½π (t + o) / (1 + o)              (PT.7)
    EDM       a = 1,            b = σ₁ t: time is the noise level, in units of the last  (PT.8)
    sigmoid   a² = (S(u₁) − S(u)) / (S(u₁) − S(u₀)),   b² = 1 − a²,
              S(u) = 1 / (1 + e⁻ᵘ),   u = u₀ + (u₁ − u₀) t                               (PT.9)

Dividing x by a turns any path into one of growing variance, y = data + (b/a) noise. Two paths
with the same b/a differ by a factor only, and the flows that carry their densities
(samplers/probability_flow.py) pass the same points y. So a sampler thinks in λ, and asks a path for
the time that has it: with q = e^−λ = b²/a²,

    VP        ∫β = log(1 + q),   t = 2 ∫β / (β₀ + √(β₀² + 2 (β₁ − β₀) ∫β))               (PT.10)
    sub-VP    ∫β = 2 arsinh ½√q, and t as above                                          (PT.11)
    VE        t = log(√q / σ₀) / log(σ₁/σ₀)                                              (PT.12)
    cosine    tan ϑ = √(q + sin² ϑ₀) / cos ϑ₀                                            (PT.13)
    EDM       t = √q / σ₁                                                                (PT.14)
    sigmoid   tanh ½u = (tanh ½u₀ + q tanh ½u₁) / (1 + q)                                (PT.15)

What ends look like. Where there is no noise, b = 0, λ is infinite. From there b grows like √t on
VP with β₀ > 0, the cosine with an offset and the sigmoid: its rate is infinite, though g² is not.
VE begins at b = σ₀. Where there is no signal, a = 0 (cosine and sigmoid, t = 1), λ is minus
infinite, and so is f.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from refgen.typing import Array

Time = float | Array
SLACK = 1e-9  # by how much a wanted λ may miss a path's range: rounding


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

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""


class Preserving:
    """A path on which a² + b² = 1, so that data of variance 1 keep it."""


@dataclass(frozen=True)
class Linear:
    """What VP and sub-VP share: β, growing linearly. Raises ValueError unless 0 ≤ β₀ ≤ β₁ > 0."""

    first: float = 0.1  # β₀
    last: float = 20.0  # β₁

    def __post_init__(self) -> None:
        if not (0 <= self.first <= self.last and self.last > 0):
            raise ValueError(f"VP: 0 ≤ first ≤ last with last > 0, not {self.first}, {self.last}")

    def beta(self, t: Time) -> Time:
        """Return β(t)."""
        return self.first + (self.last - self.first) * t

    def total(self, t: Time) -> Time:
        """Return ∫₀ᵗ β."""
        return t * self.first + 0.5 * t * t * (self.last - self.first)

    def time_of_total(self, total: Time) -> Time:
        """Return the t of an ∫β."""
        root = np.sqrt(self.first**2 + 2 * (self.last - self.first) * total)
        return _ratio(2 * total, self.first + root, 0.0)  # (PT.10)


@dataclass(frozen=True)
class VP(Linear, Preserving):
    """Variance preserving."""

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates; db is infinite at t = 0 if β₀ > 0."""
        total = self.total(t)
        a = np.exp(-0.5 * total)
        b = np.sqrt(-np.expm1(-total))  # (PT.4)
        da = -0.5 * self.beta(t) * a
        start = math.inf if self.first > 0 else math.sqrt(0.5 * self.last)  # b ~ t √(½β₁)
        return Levels(a, b, da, _ratio(-a * da, b, start))

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        return self.time_of_total(np.logaddexp(0.0, -log_snr))  # (PT.10)


@dataclass(frozen=True)
class SubVP(Linear):
    """Less noise than VP at every time, and the same signal."""

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        total = self.total(t)
        a = np.exp(-0.5 * total)
        da = -0.5 * self.beta(t) * a
        return Levels(a, -np.expm1(-total), da, -2 * a * da)  # (PT.5)

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        return self.time_of_total(2 * np.arcsinh(0.5 * np.exp(-0.5 * log_snr)))  # (PT.11)


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
        b = self.first * np.exp(rate * t)  # (PT.6)
        return Levels(0 * t + 1.0, b, 0.0 * t, rate * b)

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        rate = math.log(self.last / self.first)
        return (-0.5 * log_snr - math.log(self.first)) / rate  # (PT.12)


@dataclass(frozen=True)
class CosinePath(Preserving):
    """Uniform motion on a quarter of a circle; no signal is left at t = 1.

    An offset, Nichol and Dhariwal's is 0.008, starts it later on the circle and scales the signal
    back to 1: more noise at the first times. Raises ValueError unless 0 ≤ offset < 1.
    """

    offset: float = 0.0  # o

    def __post_init__(self) -> None:
        if not 0 <= self.offset < 1:
            raise ValueError(f"cosine path: offset must lie in [0, 1), not {self.offset}")

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates; with an offset db is infinite at 0."""
        turn, first = self._turn, self._turn * self.offset
        a = np.sin(turn * (1 - t)) / math.cos(first)  # cos ϑ, and exactly 0 at t = 1
        square = np.sin(turn * t) * np.sin(turn * (t + 2 * self.offset))
        b = np.sqrt(square) / math.cos(first)  # (PT.7), as cos² ϑ₀ − cos² ϑ = that product
        da = -turn * np.sin(turn * (t + self.offset)) / math.cos(first)
        return Levels(a, b, da, _ratio(-a * da, b, math.inf if self.offset else turn))

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        first = self._turn * self.offset
        tan = np.sqrt(np.exp(-log_snr) + math.sin(first) ** 2) / math.cos(first)  # (PT.13)
        t: Time = np.arctan(tan) / self._turn - self.offset
        return t

    @property
    def _turn(self) -> float:
        return 0.5 * math.pi / (1 + self.offset)  # dϑ/dt


@dataclass(frozen=True)
class EDM:
    """Time is the noise level. Raises ValueError unless σ₁ > 0."""

    last: float = 80.0  # σ₁

    def __post_init__(self) -> None:
        if not self.last > 0:
            raise ValueError(f"EDM: the last noise level is positive, not {self.last}")

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates."""
        return Levels(0 * t + 1.0, self.last * t, 0.0 * t, 0 * t + self.last)  # (PT.8)

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        t: Time = np.exp(-0.5 * log_snr) / self.last  # (PT.14)
        return t


@dataclass(frozen=True)
class SigmoidPath(Preserving):
    """The signal's square falls along a sigmoid, to 0. Raises ValueError unless u₀ < u₁."""

    first: float = -3.0  # u₀
    last: float = 3.0  # u₁

    def __post_init__(self) -> None:
        if not self.first < self.last:
            raise ValueError(f"sigmoid path: first < last, not {self.first}, {self.last}")

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates: da = −∞ at t = 1, db = ∞ at t = 0."""
        low, high = 0.5 * self.first, 0.5 * self.last
        middle = (1 - t) * low + t * high
        scale = np.cosh(middle) * math.sinh(high - low)
        a = np.sqrt(np.sinh((1 - t) * (high - low)) * math.cosh(low) / scale)
        b = np.sqrt(np.sinh(t * (high - low)) * math.cosh(high) / scale)  # (PT.9), with
        # S(u) − S(v) = ½ sinh ½(u − v) / (cosh ½u cosh ½v), which does not cancel
        fall = (high - low) * math.cosh(low) * math.cosh(high) / (np.cosh(middle) * scale)
        return Levels(a, b, _ratio(-0.5 * fall, a, -math.inf), _ratio(0.5 * fall, b, math.inf))

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        low, high = 0.5 * self.first, 0.5 * self.last
        kept = 0.5 + 0.5 * np.tanh(0.5 * np.asarray(log_snr))  # 1 / (1 + q)
        tanh = kept * math.tanh(low) + (1 - kept) * math.tanh(high)  # (PT.15)
        t: Time = ((np.arctanh(tanh) - low) / (high - low))[()]
        return t


PATHS: dict[str, Path] = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "ve": VE(),
    "cosine": CosinePath(),
    "cosine-offset": CosinePath(0.008),
    "sigmoid": SigmoidPath(),
    "edm": EDM(),
}


def log_snr(path: Path, t: Time) -> Time:
    """Return λ(t), falling; infinite where there is no noise, minus infinite without signal."""
    a, b, _, _ = path.levels(t)
    with np.errstate(divide="ignore"):
        return 2 * (np.log(a) - np.log(b))  # (PT.1)


def time_of(path: Path, at: Time) -> Time:
    """Return the time in [0, 1] at which λ is this. Raises ValueError for one that is not passed.

    >>> round(float(time_of(CosinePath(), 0.0)), 12)  # as much noise as signal
    0.5
    """
    most, least = float(log_snr(path, 0.0)), float(log_snr(path, 1.0))
    slack = SLACK * max([1.0, *(abs(end) for end in (most, least) if math.isfinite(end))])
    inside = (np.asarray(at) <= most + slack) & (np.asarray(at) >= least - slack)
    if not np.all(inside):
        wrong = np.asarray(at)[~inside].flat[0]
        raise ValueError(
            f"the log of signal to noise falls from {most:.6g} to {least:.6g} along {path}: "
            f"it is nowhere {wrong:.6g}"
        )
    with np.errstate(over="ignore"):  # e^−λ, infinite where no signal is left
        return np.clip(path.time_of(at), 0.0, 1.0)


def sde(path: Path, t: Time) -> tuple[Time, Time]:
    """Return (f, g²) of the SDE whose marginals the path's are; where a is 0 both are infinite."""
    a, b, da, db = path.levels(t)
    f = _ratio(da, a, -math.inf)
    if isinstance(path, Preserving):
        return f, -2 * f  # (PT.3), where (PT.2) would be 0 · ∞
    return f, 2 * b * (db - f * b)  # (PT.2)


def _ratio(top: Time, below: Time, limit: float) -> Time:
    """Return top / below, and the limit where below is 0."""
    gone = below == 0
    return np.where(gone, limit, top / np.where(gone, 1.0, below))[()]
