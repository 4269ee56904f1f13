r"""A schedule whose ends are learnt: λ falls on a straight line, and the bound says how far.

Shapes     data : (N, *S), D numbers each    error, dbound : (N,)    terms : (N,), in nats
           γ₀, γ₁ : floats, first and last
Sources    kingma2021-vdm  sections 3-5 (γ is theirs, −λ)

x = a data + b noise, as on any path (path.py), whose λ = log a²/b² is now −γ:

    γ(t) = γ₀ + (γ₁ − γ₀) t,   a² = 1 / (1 + e^γ),   b² = 1 / (1 + e^−γ)                  (LS.1)
    a' = −½ a b² γ',   b' = ½ b a² γ'                                                     (LS.2)

The bound of −log p(data). Down from noise that is nearly N(0, I), along the reverse chain of
infinitely many steps, to the data, which at last are drawn around x/a with the noise that is left,
N(x/a, e^γ₀ I). (Data on a grid have a sum over their bin there instead.)

    prior = ½ (a₁² |data|² + D (b₁² − 1 − log b₁²))                                       (LS.3)
    diffusion = ½ ∫₀¹ γ' error dt = ½ ∫_{γ₀}^{γ₁} error dγ,   error = E ‖ε̂ − noise‖²      (LS.4)
    reconstruction = ½ D (1 + log 2π + γ₀)                                                (LS.5)

(LS.3) is KL[N(a₁ data, b₁² I) ‖ N(0, I)], (LS.4) has the weight elbo of weights.py, (LS.5) is a
mean over the noise. Of the way in between, once γ counts instead of t, its two ends are left: any
other path with these ends has the same diffusion term, though draws of t may spread it otherwise.

Gradients. So the integral has the slopes of an integral in its ends, though its integrand, the
network, sees γ everywhere. They ask for the error at the ends, not for a derivative of the network
(in γ₁ the slope of a₁² is −a₁² b₁², that of b₁² is a₁² b₁², that of log b₁² is a₁²):

    dγ₁ = ½ error(γ₁) − ½ a₁² (b₁² |data|² + D a₁²)                                       (LS.6)
    dγ₀ = ½ D − ½ error(γ₀)                                                               (LS.7)

For the best network and γ₁ → ∞ the mean bound is the entropy of data + N(0, e^γ₀ I).
(LS.7) is positive then, and vanishes as γ₀ → −∞: data that have a density ask for no noise at all.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refgen.processes.path import Levels, Preserving, Time
from refgen.typing import Array

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class LearnedSNR(Preserving):
    """λ falls from −first to −last, evenly in t. Raises ValueError unless first < last."""

    first: float = -13.3  # γ₀
    last: float = 5.0  # γ₁

    def __post_init__(self) -> None:
        if not np.real(self.first) < np.real(self.last):
            raise ValueError(
                f"noise over signal grows: first < last, not {self.first}, {self.last}"
            )

    def gamma(self, t: Time) -> Time:
        """Return γ = −λ."""
        return self.first + (self.last - self.first) * t

    def levels(self, t: Time) -> Levels:
        """Return signal and noise levels and their rates, all finite."""
        gamma, rate = self.gamma(t), self.last - self.first
        a, b = 1 / np.sqrt(1 + np.exp(gamma)), 1 / np.sqrt(1 + np.exp(-gamma))  # (LS.1)
        return Levels(a, b, -0.5 * a * b * b * rate, 0.5 * b * a * a * rate)  # (LS.2)

    def time_of(self, log_snr: Time) -> Time:
        """Return the time at which λ is this."""
        return (-log_snr - self.first) / (self.last - self.first)


class Bound(NamedTuple):
    """The three parts of a bound on −log p(data), each (N,), in nats."""

    prior: Array
    diffusion: Array
    reconstruction: Array

    @property
    def total(self) -> Array:
        """Their sum."""
        return self.prior + self.diffusion + self.reconstruction


def bound(path: LearnedSNR, data: Array, error: Array) -> Bound:
    """Return the bound, (N,) each, from ‖ε̂ − noise‖² at a time drawn uniformly, one an example.

    >>> ends = LearnedSNR(-8.0, 8.0)
    >>> bound(ends, np.zeros((1, 2)), np.array([1.0])).diffusion  # ½ (γ₁ − γ₀) error
    array([8.])
    """
    square, dim = _square(data)
    a2, b2 = _squares(path)
    prior = 0.5 * (a2 * square + dim * (b2 - 1 - np.log(b2).item()))  # (LS.3)
    diffusion = 0.5 * (path.last - path.first) * error  # (LS.4)
    reconstruction = 0.5 * dim * (1 + LOG_2PI + path.first) + 0 * square  # (LS.5)
    return Bound(prior, diffusion, reconstruction)


def bound_backward(
    dbound: Array, path: LearnedSNR, data: Array, error_first: Array, error_last: Array
) -> tuple[float, float, Array]:
    """Return (dfirst, dlast, derror): of γ₀ and γ₁, and of the error that the bound was given.

    error_first and error_last, (N,), are ‖ε̂ − noise‖² at t = 0 and t = 1, two calls of the network
    without a backward; the slopes are those of the bound's mean over noise and time.
    """
    square, dim = _square(data)
    a2, b2 = _squares(path)
    of_prior = -0.5 * a2 * (b2 * square + dim * a2)
    dlast = float(np.sum(dbound * (0.5 * error_last + of_prior)))  # (LS.6)
    dfirst = float(np.sum(dbound * 0.5 * (dim - error_first)))  # (LS.7)
    return dfirst, dlast, 0.5 * (path.last - path.first) * dbound


def _squares(path: LearnedSNR) -> tuple[float, float]:
    """Return a₁² and b₁² as numbers, which leave the precision of the data alone."""
    a, b, _, _ = path.levels(1.0)
    return np.square(a).item(), np.square(b).item()


def _square(data: Array) -> tuple[Array, int]:
    """Return |data|², (N,), and D."""
    flat = np.reshape(data, (data.shape[0], -1))
    return np.sum(flat * flat, axis=1), flat.shape[1]
