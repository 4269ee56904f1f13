r"""Where two arrays become one: sums of branches, a vector added to every pixel, channels in a row.

Shapes     N batch, *S image axes, C and E channels.   add:  x, z, y : (N, *S, C)
           shift:   x, y : (N, *S, C)    v : (N, C)
           concat:  x : (N, *S, C)    z : (N, *S, E)    y : (N, *S, C + E)
Sources    he2016-resnet  (branches);  ronneberger2015-unet  (channels of the skip)

    add:      y = x + z                                                            (JO.1)
    shift:    y[n, p, c] = x[n, p, c] + v[n, c]                                    (JO.2)
    concat:   y = [x, z],  channel by channel                                      (JO.3)

There is hardly any arithmetic in these: they take the time of reading and writing images, which
is why a backend has them too.

Adjoint. What entered a sum gets its gradient unchanged; v entered at every pixel and gets the
sum over them; what lay side by side is cut apart.

    add:  dx = dz = dy      shift:  dx = dy,  dv = Σ_p dy      concat:  [dx, dz] = dy      (JO.4)
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


def add(x: Array, z: Array) -> Array:
    """Return x + z, of one shape. Raises ValueError for two shapes."""
    if x.shape != z.shape:
        raise ValueError(f"add: both must have one shape, not {x.shape} and {z.shape}")
    y: Array = x + z  # (JO.1)
    return y


class ShiftCache(NamedTuple):
    """Nothing: the gradient is that of a sum."""


def shift_forward(x: Array, v: Array) -> tuple[Array, ShiftCache]:
    """Return (y, cache). Raises ValueError unless v has one number for each example and channel.

    >>> shift_forward(np.zeros((1, 2, 2)), np.array([[1.0, 5.0]]))[0]
    array([[[1., 5.],
            [1., 5.]]])
    """
    if v.shape != (x.shape[0], x.shape[-1]):
        raise ValueError(
            f"shift: v is one number for each example and channel, {(x.shape[0], x.shape[-1])} for "
            f"x of shape {x.shape}, not {v.shape}"
        )
    return x + np.reshape(v, (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])), ShiftCache()  # (JO.2)


def shift_backward(dy: Array, cache: ShiftCache) -> tuple[Array, Array]:
    """Return (dx, dv)."""
    return dy, np.sum(dy, axis=tuple(range(1, dy.ndim - 1)))  # (JO.4)


class ConcatCache(NamedTuple):
    """Where to cut."""

    channels: int  # C, of x


def concat_forward(x: Array, z: Array) -> tuple[Array, ConcatCache]:
    """Return (y, cache). Raises ValueError for shapes that differ in more than channels."""
    if x.shape[:-1] != z.shape[:-1]:
        raise ValueError(f"concat: all axes but the last must agree, not {x.shape} and {z.shape}")
    return np.concatenate([x, z], axis=-1), ConcatCache(x.shape[-1])  # (JO.3)


def concat_backward(dy: Array, cache: ConcatCache) -> tuple[Array, Array]:
    """Return (dx, dz)."""
    return dy[..., : cache.channels], dy[..., cache.channels :]  # (JO.4)
