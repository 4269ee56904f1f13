"""Convolutions. Mirrors the page of its name: to rounding, or by Winograd where that is allowed.

    3 x 3, stride 1, padding 1     winograd.py: 36 products for 144, errors about 5e-5 of a result
    1 x 1, stride 1, no padding    a dense layer on pixels
    any other in one group         direct.py, where strides and paddings are equal

`with exact():`, or REFGEN_EXACT=1, sends the first kind to direct.py too. Channels that are no
multiple of 16 are filled up with zeros, and such results are views of the wider array, which the
next kernel copies: multiples of 16 are faster. Groups and unequal strides go to the page.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import numba
import numpy as np

from refgen.ops import conv as page
from refgen.ops.conv import ConvCache, Geometry, Pair
from refgen.typing import Array
from refgen_kernels.numba_cpu import direct, winograd
from refgen_kernels.numba_cpu.arrays import empty, flat, single
from refgen_kernels.numba_cpu.dense import rows_times, rows_times_turned, rows_turned_times
from refgen_kernels.numba_cpu.matrices import (
    padded,
    panels,
    row_sums,
    turned,
    turned_panels,
)
from refgen_kernels.numba_cpu.tile import WIDE

TILES = 16  # of Winograd, transformed together: they and what comes next fit the second cache
GROUPS = 4  # parts of a batch whose filter gradients are summed apart, then together
SHORT = 1 << 16  # multiplications below which the page is done sooner
_exact = ContextVar("exact", default=os.environ.get("REFGEN_EXACT", "0") not in ("", "0"))


@contextmanager
def exact() -> Iterator[None]:
    """Compute convolutions as they are defined, for tests and differences."""
    token = _exact.set(True)
    try:
        yield
    finally:
        _exact.reset(token)


def conv2d_forward(
    x: Array, w: Array, b: Array, *, stride: Pair = 1, padding: Pair = 0, groups: int = 1
) -> tuple[Array, ConvCache]:
    """CPU twin of refgen.ops.conv2d_forward; what no kernel is for goes to that page."""
    s, p = page._pair(stride), page._pair(padding)
    fits = x.ndim == 4 and w.ndim == 4 and x.shape[-1] == w.shape[2] and b.shape == w.shape[3:]
    if not (fits and single(x, w, b) and _even(s, p, groups)):
        return page.conv2d_forward(x, w, b, stride=stride, padding=padding, groups=groups)
    image = (x.shape[1], x.shape[2])
    geometry = Geometry((w.shape[0], w.shape[1]), s, p, image, groups)
    if not _worth(x, w, geometry):
        return page.conv2d_forward(x, w, b, stride=stride, padding=padding, groups=groups)
    return correlate(x, w, b, geometry), ConvCache(x, w, geometry)


def conv2d_backward(dy: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.conv2d_backward; what no kernel is for goes to that page."""
    x, w, geometry = cache
    fits = single(dy, x, w) and _even(*geometry[1:3], geometry.groups) and _worth(x, w, geometry)
    if not (fits and dy.shape == (len(x), *_windows(geometry), w.shape[3])):
        return page.conv2d_backward(dy, cache)
    outputs, wide = w.shape[3], padded(dy)  # once, for both that read it
    dw, db = filter_gradient(x, wide, geometry)
    return spread(wide, padded(w, 3), geometry), dw[..., :outputs], db[:outputs]


def conv_transpose2d_forward(
    x: Array,
    w: Array,
    b: Array,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
) -> tuple[Array, ConvCache]:
    """CPU twin of refgen.ops.conv_transpose2d_forward; what no kernel is for goes to that page."""
    nothing = np.empty((0, *x.shape[1:]), x.dtype)  # the page forms and checks the geometry
    call = partial(
        page.conv_transpose2d_forward,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
    )
    geometry = call(nothing, w, b)[1].geometry
    fits = single(x, w, b) and b.shape == w.shape[2:3] and _even(*geometry[1:3], groups)
    if not (fits and x.size * w[..., 0].size >= SHORT):
        return call(x, w, b)
    return spread(x, w, geometry, b), ConvCache(x, w, geometry)


