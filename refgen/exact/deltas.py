r"""The data set itself as a world: what a perfectly trained denoiser would do with it.

Shapes     N points, K data points, D coordinates.   x : (N, D)    data : (K, D)
Sources    karras2022-edm  appendix B.3 (the denoiser of a finite data set)

Training on a finite set minimises the loss of a distribution that puts 1/K on each of its
points. Its optimum needs no training: a softmax over squared distances.

    r_k = softmax_k(−|x − a d_k|² / 2b²)                                              (DL.1)
    E[data | x] = Σ_k r_k d_k                                                         (DL.2)
    ∇ log p(x) = (a E[data | x] − x) / b²                                             (DL.3)
    log p(x) = log Σ_k exp(−|x − a d_k|² / 2b²) − log K − ½ D log 2πb²                (DL.4)

They are the densities N(x; a d_k, b² I), averaged. Deltas have none: log p and the score exist for
b > 0 only. As b → 0 the softmax picks the nearest data point, so a sampler driven by this world
ends on copies of its data.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refgen.exact.world import (
    Scale,
    World,
    check_points,
    column,
    logsumexp,
    squared_distances,
)
from refgen.noise import Noise
from refgen.typing import Array

CHUNK = 2**20  # logits at a time: memory stays at a few times 8 MB whatever N and K


@dataclass(frozen=True, eq=False)
class Deltas(World):
    """The uniform distribution on the rows of data : (K, D).

    Raises ValueError when data is not a table of at least one row.

    >>> pair = Deltas(np.array([[-1.0], [1.0]]))
    >>> float(pair.data_mean(np.array([[0.5]]), 1.0, 0.01)[0, 0])
    1.0
    """

    data: Array

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or not len(self.data):
            raise ValueError(f"the data are rows of shape (K, D), not {self.data.shape}")

    @property
    def dim(self) -> int:
        """The number D of coordinates."""
        return int(self.data.shape[1])

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw (count, D): data points, with replacement."""
        return self.data[noise.integers(len(self.data), count)]

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats. Raises ValueError where b is 0."""

        def log_p(logits: Array, b: Array) -> Array:
            constant = np.log(len(self.data)) + 0.5 * self.dim * np.log(2 * np.pi * b * b)
            total: Array = logsumexp(logits) - constant.reshape(-1)  # (DL.4)
            return total

        return self._in_chunks(log_p, x, a, b)

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D). Raises ValueError where b is 0."""
        score: Array = (column(a) * self.data_mean(x, a, b) - x) / column(b) ** 2  # (DL.3)
        return score

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D). Raises ValueError where b is 0."""

        def average(logits: Array, b: Array) -> Array:
            r = np.exp(logits - logsumexp(logits)[:, None])  # (DL.1)
            mean: Array = r @ self.data  # (DL.2)
            return mean

        return self._in_chunks(average, x, a, b)

    def _in_chunks(self, f: Callable[[Array, Array], Array], x: Array, a: Scale, b: Scale) -> Array:
        """Return f(logits (n, K), b (n, 1) or scalar) for every row of x, a few rows at a time."""
        check_points(x, self.dim)
        if not np.all(np.real(np.asarray(b)) > 0):
            raise ValueError("a data set of deltas has a density only when noised: use b > 0")
        levels: tuple[Array, ...] = (np.asarray(a), np.asarray(b))
        rows = max(1, CHUNK // len(self.data))
        parts = []
        for start in range(0, max(1, len(x)), rows):
            here = slice(start, start + rows)
            a_here, b_here = (s[here] if s.ndim else s for s in levels)
            square = squared_distances(x[here], self.data, a_here)
            noise_level = column(b_here)
            parts.append(f(-square / (2 * noise_level * noise_level), noise_level))
        return np.concatenate(parts)
