"""Norms with their SiLU, one pass over memory. Mirrors the page of its name, to rounding.

With m and r of the group, what stands before silu is one product and one sum of each pixel's x:

    h = g (x − m) + b,   g = γ r (1 + scale),   b = β (1 + scale) + shift          (FK.1)

m is taken off first: folded into b, it would leave nothing but rounding errors of a group that
is nearly constant and far from 0. An example is done by one thread, start to end, so that of its
three readings in forward and two in backward only the first is from memory. Backward keeps
dh where dx will be, and its sums over pixels, Σ dh and Σ dh x̂, are all that γ, β, scale and
shift need.
"""

import numpy as np
from numba import prange

from refgen.ops import fused as page
from refgen.ops.fused import GroupNormFilmSiluCache, GroupNormSiluCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, single
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.elementary import sigmoid
from refgen_kernels.numba_cpu.moments import (
    BLOCK,
    add_both,
    combine,
    fold,
    group_moments,
    repeat,
    row_length,
    solve,
    spread_groups,
    store_both,
)
from refgen_kernels.numba_cpu.normalization import in_groups, rows, whole_lines
from refgen_kernels.numba_cpu.simd import floats, fused
from refgen_kernels.numba_cpu.writing import outgrows, put

F = np.float32
ZERO, ONE = F(0), F(1)


def group_norm_silu_forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, GroupNormSiluCache]:
    """CPU twin of refgen.ops.group_norm_silu_forward; what no kernel is for goes to that page."""
    if not in_groups(x, groups, gamma, beta):
        return page.group_norm_silu_forward(x, gamma, beta, groups=groups, eps=eps)
    y, mean, rstd = _normalized(x, gamma[None], beta[None], groups, eps)
    return y, GroupNormSiluCache(x, gamma, beta, mean, rstd)