def conv_transpose2d_backward(dy: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.conv_transpose2d_backward; what no kernel is for goes to that page."""
    x, w, geometry = cache
    fits = single(dy, x, w) and dy.shape == (len(x), *geometry.image, w.shape[2])
    even = _even(*geometry[1:3], geometry.groups)
    if not (fits and even and x.size * w[..., 0].size >= SHORT):
        return page.conv_transpose2d_backward(dy, cache)
    dx = correlate(dy, w, np.zeros(w.shape[3], np.float32), geometry)
    dw, _ = filter_gradient(dy, x, geometry)
    db = row_sums(flat(padded(dy)), dy[..., 0].size, -(-dy.shape[3] // 16) * 16)
    return dx, dw, db[: dy.shape[3]]


def correlate(x: Array, w: Array, b: Array, geometry: Geometry, up: int = 1) -> Array:
    """Return the convolution of x, enlarged `up` times first."""
    n, outputs = len(x), w.shape[3]
    if _pointwise(geometry):
        y = rows_times(x.reshape(-1, x.shape[3]), w[0, 0], b)
        return y.reshape(*x.shape[:3], outputs)
    image, weights, bias = padded(x), padded(padded(w, 2), 3), padded(b)
    inputs, wide = weights.shape[2:]
    if by_winograd(geometry):
        u = _filter_points(flat(weights), inputs, wide, turned=False)
        y = _tiles(image, u, bias, (n, *geometry.image, inputs, wide), up=up)
    else:
        sizes, windows, scratch = _direct(n, geometry, inputs, wide)
        p = panels(flat(weights), 1, weights.size // wide, wide)
        y = empty((n, *sizes[4:6], wide))
        work = _work(sizes, windows)
        direct.correlate(work, flat(image), p, bias, flat(y), scratch, sizes, windows)
    return y[..., :outputs]


def spread(
    dy: Array, w: Array, geometry: Geometry, b: Array | None = None, pooled: int = 1
) -> Array:
    """Return the adjoint of `correlate` in x, plus b."""
    n, channels = len(dy), w.shape[2]
    b = np.zeros(channels, np.float32) if b is None else b
    if _pointwise(geometry):
        dx = rows_times_turned(dy.reshape(-1, dy.shape[3]), w[0, 0], b)
        return dx.reshape(*dy.shape[:3], channels)
    image, weights, bias = padded(dy), padded(padded(w, 2), 3), padded(b)
    inputs, outputs = weights.shape[2:]
    taps = weights.shape[0] * weights.shape[1]
    if by_winograd(geometry):
        exchanged = turned(flat(weights), taps, inputs, outputs)
        u = _filter_points(exchanged, outputs, inputs, turned=True)
        dx = _tiles(image, u, bias, (n, *geometry.image, outputs, inputs), pooled=pooled)
    else:
        sizes, windows, scratch = _direct(n, geometry, inputs, outputs)
        p = turned_panels(flat(weights), taps, inputs, outputs)
        dx = empty((n, *geometry.image, inputs))
        work = _work(sizes, windows)
        direct.spread(work, flat(image), p, bias, flat(dx), scratch, sizes, windows)
    return dx[..., :channels]


def filter_gradient(x: Array, dy: Array, geometry: Geometry, up: int = 1) -> tuple[Array, Array]:
    """Return (dw, Σ dy) of `correlate`."""
    n, channels, outputs = len(x), x.shape[3], dy.shape[3]
    if _pointwise(geometry):
        dw, db = rows_turned_times(x.reshape(-1, channels), dy.reshape(-1, outputs))
        return dw[None, None], db
    image, images_dy = padded(x), padded(dy)
    inputs, wide = image.shape[3], images_dy.shape[3]
    if by_winograd(geometry):
        dw, db = _tile_gradient(image, images_dy, (n, *geometry.image, inputs, wide), up)
    else:
        sizes, windows, scratch = _direct(n, geometry, inputs, wide)
        shares = empty(
            (min(GROUPS, max(n, 1)), geometry.kernel[0] * geometry.kernel[1] * inputs * wide)
        )
        work = _work(sizes, windows)
        direct.collect(work, flat(image), flat(images_dy), shares, scratch, sizes, windows)
        dw, db = np.sum(shares, axis=0), row_sums(flat(images_dy), dy[..., 0].size, wide)
    return dw.reshape(*geometry.kernel, inputs, wide)[:, :, :channels, :outputs], db[:outputs]


def by_winograd(geometry: Geometry) -> bool:
    """Tell whether Winograd's tiles fit, and are allowed."""
    kernel, stride, padding, _, _ = geometry
    fits = (kernel, stride, padding) == ((3, 3), (1, 1), (1, 1))
    return fits and not _exact.get()


def _filter_points(w: Array, inputs: int, outputs: int, *, turned: bool) -> Array:
    u = empty((winograd.POINTS * inputs * outputs,))
    winograd.transform_filter(u.size, w, u, inputs, outputs, turned)
    return u


def _tiles(
    x: Array, u: Array, bias: Array, sizes: tuple[int, ...], *, up: int = 1, pooled: int = 1
) -> Array:
    n, height, width, inputs, outputs = sizes
    at_once = _lines(width, TILES)
    tiles, points = at_once * (-(-width // 4)), winograd.POINTS
    floats = points * (inputs + (tiles * inputs + 16) + (tiles * WIDE + 16) + 16)
    y = empty((n, height // pooled, width // pooled, outputs))
    work = n * height * width * outputs
    scratch = _scratch(floats)
    winograd.correlate(work, flat(x), u, bias, flat(y), scratch, sizes, up, pooled, at_once)
    return y


def _tile_gradient(x: Array, dy: Array, sizes: tuple[int, ...], up: int) -> tuple[Array, Array]:
    n, height, width, inputs, outputs = sizes
    deep = max(TILES, max(inputs, outputs) // 4)  # more tiles, fewer visits to a large gradient
    at_once, points = _lines(width, deep), winograd.POINTS
    tiles = at_once * (-(-width // 4))
    floats = points * (max(inputs, outputs) + tiles * (inputs + outputs) + 32)
    du, db = empty((GROUPS, points * inputs * outputs)), empty((GROUPS, outputs))
    dw = empty((9 * inputs * outputs,))
    work, scratch = n * height * width * outputs, _scratch(floats)
    winograd.collect(work, flat(x), flat(dy), du, db, scratch, sizes, up, at_once)
    winograd.transform_gradient(du.size, du, dw, inputs, outputs)
    return dw, np.sum(db, axis=0)


def _lines(width: int, tiles: int) -> int:
    """Return how many lines make about that many tiles."""
    return max(1, tiles // -(-width // 4))


def _direct(
    n: int, geometry: Geometry, inputs: int, outputs: int
) -> tuple[tuple[int, ...], tuple[int, ...], Array]:
    """Return the sizes and windows that direct.py takes, and its scratch memory."""
    (u, v), (stride, _), (padding, _), (height, width), _ = geometry
    out_height, out_width = _windows(geometry)
    sizes = (n, height, width, inputs, out_height, out_width, outputs)
    floats = (height + 2 * padding) * (width + 2 * padding) * inputs
    return sizes, (u, v, stride, padding), _scratch(floats)


def _windows(geometry: Geometry) -> tuple[int, int]:
    """Return how many windows lie on the image, down and across."""
    kernel, stride, padding, image, _ = geometry
    down, across = (
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip(image, kernel, stride, padding, strict=True)
    )
    return down, across


def _scratch(floats: int) -> Array:
    return empty((numba.get_num_threads(), floats))


def _work(sizes: tuple[int, ...], windows: tuple[int, ...]) -> int:
    return sizes[0] * sizes[4] * sizes[5] * sizes[6] * windows[0] * windows[1]


def _even(stride: tuple[int, int], padding: tuple[int, int], groups: int) -> bool:
    return groups == 1 and stride[0] == stride[1] >= 1 and padding[0] == padding[1] >= 0


def _worth(x: Array, w: Array, geometry: Geometry) -> bool:
    """Tell whether the windows fit, and there is enough to do."""
    (height, width), padding = geometry.image, geometry.padding[0]
    fits = height + 2 * padding >= w.shape[0] and width + 2 * padding >= w.shape[1]
    products = x.size * math.prod(w.shape[:2]) * w.shape[3] // geometry.stride[0] ** 2
    return bool(fits and products >= SHORT)


def _pointwise(geometry: Geometry) -> bool:
    kernel, stride, padding, _, _ = geometry
    return (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0))
