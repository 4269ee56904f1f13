"""Convolutions on the device. Mirrors refgen/ops/conv.py; more than one group goes to that page.

A transposed convolution is the adjoint of the convolution that has its filters: what is x to the
one is y to the other. So both have the same three products, with names exchanged.
"""

from functools import partial

from refgen.ops import conv as page
from refgen.ops.conv import ConvCache, Geometry, Pair
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import suits
from refgen_kernels.device.products import Sizes, add_rows, collect, correlate, spread

__all__ = [
    "conv2d_backward",
    "conv2d_forward",
    "conv_transpose2d_backward",
    "conv_transpose2d_forward",
]


def conv2d_forward(
    cu: Launcher,
    x: Array,
    w: Array,
    b: Array,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    groups: int = 1,
) -> tuple[Array, ConvCache]:
    """Device twin of refgen.ops.conv2d_forward; what no kernel is for goes to that page."""
    call = partial(page.conv2d_forward, stride=stride, padding=padding, groups=groups)
    if not (_suit(x, w) and x.shape[3] == w.shape[2] and suits(w.shape[3:], b)):
        return call(x, w, b)
    image = (x.shape[1], x.shape[2])
    geometry = Geometry(_kernel(w), page._pair(stride), page._pair(padding), image, groups)
    sizes = _sizes(len(x), w, geometry)
    if sizes is None:
        return call(x, w, b)
    return correlate(cu, x, w, b, sizes), ConvCache(x, w, geometry)  # (CV.1)


def conv2d_backward(cu: Launcher, dy: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.conv2d_backward; what no kernel is for goes to that page."""
    x, w, geometry = cache
    sizes = _sizes(len(x), w, geometry) if _suit(x, w) else None
    if sizes is None or not suits((len(x), *sizes.windows, w.shape[3]), dy):
        return page.conv2d_backward(dy, cache)
    dx = spread(cu, dy, w, None, sizes)  # (CV.4)
    return dx, *collect(cu, x, dy, sizes)  # (CV.3)


def conv_transpose2d_forward(
    cu: Launcher,
    x: Array,
    w: Array,
    b: Array,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
) -> tuple[Array, ConvCache]:
    """Device twin of refgen.ops.conv_transpose2d_forward; see conv2d_forward."""
    call = partial(
        page.conv_transpose2d_forward,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
    )
    if not (_suit(x, w) and x.shape[3] == w.shape[3] and suits(w.shape[2:3], b)):
        return call(x, w, b)
    s, p, extra = page._pair(stride), page._pair(padding), page._pair(output_padding)
    down, across = (
        (n - 1) * step + k - 2 * around + more
        for n, k, step, around, more in zip(x.shape[1:3], _kernel(w), s, p, extra, strict=True)
    )
    geometry = Geometry(_kernel(w), s, p, (down, across), groups)
    sizes = _sizes(len(x), w, geometry)
    if sizes is None or sizes.windows != x.shape[1:3] or min(extra) < 0:
        return call(x, w, b)
    return spread(cu, x, w, b, sizes), ConvCache(x, w, geometry)  # (CV.5)


def conv_transpose2d_backward(
    cu: Launcher, dy: Array, cache: ConvCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.conv_transpose2d_backward; see conv2d_backward."""
    x, w, geometry = cache
    sizes = _sizes(len(x), w, geometry) if _suit(x, w) else None
    if sizes is None or not suits((len(x), *geometry.image, w.shape[2]), dy):
        return page.conv_transpose2d_backward(dy, cache)
    dx = correlate(cu, dy, w, None, sizes)
    dw, _ = collect(cu, dy, x, sizes)
    return dx, dw, add_rows(cu, dy, w.shape[2])


def _kernel(w: Array) -> tuple[int, int]:
    return w.shape[0], w.shape[1]


def _suit(x: Array, w: Array) -> bool:
    return x.ndim == 4 and w.ndim == 4 and suits(x.shape, x) and suits(w.shape, w)


def _sizes(n: int, w: Array, geometry: Geometry) -> Sizes | None:
    """Return what kernels take; None for groups, and for what does not fit or cannot be counted."""
    kernel, stride, padding, image, groups = geometry
    if groups != 1 or min(stride) < 1 or min(padding) < 0 or min(*kernel, *image) < 1:
        return None
    down, across = (
        (size + 2 * p - k) // s + 1
        for size, k, s, p in zip(image, kernel, stride, padding, strict=True)
    )
    sizes = Sizes(n, image, w.shape[2], (down, across), w.shape[3], kernel, stride, padding)
    return sizes if min(down, across) > 0 and sizes.countable and max(stride) <= 64 else None