def group_norm_silu_backward(dy: Array, cache: GroupNormSiluCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.group_norm_silu_backward; what no kernel is for goes to that page."""
    x, gamma, beta, mean, rstd = cache
    if not (in_groups(x, mean.shape[1], gamma, beta) and single(dy, mean) and dy.shape == x.shape):
        return page.group_norm_silu_backward(dy, cache)
    dx, sums = _gradients(dy, x, gamma[None], beta[None], mean, rstd)
    dbeta, dgamma = np.sum(sums, axis=0)
    return dx, dgamma, dbeta


def group_norm_film_silu_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    scale: Array,
    shift: Array,
    *,
    groups: int,
    eps: float = 1e-5,
) -> tuple[Array, GroupNormFilmSiluCache]:
    """CPU twin of refgen.ops.group_norm_film_silu_forward; the rest goes to that page."""
    if not (in_groups(x, groups, gamma, beta) and _steers(x, scale, shift)):
        return page.group_norm_film_silu_forward(
            x, gamma, beta, scale, shift, groups=groups, eps=eps
        )
    steer = 1 + scale
    y, mean, rstd = _normalized(x, gamma * steer, beta * steer + shift, groups, eps)
    return y, GroupNormFilmSiluCache(x, gamma, beta, scale, shift, mean, rstd)


def group_norm_film_silu_backward(
    dy: Array, cache: GroupNormFilmSiluCache
) -> tuple[Array, Array, Array, Array, Array]:
    """CPU twin of refgen.ops.group_norm_film_silu_backward; the rest goes to that page."""
    x, gamma, beta, scale, shift, mean, rstd = cache
    fits = in_groups(x, mean.shape[1], gamma, beta) and _steers(x, scale, shift)
    if not (fits and single(dy, mean) and dy.shape == x.shape):
        return page.group_norm_film_silu_backward(dy, cache)
    steer = 1 + scale
    dx, sums = _gradients(dy, x, gamma * steer, beta * steer + shift, mean, rstd)
    dshift, by_x_hat = sums[:, 0], sums[:, 1]
    dscale = gamma * by_x_hat + beta * dshift
    return dx, np.sum(steer * by_x_hat, axis=0), np.sum(steer * dshift, axis=0), dscale, dshift


def _steers(x: Array, scale: Array, shift: Array) -> bool:
    return single(scale, shift) and scale.shape == shift.shape == (x.shape[0], x.shape[-1])


def _normalized(
    x: Array, gain: Array, lift: Array, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """Return (y, mean, rstd); gain and lift, of one example or of all, lack only r."""
    y, mean, rstd = empty(x.shape), empty((len(x), groups)), empty((len(x), groups))
    past = whole_lines(x) and outgrows(x.size, 2)
    _forward(x.size, flat(x), rows(gain), rows(lift), flat(y), mean, rstd, float(eps), past)
    return y, mean, rstd


def _gradients(
    dy: Array, x: Array, gain: Array, lift: Array, mean: Array, rstd: Array
) -> tuple[Array, Array]:
    """Return dx and the sums Σ dh and Σ dh x̂ : (N, 2, C)."""
    dx, sums = empty(x.shape), empty((len(x), 2, x.shape[-1]))
    images = flat(x), flat(dy), flat(dx)
    _backward(x.size, images, rows(gain), rows(lift), rows(mean), rows(rstd), sums)
    return dx, sums


@kernel
def _forward(x, gain, lift, y, mean, rstd, eps, past):  # type: ignore[no-untyped-def]
    examples, channels = len(mean), gain.shape[1]
    size = x.size // examples
    for n in prange(examples):
        first, stop = n * size, (n + 1) * size
        columns = np.empty((4, row_length(channels)), np.float32)
        centre, g, b, sums = columns[0], columns[1], columns[2], columns[3]
        group_moments(x, first, stop, channels, eps, mean[n], rstd[n], centre, sums)
        own = n % len(gain)  # one for all, or each its own
        _line_up(gain[own], lift[own], rstd[n], g, b)
        whole = stop - size % g.size
        for i in range(first, whole, g.size):
            for c in range(0, g.size, 16):
                put(y, i + c, _silu(load(x, i + c), centre, g, b, c), past)
        for c in range(0, stop - whole, 16):
            i = whole + c
            store_part(y, i, _silu(load_part(x, i, stop), centre, g, b, c), i, stop)


@kernel
def _backward(images, gain, lift, mean, rstd, sums):  # type: ignore[no-untyped-def]
    x, _, dx = images
    examples, channels = len(mean), gain.shape[1]
    size = x.size // examples
    for n in prange(examples):
        first, stop = n * size, (n + 1) * size
        columns = np.empty((5, row_length(channels)), np.float32)
        centre, g, b, s, t = columns[0], columns[1], columns[2], columns[3], columns[4]
        own = n % len(gain)
        _line_up(gain[own], lift[own], rstd[n], g, b)
        spread_groups(mean[n], centre, channels)
        _through_silu(images, first, stop, (centre, g, b), s, t, channels)
        _scale_groups(t, rstd[n], channels)  # Σ dh (x − m) becomes Σ dh x̂
        sums[n, 0] = s[:channels]
        sums[n, 1] = t[:channels]
        a, r = b, g  # whose numbers have served
        a[:channels] = gain[own]
        repeat(a, channels)
        spread_groups(rstd[n], r, channels)
        solve(a, s, t, rstd[n], size // channels, channels)
        combine(dx, x, first, stop, dx, (a, t, centre, s, r), False)


@inlined
def _line_up(gain, lift, rstd, g, b):  # type: ignore[no-untyped-def]
    """Set g and b of (FK.1) for all places of a row."""
    channels = gain.size
    for c in range(channels):
        g[c], b[c] = gain[c], lift[c]
    _scale_groups(g, rstd, channels)  # (FK.1)
    repeat(g, channels)
    repeat(b, channels)


@inlined
def _scale_groups(numbers, scales, channels):  # type: ignore[no-untyped-def]
    """Multiply the numbers of each group's channels by a scale."""
    each = channels // scales.size
    for k in range(scales.size):
        end = (k + 1) * each
        for c in range(k * each, end, 16):
            store_part(numbers, c, load_part(numbers, c, end) * scales[k], c, end)


@inlined
def _silu(x, centre, g, b, c):  # type: ignore[no-untyped-def]
    h = fused(x - load(centre, c), load(g, c), load(b, c))
    return h * sigmoid(h)  # (FU.1), (FU.2)


@inlined
def _through_silu(images, first, stop, weights, s, t, channels):  # type: ignore[no-untyped-def]
    """Set dx to dh, s to Σ dh and t to Σ dh (x − m)."""
    x, dy, dh = images
    row = s.size
    whole = stop - (stop - first) % row
    for c in range(0, row, BLOCK):
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = floats(ZERO)
        for i in range(first + c, whole, row):
            d0, x0 = _bent(load(x, i), load(dy, i), weights, c)
            d1, x1 = _bent(load(x, i + 16), load(dy, i + 16), weights, c + 16)
            d2, x2 = _bent(load(x, i + 32), load(dy, i + 32), weights, c + 32)
            d3, x3 = _bent(load(x, i + 48), load(dy, i + 48), weights, c + 48)
            store(dh, i, d0)
            store(dh, i + 16, d1)
            store(dh, i + 32, d2)
            store(dh, i + 48, d3)
            s0, s1, s2, s3 = s0 + d0, s1 + d1, s2 + d2, s3 + d3
            t0, t1 = fused(d0, x0, t0), fused(d1, x1, t1)
            t2, t3 = fused(d2, x2, t2), fused(d3, x3, t3)
        store_both(s, t, c, s0, t0)
        store_both(s, t, c + 16, s1, t1)
        store_both(s, t, c + 32, s2, t2)
        store_both(s, t, c + 48, s3, t3)
    rest = stop - whole
    for c in range(0, rest, 16):
        i = whole + c
        d, centred = _bent(load_part(x, i, stop), load_part(dy, i, stop), weights, c)
        store_part(dh, i, d, i, stop)
        add_both(s, t, c, d, centred, rest)
    fold(s, channels)
    fold(t, channels)


@inlined
def _bent(x, dy, weights, c):  # type: ignore[no-untyped-def]
    """Return dh = dy silu'(h) and x − m."""
    centre, g, b = weights
    centred = x - load(centre, c)
    h = fused(centred, load(g, c), load(b, c))
    sigma = sigmoid(h)
    return dy * (sigma * fused(h, floats(ONE) - sigma, floats(ONE))), centred
