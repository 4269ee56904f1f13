"""Twice as large, then convolved, without the large image. Mirrors the page of its name.

For 3 x 3 filters with padding 1, unless `exact` is asked for, Winograd's tiles read each pixel of
x where its copies would lie, and sum the four gradients of a pixel before they write it; see
winograd.py. Other filters go to the parts.
"""

from refgen.ops import upsample_conv as page
from refgen.ops.conv import ConvCache, Geometry, Pair
from refgen.ops.resample import (
    FactorCache,
    nearest_upsample_backward,
    nearest_upsample_forward,
)
from refgen.ops.upsample_conv import FACTOR, UpsampleConvCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import single
from refgen_kernels.numba_cpu.conv import (
    by_winograd,
    conv2d_backward,
    conv2d_forward,
    correlate,
    filter_gradient,
    spread,
)


def upsample_conv2d_forward(
    x: Array, w: Array, b: Array, *, padding: Pair = 0
) -> tuple[Array, UpsampleConvCache]:
    """CPU twin of refgen.ops.upsample_conv2d_forward; what no kernel is for goes to the parts."""
    fits = x.ndim == 4 and w.ndim == 4 and x.shape[-1] == w.shape[2] and b.shape == w.shape[3:]
    if not (fits and single(x, w, b)):
        return page.upsample_conv2d_forward(x, w, b, padding=padding)
    p = (padding, padding) if isinstance(padding, int) else padding
    large = (FACTOR * x.shape[1], FACTOR * x.shape[2])
    geometry = Geometry((w.shape[0], w.shape[1]), (1, 1), p, large, 1)
    if not (x.size and w.size and by_winograd(geometry)):
        enlarged, _ = nearest_upsample_forward(x, factor=FACTOR)
        y, conv = conv2d_forward(enlarged, w, b, padding=padding)
        return y, UpsampleConvCache(conv._replace(x=x))
    y = correlate(x, w, b, geometry, up=FACTOR)  # (UC.1)
    return y, UpsampleConvCache(ConvCache(x, w, geometry))


def upsample_conv2d_backward(dy: Array, cache: UpsampleConvCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.upsample_conv2d_backward; what no kernel is for goes to the parts."""
    x, w, geometry = cache.conv
    fits = single(dy, x, w) and dy.shape == (len(x), *geometry.image, w.shape[3])
    if not (fits and x.size and w.size and by_winograd(geometry)):
        enlarged, _ = nearest_upsample_forward(x, factor=FACTOR)
        dlarge, dw, db = conv2d_backward(dy, cache.conv._replace(x=enlarged))
        return nearest_upsample_backward(dlarge, FactorCache(FACTOR)), dw, db
    dw, db = filter_gradient(x, dy, geometry, up=FACTOR)
    return spread(dy, w, geometry, pooled=FACTOR), dw, db
