r"""Convolutions of images: every window is a row, so a convolution is a matrix product.

Shapes     N batch, H, W image, C channels in, O channels out, U, V filter, s stride, p padding,
           G groups.   x, dx : (N, H, W, C)    w, dw : (U, V, C/G, O)    b, db : (O,)
           y, dy : (N, H', W', O),   H' = ⌊(H + 2p − U) / s⌋ + 1,   W' likewise
Sources    lecun1989-backprop;  dumoulin2016-guide  (sizes, strides, the transposed convolution)

Write x̄ for x inside a frame of p zeros. Channels are cut into G groups that do not see each
other; the equations are those of one group.

    y[n, i, j, o] = b[o] + Σ_{u, v, c} x̄[n, s i + u, s j + v, c] w[u, v, c, o]        (CV.1)

This is a correlation: the filter is not turned over. Let P(x̄) hold the window of each output
as a row, (N H' W', U V C), and read w as a matrix, (U V C, O):

    y = P(x̄) w + b                                                                    (CV.2)

Adjoint. As in a dense layer, w and b serve every window, so theirs are sums over windows. A
pixel collects from each window that it was in: window i held row a of x̄ at u = a − s i.

    dw = P(x̄)ᵀ dy,   db = Σ_windows dy                                                (CV.3)
    dx̄[n, a, e, c] = Σ_{i, j, o} dy[n, i, j, o] w[a − s i, e − s j, c, o]              (CV.4)

where w is 0 outside its U × V. (CV.4) is again a correlation with stride 1: of dy with s − 1
zeros between its entries and U − 1 around it, with w turned by half a turn and its channels
exchanged. As an op of its own it is the transposed convolution, which makes images larger:

    y[n, a, e, o] = b[o] + Σ_{i, j, c} x[n, i, j, c] w[a + p − s i, e + p − s j, o, c]   (CV.5)

Its w : (U, V, O/G, C) is that of the convolution whose adjoint it is, and its adjoints are that
convolution and (CV.3), with x and dy exchanged. Strides forget up to s − 1 last rows of an
image: output_padding says how many of them there are to be, H' = (H − 1) s + U − 2p + padding.

Tangent. Both maps are linear in x and in w, so the rule of the product gives

    ẏ = P(ẋ) w + P(x̄) ẇ + ḃ,   and for ⟨dẏ, ẏ⟩:   dx by (CV.4) with ẇ,   dw = P(ẋ)ᵀ dẏ   (CV.6)
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refgen.typing import Array

Pair = int | tuple[int, int]  # one number for both image axes, or (vertical, horizontal)


class Geometry(NamedTuple):
    """How windows lie on an image."""

    kernel: tuple[int, int]  # U, V
    stride: tuple[int, int]  # s
    padding: tuple[int, int]  # p
    image: tuple[int, int]  # the larger image: of x in a convolution, of y in a transposed one
    groups: int  # G


class ConvCache(NamedTuple):
    """What backward needs; both convolutions use it."""

    x: Array
    w: Array
    geometry: Geometry


def conv2d_forward(
    x: Array, w: Array, b: Array, *, stride: Pair = 1, padding: Pair = 0, groups: int = 1
) -> tuple[Array, ConvCache]:
    """Return (y, cache). Raises ValueError for sizes that do not fit, naming the axis.

    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> y, _ = conv2d_forward(x, np.ones((3, 3, 1, 1)), np.zeros(1), padding=1)
    >>> y[0, :, :, 0]  # the sum of each pixel's neighbourhood
    array([[ 8., 15., 12.],
           [21., 36., 27.],
           [20., 33., 24.]])
    """
    geometry = Geometry(_kernel(w), _pair(stride), _pair(padding), _image(x), groups)
    _check("conv2d", geometry, x.shape[-1], w, outputs=w.shape[-1])
    y = _correlate(_framed(x, geometry), w, geometry.stride, groups) + b
    return y, ConvCache(x, w, geometry)


def conv2d_backward(dy: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db)."""
    x, w, geometry = cache
    dw = _filter_gradient(_framed(x, geometry), dy, geometry)
    return _spread(dy, w, geometry), dw, np.sum(dy, axis=(0, 1, 2))  # (CV.3)


