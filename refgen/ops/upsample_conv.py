r"""An image made twice as large, then convolved: the way up in a UNet, without the large image.

Shapes     N batch, H, W image, C channels in, O channels out, U, V filter, p padding.
           x, dx : (N, H, W, C)    w, dw : (U, V, C, O)    b, db : (O,)
           y, dy : (N, 2H + 2p − U + 1, 2W + 2p − V + 1, O)
Sources    odena2016-checkerboard  (repeat, then convolve)

    y = conv2d(nearest_upsample(x), w, b)                                          (UC.1)

Three quarters of the large image are copies. A kernel reads them from x as it goes, so that
nothing of four times the size of x is ever written.

Adjoint. The parts backwards: each pixel of x gets the sum over its four copies (RS.5). What
backward needs of the large image is made again from x.
"""

from typing import NamedTuple

from refgen.ops.conv import ConvCache, Pair, conv2d_backward, conv2d_forward
from refgen.ops.resample import FactorCache, nearest_upsample_backward, nearest_upsample_forward
from refgen.typing import Array

FACTOR = 2


class UpsampleConvCache(NamedTuple):
    """What backward needs: the cache of the convolution, with x in its small form."""

    conv: ConvCache


def upsample_conv2d_forward(
    x: Array, w: Array, b: Array, *, padding: Pair = 0
) -> tuple[Array, UpsampleConvCache]:
    """Return (y, cache). Raises ValueError for sizes that do not fit, naming the axis.

    >>> import numpy as np
    >>> x, w = np.array([[1.0, 2.0]]).reshape(1, 1, 2, 1), np.ones((1, 1, 1, 1))
    >>> upsample_conv2d_forward(x, w, np.zeros(1))[0][0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    large, _ = nearest_upsample_forward(x, factor=FACTOR)
    y, conv = conv2d_forward(large, w, b, padding=padding)  # (UC.1)
    return y, UpsampleConvCache(conv._replace(x=x))


def upsample_conv2d_backward(dy: Array, cache: UpsampleConvCache) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db)."""
    large, _ = nearest_upsample_forward(cache.conv.x, factor=FACTOR)
    dlarge, dw, db = conv2d_backward(dy, cache.conv._replace(x=large))
    return nearest_upsample_backward(dlarge, FactorCache(FACTOR)), dw, db
