r"""Mixtures of uniform boxes: sharp edges, and still an exact density and score at every noise.

Shapes     N points, D coordinates, K boxes.   x : (N, D)    weights : (K,)
           low, high : (K, D)    u, v, t, and what they give : (N, K, D)
Sources    johnson1994-distributions  chapter 13.10 (the truncated normal)

A noised box is a product of intervals. In a coordinate with edges l < h, x is reached from
inside exactly when the noise lies in [v, u]; within it the noise is a truncated normal.

    u = (x − a l) / b,   v = (x − a h) / b,   t = u − v = a (h − l) / b               (BX.1)
    p(x) = (Φ(u) − Φ(v)) / (b t)                                                      (BX.2)
    E[noise | x] = (φ(v) − φ(u)) / (Φ(u) − Φ(v))                                      (BX.3)
    E[data | x] = l + (h − l) f,   f = (u − E[noise | x]) / t                         (BX.4)

Both differences cancel when the interval is short, and at a = 0 it is empty. Where
t max(1, |m|) < 1, with m the middle of [v, u], Gauss-Legendre quadrature takes over, along
m + t c: nodes c_i on [−½, ½] with weights q_i, good to rounding because φ(m + t c) / φ(m) is nearly
constant.

    e_i = q_i exp(−m t c_i − ½ t² c_i²),   (Φ(u) − Φ(v)) / t = φ(m) Σ_i e_i           (BX.5)
    E[noise | x] = m + t Σ_i e_i c_i / Σ_i e_i,   f = ½ − Σ_i e_i c_i / Σ_i e_i       (BX.6)

Elsewhere, an interval whose middle is left of 0 is mirrored, [v, u] ← [−u, −v], which turns the
noise's sign and makes 1 − f of f. Now Φ(u) − Φ(v) = Φ(−v) − Φ(−u) is a difference of tails, which
keep their digits, and since u² − v² = 2 m t, φ(u) = φ(v) e^(−m t).

    E[noise | x] = (φ(v) / Φ(−v)) (1 − e^(−m t)) / (1 − ρ),   ρ = Φ(−u) / Φ(−v)       (BX.7)

Far out both tails underflow but their ratios do not: Φ(−z) = ½ e^(−z²/2) erfcx(z/√2), with the
scaled complementary error function erfcx. Boxes are then averaged with r_k, the posterior of the
box.

    log p(x) = log Σ_k w_k Π_d p_kd(x),   r_k ∝ w_k Π_d p_kd(x)                       (BX.8)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, log_ndtr

from refgen.exact.world import Scale, World, check_points, check_weights, column, logsumexp
from refgen.noise import Noise
from refgen.typing import Array

LOG_2PI = float(np.log(2 * np.pi))
NODES, NODE_WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(12))


class Interval(NamedTuple):
    """The truncated normal on [v, u], each (N, K, D)."""

    log_density: Array  # log of the mean of φ over [v, u]
    noise: Array  # E[noise | x]
    fraction: Array  # f: where in the box the data is expected, 0 at low and 1 at high


@dataclass(frozen=True, eq=False)
class Boxes(World):
    """Σ_k weights[k] Uniform(low[k], high[k]): boxes that touch at most along their faces.

    Raises ValueError for weights that are not positive or do not sum to 1, and for shapes that
    differ or an empty box. That boxes do not overlap is needed by entropy only.

    >>> unit = Boxes(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    >>> float(unit.data_mean(np.array([[9.0]]), 0.0, 1.0)[0, 0])  # no signal: the middle
    0.5
    """

    weights: Array
    low: Array
    high: Array

    def __post_init__(self) -> None:
        check_weights(self.weights, len(self.low))
        if self.low.ndim != 2 or self.low.shape != self.high.shape or np.any(self.low >= self.high):
            raise ValueError(
                f"boxes have corners low < high of one shape (K, D), not {self.low.shape} "
                f"and {self.high.shape}"
            )

    @property
    def dim(self) -> int:
        """The number D of coordinates."""
        return int(self.low.shape[1])

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw (count, D)."""
        u = noise.at("box").uniform(count)
        k = np.minimum(np.searchsorted(np.cumsum(self.weights), u), len(self.weights) - 1)
        where = noise.at("within").uniform((count, self.dim))
        points: Array = self.low[k] + (self.high - self.low)[k] * where
        return points

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats; −inf outside the boxes where b is 0.

        Raises ValueError where a and b are both 0.
        """
        return logsumexp(self._log_joint(x, a, b)[0])

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D); 0 where b is 0, edges included."""
        clean = column(b) == 0
        expected = self.noise_mean(x, a, b)
        return np.where(clean, 0.0, -expected / np.where(clean, 1.0, column(b)))

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D)."""
        r, interval = self._posterior(x, a, b)
        inside = self.low + (self.high - self.low) * interval.fraction  # (BX.4)
        mean: Array = np.sum(r[:, :, None] * inside, axis=1)
        return mean

    def noise_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[noise | x], (N, D)."""
        r, interval = self._posterior(x, a, b)
        mean: Array = np.sum(r[:, :, None] * interval.noise, axis=1)
        return mean

    @cached_property
    def entropy(self) -> float:
        """The differential entropy, in nats, of boxes that do not overlap."""
        log_volume = np.sum(np.log(self.high - self.low), axis=1)
        return float(np.sum(self.weights * (log_volume - np.log(self.weights))))

    def _posterior(self, x: Array, a: Scale, b: Scale) -> tuple[Array, Interval]:
        log_joint, interval = self._log_joint(x, a, b)
        total = logsumexp(log_joint)
        outside = np.isneginf(np.real(total))  # b = 0 and in no box: spread evenly
        safe = np.where(outside[:, None], 0.0, log_joint)
        return np.exp(safe - logsumexp(safe)[:, None]), interval

    def _log_joint(self, x: Array, a: Scale, b: Scale) -> tuple[Array, Interval]:
        """Return log w_k Π_d p_kd(x) : (N, K), and what is known in each coordinate."""
        check_points(x, self.dim)
        a, b = (s[..., None] if s.ndim else s for s in (column(a), column(b)))
        x = x[:, None, :]  # (N, 1, D)
        clean = np.real(b) == 0
        if np.any(clean & (np.real(a) == 0)):
            raise ValueError("at a = b = 0 every point is at the origin: one of them must be > 0")
        b = np.where(clean, 1.0, b)
        u, v = (x - a * self.low) / b, (x - a * self.high) / b  # (BX.1)
        noised = _truncated_normal(u, v)
        width = np.where(clean, a, 1.0) * (self.high - self.low)
        position = np.where(clean, u, 0.0) / width
        within = (np.real(position) >= 0) & (np.real(position) < 1)
        with np.errstate(divide="ignore"):
            log_uniform = np.log(within / np.real(width))
        log_p = np.where(clean, log_uniform, noised.log_density - np.log(b))  # (BX.2)
        interval = Interval(
            log_p, np.where(clean, 0.0, noised.noise), np.where(clean, position, noised.fraction)
        )
        return np.log(self.weights) + np.sum(log_p, axis=2), interval  # (BX.8)


