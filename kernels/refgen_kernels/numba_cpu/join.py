"""Sums of branches and channels in a row, on every core. Mirrors the page of its name, bit for bit.

Only the sum over pixels, which gives a vector its gradient, adds in another order than the page.
"""

from numba import prange

from refgen.ops import join as page
from refgen.ops.join import ConcatCache, ShiftCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, single, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.matrices import row_sums_of


def add(x: Array, z: Array) -> Array:
    """CPU twin of refgen.ops.add; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, z):
        return page.add(x, z)
    y = empty(x.shape)
    _add(x.size, flat(x), flat(z), flat(y))
    return y


def shift_forward(x: Array, v: Array) -> tuple[Array, ShiftCache]:
    """CPU twin of refgen.ops.shift_forward; arrays that are not float32 go to that page."""
    if not (x.ndim > 1 and single(x, v) and v.shape == (x.shape[0], x.shape[-1])):
        return page.shift_forward(x, v)
    y = empty(x.shape)
    _shift(x.size, flat(x), flat(v), flat(y), x.shape[0], x.shape[-1])
    return y, ShiftCache()


def shift_backward(dy: Array, cache: ShiftCache) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.shift_backward; arrays that are not float32 go to that page."""
    if not (single(dy) and dy.ndim > 1 and dy.size and dy.shape[-1] % 16 == 0):
        return page.shift_backward(dy, cache)
    n, channels = dy.shape[0], dy.shape[-1]
    return dy, row_sums_of(flat(dy), n, dy.size // (n * channels), channels)  # (JO.4)


def concat_forward(x: Array, z: Array) -> tuple[Array, ConcatCache]:
    """CPU twin of refgen.ops.concat_forward; arrays that are not float32 go to that page."""
    if not (single(x, z) and x.ndim > 0 and x.shape[:-1] == z.shape[:-1]):
        return page.concat_forward(x, z)
    c, e = x.shape[-1], z.shape[-1]
    y = empty((*x.shape[:-1], c + e))
    rows = y.size // max(c + e, 1)
    _copy_columns(x.size, flat(x), flat(y), rows, c, 0, c, c + e, 0)
    _copy_columns(z.size, flat(z), flat(y), rows, e, 0, e, c + e, c)
    return y, ConcatCache(c)  # (JO.3)


def concat_backward(dy: Array, cache: ConcatCache) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.concat_backward; arrays that are not float32 go to that page."""
    c, e = cache.channels, dy.shape[-1] - cache.channels
    if not (single(dy) and e >= 0):
        return page.concat_backward(dy, cache)
    dx, dz = empty((*dy.shape[:-1], c)), empty((*dy.shape[:-1], e))
    rows = dy.size // max(c + e, 1)
    _copy_columns(dx.size, flat(dy), flat(dx), rows, c, 0, c + e, c, 0)
    _copy_columns(dz.size, flat(dy), flat(dz), rows, e, c, c + e, e, 0)
    return dx, dz


@kernel
def _add(x, z, y):  # type: ignore[no-untyped-def]
    for i in prange(chunks(y.size)):
        lo, hi = chunk_of(y.size, i)
        for j in range(lo, hi - 15, 16):
            store(y, j, load(x, j) + load(z, j))  # (JO.1)
        for j in range(hi - (hi - lo) % 16, hi):
            y[j] = x[j] + z[j]


@kernel
def _shift(x, v, y, n, channels):  # type: ignore[no-untyped-def]
    pixels = y.size // max(n * channels, 1)
    rows = max(1, 1024 // max(channels, 1))
    for task in prange(n * ((pixels + rows - 1) // rows)):
        per_image = (pixels + rows - 1) // rows
        image, first = task // per_image, task % per_image * rows
        for pixel in range(first, min(pixels, first + rows)):
            at = (image * pixels + pixel) * channels
            for c in range(0, channels - 15, 16):
                store(y, at + c, load(x, at + c) + load(v, image * channels + c))  # (JO.2)
            for c in range(channels - channels % 16, channels):
                y[at + c] = x[at + c] + v[image * channels + c]


@kernel
def _copy_columns(x, y, rows, columns, start, x_row, y_row, to):  # type: ignore[no-untyped-def]
    """Copy `columns` of each row of x, from start on, to each row of y, from `to` on."""
    at_once = max(1, 1024 // max(columns, 1))
    for task in prange((rows + at_once - 1) // at_once):
        for row in range(task * at_once, min(rows, (task + 1) * at_once)):
            _copy(x, row * x_row + start, y, row * y_row + to, columns)


@inlined
def _copy(x, at, y, to, count):  # type: ignore[no-untyped-def]
    for j in range(0, count - 15, 16):
        store(y, to + j, load(x, at + j))
    j = count - count % 16
    if j < count:
        store_part(y, to + j, load_part(x, at + j, at + count), to + j, to + count)