def conv2d_tangent(x_dot: Array, w_dot: Array, b_dot: Array, cache: ConvCache) -> Array:
    """Return y_dot."""
    x, w, geometry = cache
    stride, groups = geometry.stride, geometry.groups
    of_x = _correlate(_framed(x_dot, geometry), w, stride, groups)
    return of_x + _correlate(_framed(x, geometry), w_dot, stride, groups) + b_dot  # (CV.6)


def conv2d_curvature(
    dy_dot: Array, x_dot: Array, w_dot: Array, b_dot: Array, cache: ConvCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, w, b); b has none."""
    geometry = cache.geometry
    dw = _filter_gradient(_framed(x_dot, geometry), dy_dot, geometry)
    return _spread(dy_dot, w_dot, geometry), dw, np.zeros_like(b_dot)  # (CV.6)


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
    """Return (y, cache), y : (N, (H − 1) s + U − 2p + output_padding, ..., O).

    Raises ValueError for sizes that do not fit, naming the axis.

    >>> x = np.array([1.0, 10.0]).reshape(1, 1, 2, 1)
    >>> y, _ = conv_transpose2d_forward(x, np.ones((1, 2, 1, 1)), np.zeros(1), stride=2)
    >>> y.ravel()
    array([ 1.,  1., 10., 10.])
    """
    kernel, s, p, extra = _kernel(w), _pair(stride), _pair(padding), _pair(output_padding)
    height, width = (
        (n - 1) * step + k - 2 * around + more
        for n, step, k, around, more in zip(_image(x), s, kernel, p, extra, strict=True)
    )
    if any(more >= step for more, step in zip(extra, s, strict=True)):
        raise ValueError(f"conv_transpose2d: output_padding {extra} must be below the stride {s}")
    geometry = Geometry(kernel, s, p, (height, width), groups)
    _check("conv_transpose2d", geometry, w.shape[2] * groups, w, outputs=x.shape[-1])
    return _spread(x, w, geometry) + b, ConvCache(x, w, geometry)  # (CV.5)


def conv_transpose2d_backward(dy: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db)."""
    x, w, geometry = cache
    framed = _framed(dy, geometry)
    dx = _correlate(framed, w, geometry.stride, geometry.groups)
    return dx, _filter_gradient(framed, x, geometry), np.sum(dy, axis=(0, 1, 2))


def conv_transpose2d_tangent(x_dot: Array, w_dot: Array, b_dot: Array, cache: ConvCache) -> Array:
    """Return y_dot: the rule of the product again."""
    x, w, geometry = cache
    return _spread(x_dot, w, geometry) + _spread(x, w_dot, geometry) + b_dot


def conv_transpose2d_curvature(
    dy_dot: Array, x_dot: Array, w_dot: Array, b_dot: Array, cache: ConvCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, w, b); b has none."""
    geometry = cache.geometry
    framed = _framed(dy_dot, geometry)
    dx = _correlate(framed, w_dot, geometry.stride, geometry.groups)
    return dx, _filter_gradient(framed, x_dot, geometry), np.zeros_like(b_dot)


def _windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Return P(x), (N H' W', U V C), of an image that has its frame already."""
    views = sliding_window_view(x, kernel, axis=(1, 2))
    views = np.transpose(views[:, :: stride[0], :: stride[1]], (0, 1, 2, 4, 5, 3))
    rows: Array = np.reshape(views, (-1, kernel[0] * kernel[1] * x.shape[-1]))
    return rows


