r"""Pictures made smaller and larger: means of blocks, and the bicubic enlargement of a textbook.

Shapes     N pictures, H W their size, C channels, f factor.   x : (N, H, W, C)
           reduced : (N, H/f, W/f, C)    enlarged : (N, f H, f W, C)
           matrix : (f L, L), one axis
Sources    keys1981-bicubic  eq. 15 (a = −½)

A smaller picture's pixel is the mean of a block of f × f. To go back, pixel i of L stands for the
place i + ½ on an axis, so fine pixel I looks at u = (I + ½)/f − ½ among the coarse ones, and takes

    y_I = Σ_i k(u − i) x_i,   i the four nearest, beyond the rim the pixel at the rim         (RZ.1)
    k(s) = (a + 2)|s|³ − (a + 3)|s|² + 1          |s| ≤ 1
         = a|s|³ − 5a|s|² + 8a|s| − 4a        1 < |s| ≤ 2,   0 beyond,   a = −½            (RZ.2)

with k in both axes. At a = −½ it is right for polynomials of degree 2, away from the rim, and
errs by the cube of the pixels' distance; and Σ_i k(u − i) = 1, so a plain grey stays so. It can
leave the range of the data at an edge. Bicubic is what a picture's enlargement is when nothing is
known of pictures: the row that super-resolution is judged beside.
"""

from functools import cache

import numpy as np

from refgen.ops.home import beside
from refgen.ops.resample import average_downsample_forward
from refgen.typing import Array

A = -0.5


def reduce(x: Array, factor: int) -> Array:
    """Return the means of blocks. Raises ValueError unless factor divides H and W."""
    return average_downsample_forward(x, factor=factor)[0]


def bicubic(x: Array, factor: int) -> Array:
    """Return pictures enlarged, in x's own type.

    >>> ramp = np.arange(6.0).reshape(1, 1, 6, 1) * np.ones((1, 6, 1, 1))
    >>> bicubic(ramp, 2)[0, 5, 4:8, 0]  # a ramp stays a ramp, at places between
    array([1.75, 2.25, 2.75, 3.25])
    """
    if factor < 1 or x.ndim != 4:
        raise ValueError(f"pictures (N, H, W, C) are enlarged 1 or more times, not {x.shape}")
    rows, columns = (
        beside(_matrix(size, factor).astype(x.dtype), x) for size in (x.shape[1], x.shape[2])
    )
    tall = np.einsum("ih,nhwc->niwc", rows, x)
    large: Array = np.einsum("jw,niwc->nijc", columns, tall)
    return large


def kernel(s: Array) -> Array:
    """Return k(s)."""
    r = np.abs(s)
    near = ((A + 2) * r - (A + 3)) * r * r + 1
    far = ((A * r - 5 * A) * r + 8 * A) * r - 4 * A
    return np.where(r <= 1, near, np.where(r <= 2, far, 0.0))  # (RZ.2)


@cache
def _matrix(size: int, factor: int) -> Array:
    """Return what a fine axis takes from a coarse one, (factor size, size), rows summing to 1."""
    u = (np.arange(factor * size) + 0.5) / factor - 0.5
    weights = np.zeros((factor * size, size))
    for step in range(-1, 3):
        at = np.floor(u).astype(int) + step
        place = np.clip(at, 0, size - 1)
        np.add.at(weights, (np.arange(factor * size), place), kernel(u - at))  # (RZ.1)
    weights.setflags(write=False)
    return weights
