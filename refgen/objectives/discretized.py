r"""The probability of a level: a Gaussian integrated over the bin that an image's value stands for.

Shapes     N batch, *S axes of one example, D their product, L levels.
           x, mean, logvar = log σ², their gradients, and all of one bin : (N, *S)
           nll, dnll : (N,), in nats
Sources    ho2020-ddpm  eq. 13 (the bins);  theis2016-note  section 3.1 (bits, densities);
           chiarella1968-error-function, trefethen2014-trapezoid  (the tail)

Images hold L levels from low to high, a width w apart. A density cannot say how probable a level
is. Its integral over the level's bin can, and with open ends the L probabilities sum to 1. With φ
and Φ the standard normal's density and distribution, and lengths in units of σ (t is no time here),

    P(x) = Φ(z + ½t) − Φ(z − ½t),   z = (x − mean)/σ,   t = w/σ                           (DZ.1)
    nll = −Σ log P(x)                                                                     (DZ.2)

where the bins of the first and the last level reach to −∞ and ∞. Far from the mean both Φ are 1, or
0, to rounding. So a bin left of the mean is mirrored, to have its centre m = |z|, and an end's bin
to be open on the right, m = ±z; then upper tails Φ(−e) = φ(e) R(e), e ≥ 0, keep their digits. With
the edges l = m − ½t and u = m + ½t, and φ(u) = φ(l) q, q = e^(−mt), or q = 0 at an open end,

    P = φ(l) (R(l) − q R(u))   where l ≥ 0,   P = 1 − φ(l) (R(−l) + q R(u))   elsewhere     (DZ.3)

R(e) = √(2/π) e ∫₀^∞ e^(−½k²) / (k² + e²) dk. It is a trapezoid sum whose nodes (n − ½) h miss the
integrand's poles at k = ±ie, and what the poles add; with h = √2/2 the error is e^(−4π²) or 7e-18:

    R(e) = √(2/π) h e Σ_{n ≥ 1} e^(−½k²) / (k² + e²),   k = (n − ½) h,
           plus √(2π) e^(½e²) / (1 + e^(2πe/h)) where e < 2π/h                             (DZ.4)

A bin that is short, t max(1, m) < 1, still cancels. Its integral by Gauss and Legendre's rule, with
nodes c_i on [−½, ½] and weights g_i, does not:

    P = t φ(m) Σ_i e_i,   e_i = g_i exp(−m t c_i − ½ t² c_i²)                              (DZ.5)

Adjoint. The derivative of the logarithm of an integral is the integrand's logarithmic derivative,
z/σ for the mean and ½ (z² − 1) for the log variance, averaged over the bin, E (a mirrored bin's E z
has the other sign). Both are exact, and where a bin is far away they grow like m and m², as a
Gaussian's own do: no probability is ever cut off.

    E z = φ(l) (1 − q) / P,   E z² − 1 = φ(l) (l − u q) / P,   or sums over the e_i          (DZ.6)
    dmean = −dnll E z / σ,   dlogvar = −½ dnll (E z² − 1)                                   (DZ.7)

A density p of dequantised data, x + w (uniform − ½), gives a level the integral of p over its bin,
which is at least w times p's geometric mean there. So a mean of −log p bounds the level's −log P:

    bits per dimension = nats / (D log 2),   −log₂ w more for each dimension of a density   (DZ.8)

The first noise of a diffusion, of deviation s, smears the levels. As a decoder, with the exact mean
and the best variance v, this Gaussian pays the entropy H(x_0 | x_1) that is then left and, up to
s = w, at most 0.03 bits more. At s = w/10 both are 0: noise that fine hides nothing, so its steps
are lost, and each is one more in which a network can err. With T = 100 levels even in log SNR the
exact model of 17 levels pays 0.19 bits more than they hold at s = ½ w, and 0.39 at w/10. (All by
quadrature: tests/objectives/test_discretized.py, test_variational.py.) Matched to levels is

    s = ½ w,   v = (0.41 w)², the best there: 0.006 bits more than H(x_0 | x_1)             (DZ.9)
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refgen.ops.home import here
from refgen.processes.parametrization import column
from refgen.typing import Array

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
NODES, NODE_WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(8))
STEP, TERMS = math.sqrt(0.5), 13  # h of (DZ.4); the terms left out are below 1e-17
NEAR = 2 * math.pi / STEP
SLACK = 1e-3  # how far from a level a value may be, in widths: float32 rounds by less


@dataclass(frozen=True)
class Bins:
    """The levels that data can take: `count` of them from low to high, both among them.

    Raises ValueError for fewer than two levels, or none between low and high.

    >>> Bins(256).width * 127.5
    1.0
    """

    count: int
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 2 or not self.low < self.high:
            raise ValueError(
                f"bins are of 2 or more levels from low to high, not {self.count} from {self.low} "
                f"to {self.high}"
            )

    @property
    def width(self) -> float:
        """From one level to the next: w."""
        return (self.high - self.low) / (self.count - 1)

    @property
    def levels(self) -> Array:
        """All the levels, (count,) float64."""
        return np.linspace(self.low, self.high, self.count)

    def refuse(self, x: Array) -> None:
        """Raise ValueError for data that are no levels; data on a device are not looked at."""
        if not here(x) or not x.size:
            return
        place = (np.real(x).astype(np.float64) - self.low) / self.width
        level = np.clip(np.round(place), 0, self.count - 1)
        worst = np.unravel_index(np.argmax(np.abs(place - level)), place.shape)
        if not abs(place[worst] - level[worst]) < SLACK:
            raise ValueError(
                f"the value {float(np.real(x)[worst]):.6g} is none of {self.count} levels from "
                f"{self.low:g} to {self.high:g}: bins are for images as they were scaled when "
                "loaded, not for latents or dequantised data"
            )


class Matched(NamedTuple):
    """A first noise that fits the levels of data."""

    beta: float  # β_1, for a schedule's `first`
    var: float  # v_1, for `first_var`


def matched(bins: Bins) -> Matched:
    """Return the first β and the decoder's variance that fit the width of a level.

    >>> round(matched(Bins(17)).beta, 6)  # digits: levels 1/8 apart
    0.003906
    """
    return Matched((0.5 * bins.width) ** 2, (0.41 * bins.width) ** 2)  # (DZ.9)


class Bin(NamedTuple):
    """What is known of a standard normal in a bin."""

    log_p: Array
    mean: Array  # E z
    excess: Array  # E z² − 1


class DiscretizedCache(NamedTuple):
    """What backward needs."""

    mean: Array  # (N, *S)  E z of each bin
    excess: Array  # (N, *S)  E z² − 1
    rstd: Array  # (N, *S)  1/σ


def discretized_nll_forward(
    x: Array, mean: Array, logvar: Array, *, bins: Bins
) -> tuple[Array, DiscretizedCache]:
    """Return −log P(x) of each example's levels, in nats, under N(mean, exp(logvar)).

    logvar may broadcast to x. What x holds is taken for a level; `bins.refuse` looks at it.

    >>> x, bins = np.array([[-1.0], [0.0], [1.0]]), Bins(3)
    >>> nll, _ = discretized_nll_forward(x, np.zeros((3, 1)), np.zeros((3, 1)), bins=bins)
    >>> float(np.sum(np.exp(-nll)).round(12))
    1.0
    """
    rstd = np.exp(-0.5 * logvar)
    log_p, mean_z, excess = _bin(x, mean, rstd, bins)
    nll = -np.sum(log_p, axis=tuple(range(1, log_p.ndim)))  # (DZ.2)
    return nll, DiscretizedCache(mean_z, excess, rstd)


def discretized_nll_backward(dnll: Array, cache: DiscretizedCache) -> tuple[Array, Array]:
    """Return (dmean, dlogvar), both (N, *S)."""
    mean_z, excess, rstd = cache
    dnll = column(dnll, mean_z)
    return -dnll * mean_z * rstd, -0.5 * dnll * excess  # (DZ.7)


def bits_per_dimension(nats: Array, dimensions: int, *, width: float = 1.0) -> Array:
    """Return −log p in bits for each dimension; width is that of a level where p is a density.

    The data are width · level + anything, so a density of levels is width times one of the data;
    probabilities need no width.

    >>> nats = np.array([2 * np.log(16.0 * 0.125)])  # uniform on 16 levels of width 1/8, twice
    >>> bits_per_dimension(nats, 2, width=0.125)
    array([4.])
    """
    bits: Array = nats / (dimensions * math.log(2)) - math.log2(width)  # (DZ.8)
    return bits


def _bin(x: Array, mean: Array, rstd: Array, bins: Bins) -> Bin:
    """Return what is known of every value's bin."""
    z, t = (x - mean) * rstd, bins.width * rstd  # (DZ.1)
    low = x < bins.low + 0.5 * bins.width
    tail = low | (x > bins.high - 0.5 * bins.width)
    left = np.where(tail, low, np.real(z) < 0)
    z = np.where(left, -z, z)  # mirrored: an open end is on the right
    short = ~tail & (np.real(t) * np.maximum(1.0, np.real(z)) < 1)
    near = _short(np.where(short, z, 0.0), np.where(short, t, 0.5))
    far = _long(np.where(short, 0.0, z), np.where(short, 2.0, t), tail)
    log_p, mean_z, excess = (np.where(short, a, b) for a, b in zip(near, far, strict=True))
    return Bin(log_p, np.where(left, -mean_z, mean_z), excess)