def _correlate(x: Array, w: Array, stride: tuple[int, int], groups: int) -> Array:
    """Return P(x) w of each group, side by side."""
    kernel = _kernel(w)
    height, width = ((n - k) // s + 1 for n, k, s in zip(_image(x), kernel, stride, strict=True))
    products = [
        _windows(part, kernel, stride) @ np.reshape(filters, (-1, filters.shape[-1]))  # (CV.2)
        for part, filters in zip(_cut(x, groups), _cut(w, groups), strict=True)
    ]
    return np.reshape(_join(products), (x.shape[0], height, width, w.shape[-1]))  # (CV.1)


def _filter_gradient(x: Array, dy: Array, geometry: Geometry) -> Array:
    """Return P(x)ᵀ dy of each group as a filter, (U, V, C/G, O)."""
    products = [
        np.transpose(_windows(part, geometry.kernel, geometry.stride))
        @ np.reshape(dpart, (-1, dpart.shape[-1]))
        for part, dpart in zip(_cut(x, geometry.groups), _cut(dy, geometry.groups), strict=True)
    ]
    shape = (*geometry.kernel, x.shape[-1] // geometry.groups, dy.shape[-1])
    return np.reshape(_join(products), shape)


def _spread(dy: Array, w: Array, geometry: Geometry) -> Array:
    """Return dx of (CV.4), without the frame: (N, *geometry.image, C)."""
    (u, v), (sv, sh), (pv, ph), (height, width), groups = geometry
    n, i, j, outputs = dy.shape
    gaps = np.reshape(dy, (n, i, 1, j, 1, outputs))
    gaps = np.pad(gaps, ((0, 0), (0, 0), (0, sv - 1), (0, 0), (0, sh - 1), (0, 0)))
    spaced = np.reshape(gaps, (n, i * sv, j * sh, outputs))  # s − 1 zeros after every entry
    before = (u - 1 - pv, v - 1 - ph)
    after = (height + pv - i * sv, width + ph - j * sh)
    around = _frame(spaced, before[0], after[0], before[1], after[1])
    filters = np.reshape(w, (*w.shape[:3], groups, outputs // groups))
    turned = np.flip(np.transpose(filters, (0, 1, 4, 3, 2)), axis=(0, 1))
    exchanged = np.reshape(turned, (u, v, outputs // groups, groups * w.shape[2]))
    return _correlate(around, exchanged, (1, 1), groups)  # (CV.4)


def _framed(x: Array, geometry: Geometry) -> Array:
    pv, ph = geometry.padding
    return _frame(x, pv, pv, ph, ph)


def _frame(x: Array, top: int, bottom: int, left: int, right: int) -> Array:
    """Return an image with rows of zeros added on each side; fewer than 0 are cut off."""
    height, width = _image(x)
    x = x[
        :,
        max(-top, 0) : height - max(-bottom, 0),
        max(-left, 0) : width - max(-right, 0),
    ]
    if max(top, bottom, left, right) <= 0:
        return x
    rows, columns = (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))
    return np.pad(x, ((0, 0), rows, columns, (0, 0)))


def _cut(a: Array, groups: int) -> list[Array]:
    return np.split(a, groups, axis=-1) if groups > 1 else [a]


def _join(parts: list[Array]) -> Array:
    return np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _kernel(w: Array) -> tuple[int, int]:
    return w.shape[0], w.shape[1]


def _image(x: Array) -> tuple[int, int]:
    return x.shape[1], x.shape[2]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _check(name: str, geometry: Geometry, channels: int, w: Array, outputs: int) -> None:
    """Raise ValueError unless windows, groups and channels fit."""
    kernel, stride, padding, image, groups = geometry
    if min(stride) < 1 or min(padding) < 0 or groups < 1:
        raise ValueError(
            f"{name}: stride and groups are at least 1, padding at least 0, not stride {stride}, "
            f"padding {padding}, groups {groups}"
        )
    for what, size in (("channels", channels), ("filters", w.shape[-1])):
        if size % groups:
            raise ValueError(
                f"{name}: {size} {what} cannot be cut into {groups} groups: their number must be "
                f"a multiple of {groups}"
            )
    if channels != w.shape[2] * groups or outputs != w.shape[-1]:
        raise ValueError(
            f"{name}: the last axis of x must fit a filter of shape {w.shape} in {groups} groups"
        )
    for axis, n, k, p in zip(("height", "width"), image, kernel, padding, strict=True):
        if n + 2 * p < k:
            raise ValueError(
                f"{name}: a filter of {axis} {k} does not fit into an image of {axis} {n} with "
                f"{p} zeros on each side: it must be at least {k - 2 * p}"
            )
