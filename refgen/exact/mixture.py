r"""The mixture of isotropic Gaussians: responsibilities, score, denoiser and velocity, exactly.

Shapes     N points, D coordinates, K components.   x : (N, D)    responsibilities : (N, K)
           weights, var : (K,)    means : (K, D)
Sources    song2021-sde  (the noising);  dempster1977-em  (the responsibilities);
           trefethen2014-trapezoid  (the quadrature)

Noising a Gaussian gives a Gaussian, and noising a sum gives the sum, so the noised mixture is a
mixture with the same weights.

    s_k = a² v_k + b²                                                                 (MX.1)
    g_k = log w_k − |x − a m_k|² / 2s_k − ½ D log 2π s_k,   log p(x) = log Σ_k exp g_k (MX.2)
    r_k = exp(g_k − log p(x)),   the posterior of the component                       (MX.3)

Given its component a point is Gaussian; what remains is an average with the weights r.

    ∇ log p(x) = −Σ_k r_k (x − a m_k) / s_k                                           (MX.4)
    E[data | x] = Σ_k r_k (m_k + (a v_k / s_k) (x − a m_k))                           (MX.5)

Entropy. For D = 1 and 2 the trapezoid rule on a box ten standard deviations beyond every mean:
p log p is analytic and at the border below rounding with all its derivatives, so at six points
per smallest standard deviation the rule errs by about 1e-12. For larger D, the mean of −log p.

    H = −∫ p log p dx ≈ −h^D Σ_grid p log p                                           (MX.6)
    H ≈ −(1/n) Σ_i log p(x_i),   standard error √(Var log p / n)                      (MX.7)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from refgen.exact.world import (
    Scale,
    World,
    check_points,
    check_weights,
    column,
    logsumexp,
    squared_distances,
)
from refgen.noise import Noise
from refgen.typing import Array

LOG_2PI = float(np.log(2 * np.pi))
MARGIN, FINENESS, ROWS = 10.0, 6.0, 8192  # std beyond the means, points per std, points at a time


class Estimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Mixture(World):
    """Σ_k weights[k] N(means[k], var[k] I): weights and var (K,), means (K, D).

    Raises ValueError for weights that are not positive or do not sum to 1, and for shapes or
    variances that do not fit.

    >>> pair = Mixture(np.array([0.5, 0.5]), np.array([[-1.0], [1.0]]), np.array([0.1, 0.1]))
    >>> pair.responsibilities(np.array([[0.0]]))
    array([[0.5, 0.5]])
    """

    weights: Array
    means: Array
    var: Array

    def __post_init__(self) -> None:
        check_weights(self.weights, len(self.means))
        if self.means.ndim != 2 or self.var.shape != self.weights.shape or np.any(self.var <= 0):
            raise ValueError(
                "a mixture has means (K, D) and positive var (K,), not "
                f"{self.means.shape} and {self.var.shape} with least variance {np.min(self.var)}"
            )

    @property
    def dim(self) -> int:
        """The number D of coordinates."""
        return int(self.means.shape[1])

    def components(self, chosen: Array | list[int]) -> "Mixture":
        """Return the mixture of some components, their weights rescaled: the data given a class."""
        weights = self.weights[chosen]
        return Mixture(weights / np.sum(weights), self.means[chosen], self.var[chosen])

    def labels(self, count: int, noise: Noise) -> Array:
        """Return the component (count,) int64 of each point that sample draws from this place."""
        u = noise.at("component").uniform(count)
        index = np.searchsorted(np.cumsum(self.weights), u)
        return np.minimum(index, len(self.weights) - 1)  # the sum may end an ulp below 1

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw (count, D)."""
        k = self.labels(count, noise)
        draws = noise.at("within").normal((count, self.dim))
        points: Array = self.means[k] + np.sqrt(self.var[k])[:, None] * draws
        return points

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats."""
        return logsumexp(self._log_joint(x, a, b)[0])

    def responsibilities(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return p(component | x), (N, K): the exact classifier when components are classes."""
        return self._posterior(x, a, b)[0]

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D)."""
        r, s = self._posterior(x, a, b)
        pull = r / s  # (N, K)
        score: Array = column(a) * (pull @ self.means) - x * np.sum(pull, axis=1)[:, None]  # (MX.4)
        return score

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D)."""
        r, s = self._posterior(x, a, b)
        a, b = column(a), column(b)
        from_mean = (r * (b * b / s)) @ self.means
        from_x = np.sum(r * (a * self.var / s), axis=1)[:, None] * x
        mean: Array = from_mean + from_x  # (MX.5), with 1 − a² v / s = b² / s
        return mean

    @cached_property
    def entropy(self) -> float:
        """The differential entropy, in nats, by quadrature. Raises ValueError when D > 2."""
        if self.dim > 2:
            raise ValueError("quadrature serves D = 1 and 2: use entropy_estimate(count, noise)")
        std = np.sqrt(self.var)[:, None]
        step = float(np.min(std)) / FINENESS
        low = np.min(self.means - MARGIN * std, axis=0)
        high = np.max(self.means + MARGIN * std, axis=0)
        axes = [np.arange(lo, hi, step) for lo, hi in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dim)
        total = 0.0
        for start in range(0, len(grid), ROWS):
            log_p = self.log_density(grid[start : start + ROWS])
            total -= float(np.sum(np.exp(log_p) * log_p)) * step**self.dim  # (MX.6)
        return total

    def entropy_estimate(self, count: int, noise: Noise) -> Estimate:
        """Return the entropy in nats from count draws, with its standard error, for any D."""
        log_p = self.log_density(self.sample(count, noise))
        return Estimate(-float(np.mean(log_p)), float(np.std(log_p) / np.sqrt(count)))  # (MX.7)

    def _log_joint(self, x: Array, a: Scale, b: Scale) -> tuple[Array, Array]:
        """Return g : (N, K) and s : (K,) or (N, K)."""
        check_points(x, self.dim)
        square = squared_distances(x, self.means, a)
        a, b = column(a), column(b)
        s = a * a * self.var + b * b  # (MX.1)
        log_normal = -0.5 * (square / s + self.dim * (LOG_2PI + np.log(s)))
        return np.log(self.weights) + log_normal, s  # (MX.2)

    def _posterior(self, x: Array, a: Scale, b: Scale) -> tuple[Array, Array]:
        """Return r : (N, K) and s : (K,) or (N, K)."""
        log_joint, s = self._log_joint(x, a, b)
        return np.exp(log_joint - logsumexp(log_joint)[:, None]), s  # (MX.3)