def _short(m: Array, t: Array) -> Bin:
    total, first, second = 0 * t, 0 * t, 0 * t
    for node, weight in zip(NODES.tolist(), NODE_WEIGHTS.tolist(), strict=True):
        e = weight * np.exp(-m * t * node - 0.5 * (t * node) ** 2)
        total, first, second = total + e, first + e * node, second + e * node**2
    first, second = t * first / total, t * t * second / total
    log_p = np.log(t * total) - 0.5 * m * m - HALF_LOG_2PI  # (DZ.5)
    return Bin(log_p, m + first, m * m + 2 * m * first + second - 1)


def _long(m: Array, t: Array, tail: Array) -> Bin:
    l, u = m - 0.5 * t, np.where(tail, 0.0, m + 0.5 * t)
    q = np.where(tail, 0.0, np.exp(np.where(tail, 0.0, -m * t)))
    some = np.where(tail, 1.0, -np.expm1(np.where(tail, 0.0, -m * t)))  # 1 − q
    right = np.real(l) >= 0
    of_l, of_u = tail_ratio(np.where(right, l, -l)), q * tail_ratio(u)
    log_density = -0.5 * l * l - HALF_LOG_2PI  # of the edge
    scaled = np.where(right, of_l - of_u, 1.0)
    missing = np.exp(np.where(right, -1.0, log_density)) * np.where(right, 0.0, of_l + of_u)
    log_p = np.where(right, log_density + np.log(scaled), np.log1p(-missing))  # (DZ.3)
    edge = np.where(right, 1 / scaled, np.exp(log_density) / (1 - missing))  # φ(l) / P
    return Bin(log_p, edge * some, edge * (l - u * q))  # (DZ.6)


def tail_ratio(e: Array) -> Array:
    """Return Φ(−e) / φ(e) for e ≥ 0, to rounding: what is above e, by the density at e.

    >>> float(tail_ratio(np.array(0.0)) / np.sqrt(np.pi / 2))
    1.0
    """
    total = 0 * e
    for n in range(TERMS):
        node = ((n + 0.5) * STEP) ** 2
        total = total + math.exp(-0.5 * node) / (node + e * e)
    close = np.real(e) < NEAR
    inside = np.where(close, e, 0.0)
    poles = math.sqrt(2 * math.pi) * np.exp(0.5 * inside * inside)
    poles = np.where(close, poles / (1 + np.exp(2 * math.pi / STEP * inside)), 0.0)
    ratio: Array = math.sqrt(2 / math.pi) * STEP * e * total + poles  # (DZ.4)
    return ratio
