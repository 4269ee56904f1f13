"""Twice as large, then convolved, on the device. Mirrors refgen/ops/upsample_conv.py.

Pixel t of the large image is pixel a of x for t = 2 a + δ, δ = 0, 1. Along one axis, with U taps
and padding p,

    y[i] = Σ_u w[u] x[(i + u − p) / 2] = Σ_a x[a] Σ_δ w[2 a + δ − i + p]

so y is the transposed convolution (CV.5) of x, with stride 2 and padding q = U − 1 − p, by filters
of U + 1 taps, each a sum of two:

    y[i] = Σ_a x[a] m[i + q − 2 a],   m[k] = w[U − 1 − k] + w[U − k]                   (UK.1)

where w is 0 outside its U taps. On both axes a tap is the sum of four. The large image is never
read nor written, in no direction; and 3 x 3 filters take 16 products for each pixel of x instead
of 36. The gradient of m goes back to w by the same sum,

    dw[u] = dm[U − 1 − u] + dm[U − u]                                                  (UK.2)
"""

from refgen.ops import upsample_conv as page
from refgen.ops.conv import ConvCache, Geometry, Pair
from refgen.ops.upsample_conv import FACTOR, UpsampleConvCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import suits
from refgen_kernels.device.products import Sizes, add_rows, add_taps, collect, correlate, spread

__all__ = ["upsample_conv2d_backward", "upsample_conv2d_forward"]


def upsample_conv2d_forward(
    cu: Launcher, x: Array, w: Array, b: Array, *, padding: Pair = 0
) -> tuple[Array, UpsampleConvCache]:
    """Device twin of refgen.ops.upsample_conv2d_forward; what does not suit goes to that page."""
    p = (padding, padding) if isinstance(padding, int) else padding
    sizes = _sizes(x, w, p) if _suit(x, w) and suits(w.shape[3:], b) else None
    if sizes is None:
        return page.upsample_conv2d_forward(x, w, b, padding=padding)
    y = spread(cu, x, add_taps(cu, w, sizes.kernel), b, sizes)  # (UK.1)
    large = (FACTOR * x.shape[1], FACTOR * x.shape[2])
    geometry = Geometry((w.shape[0], w.shape[1]), (1, 1), p, large, 1)
    return y, UpsampleConvCache(ConvCache(x, w, geometry))


def upsample_conv2d_backward(
    cu: Launcher, dy: Array, cache: UpsampleConvCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.upsample_conv2d_backward; what does not suit goes to that page."""
    x, w, geometry = cache.conv
    sizes = _sizes(x, w, geometry.padding) if _suit(x, w) else None
    if sizes is None or not suits((len(x), *sizes.image, w.shape[3]), dy):
        return page.upsample_conv2d_backward(dy, cache)
    dx = correlate(cu, dy, add_taps(cu, w, sizes.kernel), None, sizes)
    dmerged, _ = collect(cu, dy, x, sizes)
    dw = add_taps(cu, dmerged, geometry.kernel)  # (UK.2)
    return dx, dw, add_rows(cu, dy, w.shape[3])


def _suit(x: Array, w: Array) -> bool:
    fits = x.ndim == 4 and w.ndim == 4 and x.shape[3] == w.shape[2]
    return fits and suits(x.shape, x) and suits(w.shape, w)


def _sizes(x: Array, w: Array, padding: tuple[int, int]) -> Sizes | None:
    """Return the transposed convolution; None for what does not fit or cannot be counted."""
    (n, height, width, c), (u, v, _, o), (pv, ph) = x.shape, w.shape, padding
    image = (FACTOR * height + 2 * pv - u + 1, FACTOR * width + 2 * ph - v + 1)
    if min(image) < 1 or min(pv, ph) < 0 or min(height, width, u, v) < 1:
        return None
    inner = (u - 1 - pv, v - 1 - ph)
    sizes = Sizes(n, image, o, (height, width), c, (u + 1, v + 1), (FACTOR, FACTOR), inner)
    return sizes if sizes.countable else None
