"""The affine map as products of tiles. Mirrors the page of its name, to rounding.

Where sizes are no multiples of 16, zeros are appended; such results are views of wider arrays.
Products too thin for a tile, or done before the threads would have started, go to the page.
"""

import numpy as np

from refgen.ops import dense as page
from refgen.ops.dense import DenseCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import flat, single
from refgen_kernels.numba_cpu.matrices import (
    padded,
    panels,
    product,
    product_turned,
    row_sums,
    turned_panels,
)

THIN = 8  # inputs, outputs or rows below which a tile would hold mostly zeros
SHORT = 1 << 19  # multiplications below which NumPy is done sooner


def dense_forward(x: Array, w: Array, b: Array) -> tuple[Array, DenseCache]:
    """CPU twin of refgen.ops.dense_forward; arrays that are not float32 go to that page."""
    if not (_suits(x, w) and single(b) and b.shape == w.shape[1:]):
        return page.dense_forward(x, w, b)
    y = rows_times(x.reshape(-1, w.shape[0]), w, b)  # (D.1)
    return y.reshape(*x.shape[:-1], w.shape[1]), DenseCache(x, w)


def dense_backward(dy: Array, cache: DenseCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.dense_backward; arrays that are not float32 go to that page."""
    x, w = cache
    if not (_suits(x, w) and single(dy) and dy.shape == (*x.shape[:-1], w.shape[1])):
        return page.dense_backward(dy, cache)
    rows, drows = x.reshape(-1, w.shape[0]), dy.reshape(-1, w.shape[1])
    dx = rows_times_turned(drows, w, np.zeros(len(w), np.float32))  # (D.2)
    dw, db = rows_turned_times(rows, drows)
    return dx.reshape(x.shape), dw, db


def rows_times(x: Array, w: Array, b: Array) -> Array:
    """Return x w + b."""
    n, outputs = x.shape[0], w.shape[1]
    wide, weights = padded(x), padded(padded(w, 0), 1)
    p = panels(flat(weights), 1, *weights.shape)
    y = product(flat(wide), p, flat(padded(b)), n, *weights.shape)
    return y.reshape(n, -1)[:, :outputs]


def rows_times_turned(dy: Array, w: Array, b: Array) -> Array:
    """Return dy wᵀ + b."""
    n, inputs = dy.shape[0], w.shape[0]
    wide, weights = padded(dy), padded(padded(w, 0), 1)
    columns, rows = weights.shape
    p = turned_panels(flat(weights), 1, columns, rows)
    dx = product(flat(wide), p, flat(padded(b)), n, rows, columns)
    return dx.reshape(n, -1)[:, :inputs]


def rows_turned_times(x: Array, dy: Array) -> tuple[Array, Array]:
    """Return (xᵀ dy, Σ dy)."""
    inputs, outputs = x.shape[1], dy.shape[1]
    left, right = padded(x), padded(dy)
    sizes = len(x), left.shape[1], right.shape[1]
    dw = product_turned(flat(left), flat(right), *sizes)  # (D.3)
    db = row_sums(flat(right), len(x), right.shape[1])
    return dw.reshape(sizes[1:])[:inputs, :outputs], db[:outputs]


def _suits(x: Array, w: Array) -> bool:
    """Tell whether a tile is worth it."""
    fits = single(x, w) and x.ndim > 0 and w.ndim == 2 and x.shape[-1] == w.shape[0]
    thin = min(*w.shape, x.size // max(w.shape[0], 1)) < THIN if fits else True
    return not thin and x.size * w.shape[1] >= SHORT
