r"""Learned tables: a row for every name, and a row for every place.

Shapes     N batch, *S axes of places, K names, C features.
           index : (*S) of integers    table : (K, C)    rows, drows : (*S, C)
           x, y, dx, dy : (N, *S, C)    one table of a place's axis of length L : (L, C)
Sources    vaswani2017-attention  section 3.4;  dosovitskiy2021-vit  appendix D.4 (a table for
           each axis);  ho2022-cfg  section 3.2 (the null row)

    rows[s] = table[index[s]]                                                    (LE.1)
    y[n, i, j] = x[n, i, j] + A[i] + B[j]                                        (LE.2)

A sequence has one axis, hence one table. With a table for each axis an image of H × W places
learns H + W rows, not H W, and a place is told by its row and its column.

Adjoint. Row i of A was added at every place of line i, in every example, so it gets the sum
of their gradients; likewise B. x is passed on.

    dA[i] = Σ_n Σ_j dy[n, i, j],   dB[j] = Σ_n Σ_i dy[n, i, j],   dx = dy          (LE.3)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen import ops
from refgen.noise import Noise
from refgen.typing import Array, Cache, Grads, Params

STD = 0.02  # of fresh rows: small beside features of size 1


@dataclass(frozen=True)
class Embedding:
    """Rows of a table, integers (*S) -> (*S, features).

    null adds one more row, for what has no name: an example whose label is not told. Its index
    is `count`.
    """

    count: int
    features: int
    null: bool = False

    def __post_init__(self) -> None:
        if self.count + self.null < 1 or self.features < 1:
            raise ValueError(f"an embedding needs a row and a feature at least, not {self}")

    @property
    def rows(self) -> int:
        """The number of rows, the null row among them."""
        return self.count + self.null

    def init(self, noise: Noise) -> Params:
        """Draw {"table": (rows, features)}."""
        return {"table": STD * noise.at("table").normal((self.rows, self.features))}

    def forward(self, params: Any, index: Array) -> tuple[Array, Cache]:
        """Return (rows, cache). Raises ValueError for an index outside the table."""
        return ops.embedding_lookup_forward(index, params["table"])  # (LE.1)

    def backward(self, drows: Array, cache: Cache) -> Grads:
        """Return grads; integers have no gradient."""
        return {"table": ops.embedding_lookup_backward(drows, cache)}

    def labels(self, labels: Array | None, count: int) -> Array:
        """Return the index of `count` examples: their labels, or the null row for all.

        Raises ValueError for labels where only the null row is, for none where there is no null
        row, and for another number of labels than of examples.
        """
        if labels is None:
            if not self.null:
                raise ValueError("labels are missing, and there is no null row to stand for them")
            return np.full(count, self.count)
        if not self.count:
            raise ValueError("labels were given to a network that has none: build it with classes")
        if labels.shape != (count,):
            raise ValueError(
                f"{count} examples need labels of shape ({count},), not {labels.shape}"
            )
        if labels.size and (labels.min() < 0 or labels.max() >= self.rows):
            said = f", or {self.count} for the null label" if self.null else ""
            raise ValueError(
                f"labels are 0 .. {self.count - 1}{said}, not {labels.min()} .. {labels.max()}"
            )
        return labels


@dataclass(frozen=True)
class Positions:
    """Learned positions added to x, (N, *shape, features) -> the same; a table for each axis."""

    shape: tuple[int, ...]
    features: int

    def __post_init__(self) -> None:
        if not self.shape or min(*self.shape, self.features) < 1:
            raise ValueError(f"positions need axes and features of at least 1, not {self}")

    def init(self, noise: Noise) -> Params:
        """Draw {"axis0": (shape[0], features), "axis1": ...}."""
        return {
            name: STD * noise.at(name).normal((length, self.features))
            for name, length in zip(self._names, self.shape, strict=True)
        }

    def forward(self, params: Any, x: Array) -> tuple[Array, None]:
        """Return (y, None). Raises ValueError for places that are not the layer's."""
        if x.shape[1:] != (*self.shape, self.features):
            places = ", ".join(map(str, (*self.shape, self.features)))
            raise ValueError(f"positions for (N, {places}) were given an array of shape {x.shape}")
        for axis, name in enumerate(self._names):
            others = [1] * (len(self.shape) - axis - 1)
            x = x + np.reshape(params[name], (self.shape[axis], *others, self.features))  # (LE.2)
        return x, None

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        axes = range(1, dy.ndim - 1)
        grads: Grads = {
            name: np.sum(dy, axis=(0, *(a for a in axes if a != axis)))  # (LE.3)
            for axis, name in zip(axes, self._names, strict=True)
        }
        return dy, grads

    @property
    def _names(self) -> list[str]:
        return [f"axis{i}" for i in range(len(self.shape))]