def _truncated_normal(u: Array, v: Array) -> Interval:
    """Return what is known of a standard normal in [v, u], u ≥ v."""
    middle, t = 0.5 * (u + v), u - v
    sign = np.where(np.real(middle) < 0, -1.0, 1.0)
    middle = sign * middle  # mirrored: now |v| ≤ u
    short = np.real(t) * np.maximum(1.0, np.real(middle)) < 1.0
    near = _short_interval(np.where(short, middle, 0.0), np.where(short, t, 0.0))
    far = _long_interval(np.where(short, 0.0, middle), np.where(short, 2.0, t))
    log_density, mean, fraction = (np.where(short, n, f) for n, f in zip(near, far, strict=True))
    return Interval(log_density, sign * mean, 0.5 + sign * (fraction - 0.5))


def _short_interval(middle: Array, t: Array) -> Interval:
    total, moment = np.zeros_like(t), np.zeros_like(t)
    for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
        e = weight * np.exp(-middle * t * node - 0.5 * (t * node) ** 2)
        total, moment = total + e, moment + e * node
    log_density = np.log(total) - 0.5 * (middle * middle + LOG_2PI)  # (BX.5)
    return Interval(log_density, middle + t * moment / total, 0.5 - moment / total)  # (BX.6)


def _long_interval(middle: Array, t: Array) -> Interval:
    u, v = middle + 0.5 * t, middle - 0.5 * t
    log_v, right = log_ndtr(-v), np.real(v) > 0
    scaled_v = erfcx(np.where(right, v, 0.0) / np.sqrt(2))
    ratio = erfcx(u / np.sqrt(2)) / scaled_v * np.exp(-middle * t)
    ratio = np.where(right, ratio, np.exp(log_ndtr(-u) - log_v))
    hazard = np.exp(-0.5 * (v * v + LOG_2PI) - log_v)
    hazard = np.where(right, np.sqrt(2 / np.pi) / scaled_v, hazard)
    mean = -hazard * np.expm1(-middle * t) / (1 - ratio)  # (BX.3), as (BX.7) has it
    log_density = log_v + np.log1p(-ratio) - np.log(t)
    return Interval(log_density, mean, (u - mean) / t)
