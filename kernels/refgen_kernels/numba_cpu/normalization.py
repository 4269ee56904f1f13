"""Group and layer norm on every core. Mirrors the page of its name, to rounding.

A group norm's example is done by one thread, its layer norm's row while it lies in the nearest
cache; see moments.py. The gradients of γ and β are sums over examples, or over 64 parts of the
rows, that are added in order.
"""

import math

import numpy as np
from numba import prange

from refgen.ops import normalization as page
from refgen.ops.normalization import NormCache, Standard, by_group
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, single
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.moments import (
    combine,
    group_moments,
    normalize,
    plus,
    plus_square,
    repeat,
    row_length,
    solve,
    spread_groups,
    sum_products,
)
from refgen_kernels.numba_cpu.simd import floats, fused, total
from refgen_kernels.numba_cpu.writing import outgrows, put

F = np.float32
ZERO = F(0)
PARTS = 64  # of the rows of a layer norm


def group_norm_forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """CPU twin of refgen.ops.group_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, groups, gamma, beta):
        return page.group_norm_forward(x, gamma, beta, groups=groups, eps=eps)
    y, x_hat, rstd = empty(x.shape), empty(x.shape), empty((len(x), groups))
    past = whole_lines(x) and outgrows(x.size, 3)
    _group(x.size, flat(x), flat(gamma), flat(beta), flat(x_hat), flat(y), rstd, float(eps), past)
    sets = x_hat.reshape(len(x), -1, groups, gamma.size // groups)
    standard = Standard(sets, rstd.reshape(len(x), 1, groups, 1), (1, 3))
    return y, NormCache(standard, by_group(gamma, groups))


def group_norm_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.group_norm_backward; what no kernel is for goes to that page."""
    (x_hat, rstd, _), gamma = cache
    fits = single(dy, x_hat, rstd, gamma) and dy.size == x_hat.size > 0
    if not (fits and len(dy) == len(x_hat) and dy.shape[-1] == gamma.size):
        return page.group_norm_backward(dy, cache)
    dx, sums, n = empty(dy.shape), empty((len(dy), 2, gamma.size)), len(dy)
    past = whole_lines(dy) and outgrows(dy.size, 3)
    images = flat(x_hat), flat(dy), flat(dx)
    _group_gradients(dy.size, images, flat(gamma), rows(rstd.reshape(n, -1)), sums, past)
    dbeta, dgamma = np.sum(sums, axis=0)
    return dx, dgamma, dbeta


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """CPU twin of refgen.ops.layer_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, 1, gamma, beta):
        return page.layer_norm_forward(x, gamma, beta, eps=eps)
    y, x_hat, rstd = empty(x.shape), empty(x.shape), empty((*x.shape[:-1], 1))
    past = gamma.size % 16 == 0 and outgrows(x.size, 3)
    images = flat(x), flat(x_hat), flat(y)
    _layer(x.size, images, flat(gamma), flat(beta), flat(rstd), float(eps), past)
    return y, NormCache(Standard(x_hat, rstd, (-1,)), gamma)


def layer_norm_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.layer_norm_backward; what no kernel is for goes to that page."""
    (x_hat, rstd, _), gamma = cache
    if not (single(dy, x_hat, rstd, gamma) and dy.shape == x_hat.shape and dy.size > 0):
        return page.layer_norm_backward(dy, cache)
    parts = min(PARTS, dy.size // gamma.size)
    dx, sums = empty(dy.shape), empty((parts, 2, gamma.size))
    past = gamma.size % 16 == 0 and outgrows(dy.size, 3)
    images = flat(x_hat), flat(dy), flat(dx)
    _layer_gradients(dy.size, images, flat(gamma), flat(rstd), sums, past)
    dbeta, dgamma = np.sum(sums, axis=0)
    return dx, dgamma, dbeta


def in_groups(x: Array, groups: int, gamma: Array, beta: Array) -> bool:
    """Tell whether a kernel takes them; the page takes what is empty, and refuses the rest."""
    fits = x.ndim > 1 and gamma.shape == beta.shape == x.shape[-1:]
    fits = fits and single(x, gamma, beta) and x.size > 0
    return bool(fits and groups > 0 and x.shape[-1] % groups == 0)


def rows(a: Array) -> Array:
    """Return a matrix as kernels take it."""
    return flat(a).reshape(a.shape)


def whole_lines(x: Array) -> bool:
    """Tell whether each example begins at a line of the cache."""
    return x.size // len(x) % 16 == 0


# Group norm.


@kernel
def _group(x, gamma, beta, x_hat, y, rstd, eps, past):  # type: ignore[no-untyped-def]
    examples, channels = len(rstd), gamma.size
    size = x.size // examples
    for n in prange(examples):
        first, stop = n * size, (n + 1) * size
        columns = np.empty((4, row_length(channels)), np.float32)
        centre, r, g, b = columns[0], columns[1], columns[2], columns[3]
        mean = np.empty(rstd.shape[1], np.float32)
        group_moments(x, first, stop, channels, eps, mean, rstd[n], centre, r)
        spread_groups(rstd[n], r, channels)
        g[:channels], b[:channels] = gamma, beta
        repeat(g, channels)
        repeat(b, channels)
        normalize(x, first, stop, x_hat, y, (centre, r, g, b), past)


@kernel
def _group_gradients(images, gamma, rstd, sums, past):  # type: ignore[no-untyped-def]
    x_hat, dy, dx = images
    examples, channels = len(rstd), gamma.size
    size = dy.size // examples
    for n in prange(examples):
        first, stop = n * size, (n + 1) * size
        columns = np.zeros((5, row_length(channels)), np.float32)
        a, r, s, t, centre = columns[0], columns[1], columns[2], columns[3], columns[4]
        sum_products(x_hat, dy, first, stop, s, t, channels)
        sums[n, 0], sums[n, 1] = s[:channels], t[:channels]
        spread_groups(rstd[n], r, channels)
        a[:channels] = gamma
        repeat(a, channels)
        solve(a, s, t, np.ones_like(rstd[n]), size // channels, channels)
        combine(dy, x_hat, first, stop, dx, (a, t, centre, s, r), past)


# Layer norm.


@kernel
def _layer(images, gamma, beta, rstd, eps, past):  # type: ignore[no-untyped-def]
    x, x_hat, y = images
    channels, count = gamma.size, rstd.size
    parts = min(PARTS, count)
    ones = np.ones(16, np.float32)
    for part in prange(parts):
        for row in range(count * part // parts, count * (part + 1) // parts):
            at, stop = row * channels, (row + 1) * channels
            shift = x[at] + _row_sum(plus, x, at, stop, x[at], ones) / channels  # (MO.1)
            mean = F(shift)
            var = _row_sum(plus_square, x, at, stop, mean, ones) / channels
            r = F(1.0 / math.sqrt(var + eps))  # (MO.2)
            rstd[row] = r
            whole = stop - channels % 16
            for i in range(at, whole, 16):
                normal = (load(x, i) - mean) * r
                put(x_hat, i, normal, past)
                scaled = fused(normal, load(gamma, i - at), load(beta, i - at))  # (NM.2)
                put(y, i, scaled, past)
            if whole < stop:
                normal = (load_part(x, whole, stop) - mean) * r
                c = whole - at
                g, b = load_part(gamma, c, channels), load_part(beta, c, channels)
                store_part(x_hat, whole, normal, whole, stop)
                store_part(y, whole, fused(normal, g, b), whole, stop)


@inlined
def _row_sum(plus, x, at, stop, centre, ones):  # type: ignore[no-untyped-def]
    """Return the sum of x − centre over a row, or of its squares, as `plus` adds them."""
    whole = stop - (stop - at) % 32
    even = odd = floats(ZERO)
    for i in range(at, whole, 32):
        even = plus(even, load(x, i) - centre)
        odd = plus(odd, load(x, i + 16) - centre)
    for i in range(whole, stop, 16):
        inside = load_part(ones, 0, stop - i)  # beyond the row, x − centre is none of its numbers
        even = plus(even, (load_part(x, i, stop) - centre) * inside)
    return np.float64(total(even + odd))


@kernel
def _layer_gradients(images, gamma, rstd, sums, past):  # type: ignore[no-untyped-def]
    x_hat, dy, dx = images
    channels, count, parts = gamma.size, rstd.size, len(sums)
    for part in prange(parts):
        s, t = sums[part, 0], sums[part, 1]
        s[:] = ZERO
        t[:] = ZERO
        for row in range(count * part // parts, count * (part + 1) // parts):
            at, stop = row * channels, (row + 1) * channels
            level, stretch = _add_row(x_hat, dy, at, stop, gamma, s, t)
            r = rstd[row]
            d, b = level / F(-channels), stretch / F(-channels)  # (MO.5)
            whole = stop - channels % 16
            for i in range(at, whole, 16):
                rest = fused(load(x_hat, i), floats(b), floats(d))
                put(dx, i, (load(dy, i) * load(gamma, i - at) + rest) * r, past)  # (MO.4)
            if whole < stop:
                rest = fused(load_part(x_hat, whole, stop), floats(b), floats(d))
                g = load_part(dy, whole, stop) * load_part(gamma, whole - at, channels)
                store_part(dx, whole, (g + rest) * r, whole, stop)


@inlined
def _add_row(x_hat, dy, at, stop, gamma, s, t):  # type: ignore[no-untyped-def]
    """Add a row to the sums over rows; return Σ γ dy and Σ γ dy x̂ of the row."""
    level = stretch = floats(ZERO)
    whole = stop - (stop - at) % 16
    for i in range(at, whole, 16):
        c, d, x = i - at, load(dy, i), load(x_hat, i)
        store(s, c, load(s, c) + d)
        store(t, c, fused(d, x, load(t, c)))  # (MO.3)
        g = d * load(gamma, c)
        level, stretch = level + g, fused(g, x, stretch)
    if whole < stop:
        c, end = whole - at, stop - at
        d, x = load_part(dy, whole, stop), load_part(x_hat, whole, stop)
        store_part(s, c, load_part(s, c, end) + d, c, end)
        store_part(t, c, fused(d, x, load_part(t, c, end)), c, end)
        g = d * load_part(gamma, c, end)
        level, stretch = level + g, fused(g, x, stretch)
    return total(level), total(stretch)
