"""Sums of branches, a vector for every pixel, channels in a row. Mirrors refgen/ops/join.py."""

import math

from refgen.ops import join as page
from refgen.ops.join import ConcatCache, ShiftCache
from refgen.typing import Array
from refgen_kernels.device.launcher import FOUR, Launcher
from refgen_kernels.device.machine import empty, suits

THREADS = 256  # of a block that sums, at most
IN_A_ROW = 32  # rows that a thread adds one after the other, at most


def add(cu: Launcher, x: Array, z: Array) -> Array:
    """Device twin of refgen.ops.add; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, z):
        return page.add(x, z)
    y = empty(x.shape)
    cu.each("add_up", y.size, x, z, y, y.size)
    return y


def shift_forward(cu: Launcher, x: Array, v: Array) -> tuple[Array, ShiftCache]:
    """Device twin of refgen.ops.shift_forward; arrays that are not float32 go to that page."""
    if not (x.ndim > 1 and suits(x.shape, x) and suits((x.shape[0], x.shape[-1]), v)):
        return page.shift_forward(x, v)
    y, each_sample = empty(x.shape), x.size // max(len(x), 1)
    cu.each("add_to_pixels", y.size, x, v, y, each_sample, x.shape[-1], y.size)
    return y, ShiftCache()


def shift_backward(cu: Launcher, dy: Array, cache: ShiftCache) -> tuple[Array, Array]:
    """Device twin of refgen.ops.shift_backward; arrays that are not float32 go to that page."""
    if not (dy.ndim > 2 and suits(dy.shape, dy)):
        return page.shift_backward(dy, cache)
    samples, *image, channels = dy.shape
    return dy, sum_rows(cu, dy, samples, math.prod(image), channels)  # (JO.4)


def sum_rows(cu: Launcher, x: Array, samples: int, rows: int, channels: int) -> Array:
    """Return the sum over rows: (samples, rows, channels) -> (samples, channels).

    A block sums so many rows that no thread adds more than IN_A_ROW; what blocks found is summed
    in the same way. Who adds what depends on rows and channels only, so a sample's sum does not
    depend on the others, and is the same on every device.
    """
    columns = channels if channels % FOUR else channels // FOUR
    tiles = -(-columns // THREADS)
    width = -(-columns // max(tiles, 1)) or 1
    while True:
        at_once = max(1, min(THREADS // width, rows))
        pieces = max(1, -(-rows // (at_once * IN_A_ROW)))
        sums, grid = empty((samples, pieces, channels)), samples * pieces * tiles
        cu.launch("sum_rows", (grid,), (width * at_once,), x, sums, rows, pieces, channels, width)
        if pieces == 1:
            return sums.reshape((samples, channels))
        x, rows = sums, pieces


def concat_forward(cu: Launcher, x: Array, z: Array) -> tuple[Array, ConcatCache]:
    """Device twin of refgen.ops.concat_forward; arrays that are not float32 go to that page."""
    if not (x.ndim > 0 and suits(x.shape, x) and suits((*x.shape[:-1], z.shape[-1]), z)):
        return page.concat_forward(x, z)
    c, e = x.shape[-1], z.shape[-1]
    y = empty((*x.shape[:-1], c + e))
    cu.each("lay_side_by_side", y.size, x, z, y, c, e, y.size)
    return y, ConcatCache(c)  # (JO.3)


def concat_backward(cu: Launcher, dy: Array, cache: ConcatCache) -> tuple[Array, Array]:
    """Device twin of refgen.ops.concat_backward; arrays that are not float32 go to that page.

    The parts are copied, not views as the page's: kernels want them whole.
    """
    c = cache.channels
    if not (suits(dy.shape, dy) and c <= dy.shape[-1]):
        return page.concat_backward(dy, cache)
    e = dy.shape[-1] - c
    dx, dz = empty((*dy.shape[:-1], c)), empty((*dy.shape[:-1], e))
    cu.each("cut_apart", dy.size, dy, dx, dz, c, e, dy.size)
    return dx, dz  # (JO.4)
