"""Batch norm in two passes over memory, on every core. Mirrors the page of its name, to rounding.

The pixels of the batch are cut into parts that fit the second cache, in which each is read twice:
for its own mean μ_i and, about that, its squares q_i. With n_i pixels of M in part i,

    μ = Σ n_i μ_i / M,   v = Σ [q_i + n_i (μ_i − μ)²] / M                          (BK.1)

added in order, in float64. Backward, the statistics' own gradients are a level and a stretch of
x̂ more: dx of (BN.4) stays linear in dy and x̂.
"""

import math

import numpy as np
from numba import prange

from refgen.ops import batch_norm as page
from refgen.ops.normalization import NormCache, Standard
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import empty, flat, single
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.moments import (
    BLOCK,
    combine,
    normalize,
    plus,
    plus_square,
    repeat,
    row_length,
    sum_products,
    sum_up,
)
from refgen_kernels.numba_cpu.normalization import in_groups
from refgen_kernels.numba_cpu.writing import outgrows

F = np.float32
PART = 1 << 15  # floats of a part: 128 KB


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Array, Array, NormCache]:
    """CPU twin of refgen.ops.batch_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, 1, gamma, beta):
        return page.batch_norm_forward(x, gamma, beta, eps=eps)
    mean, var = _statistics(flat(x), gamma.size)
    rstd = F(1) / np.sqrt(var + F(eps))
    y, x_hat, past = empty(x.shape), empty(x.shape), outgrows(x.size, 3)
    images = flat(x), flat(x_hat), flat(y)
    part, _ = _parts(x.size, gamma.size)
    _normalize(x.size, images, (mean, rstd, flat(gamma), flat(beta)), part, past)
    axes = tuple(range(x.ndim - 1))
    sets = Standard(x_hat, rstd.reshape(*[1] * len(axes), -1), axes)
    return y, mean, var, NormCache(sets, gamma)


def batch_norm_backward(
    dy: Array, dmean: Array, dvar: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.batch_norm_backward; what no kernel is for goes to that page."""
    (x_hat, rstd, _), gamma = cache
    fits = single(dy, dmean, dvar, x_hat, rstd, gamma) and dy.shape == x_hat.shape
    if not (fits and dmean.shape == dvar.shape == gamma.shape and dy.size > 0):
        return page.batch_norm_backward(dy, dmean, dvar, cache)
    dx, count, past = empty(dy.shape), dy.size // gamma.size, outgrows(dy.size, 3)
    part, parts = _parts(dy.size, gamma.size)
    shares = empty((parts, 2, gamma.size))
    _sum(dy.size, flat(x_hat), flat(dy), part, shares)
    dbeta, dgamma = np.sum(shares, axis=0)  # (NM.4)
    r, zero = rstd.reshape(-1), np.zeros_like(gamma)
    b = (2 * dvar / (r * r) - gamma * dgamma) / F(count)
    d = (dmean / r - gamma * dbeta) / F(count)
    images = flat(x_hat), flat(dy), flat(dx)
    _combine(dy.size, images, (flat(gamma), b, zero, d, r), part, past)  # (BN.4)
    return dx, dgamma, dbeta


def _statistics(x: Array, channels: int) -> tuple[Array, Array]:
    """Return mean and var of each channel."""
    part, parts = _parts(x.size, channels)
    means, squares = np.empty((2, parts, channels))
    _measure(x.size, x, part, means, squares)
    pixels = np.minimum(part, x.size - part * np.arange(parts))[:, None] / channels
    mean = np.sum(pixels * means, axis=0) * channels / x.size
    apart = means - mean
    var = np.sum(squares + pixels * apart * apart, axis=0) * channels / x.size  # (BK.1)
    return mean.astype(F), var.astype(F)


def _parts(size: int, channels: int) -> tuple[int, int]:
    """Return how many floats a part has, and how many parts there are, whoever works on them."""
    row = math.lcm(channels, BLOCK)
    part = row * max(1, PART // row)
    return part, -(-size // part)


@kernel
def _measure(x, part, means, squares):  # type: ignore[no-untyped-def]
    channels = means.shape[1]
    for i in prange(len(means)):
        first, stop = i * part, min(x.size, (i + 1) * part)
        pixels = (stop - first) // channels
        columns = np.empty((2, row_length(channels)), np.float32)
        centre, sums = columns[0], columns[1]
        _line_up(x[first : first + channels], centre)
        sum_up(plus, x, first, stop, centre, sums, channels)
        for c in range(channels):
            means[i, c] = np.float64(centre[c]) + sums[c] / pixels  # (MO.1)
            centre[c] = means[i, c]
        repeat(centre, channels)
        sum_up(plus_square, x, first, stop, centre, sums, channels)
        for c in range(channels):
            squares[i, c] = sums[c]


@kernel
def _normalize(images, of_channels, part, past):  # type: ignore[no-untyped-def]
    x, x_hat, y = images
    rows = _rows(of_channels)
    weights = rows[0], rows[1], rows[2], rows[3]
    for i in prange((x.size + part - 1) // part):
        normalize(x, i * part, min(x.size, (i + 1) * part), x_hat, y, weights, past)


@kernel
def _sum(x_hat, dy, part, shares):  # type: ignore[no-untyped-def]
    channels = shares.shape[2]
    for i in prange(len(shares)):
        first, stop = i * part, min(dy.size, (i + 1) * part)
        columns = np.empty((2, row_length(channels)), np.float32)
        s, t = columns[0], columns[1]
        sum_products(x_hat, dy, first, stop, s, t, channels)
        for c in range(channels):
            shares[i, 0, c], shares[i, 1, c] = s[c], t[c]


@kernel
def _combine(images, of_channels, part, past):  # type: ignore[no-untyped-def]
    x_hat, dy, dx = images
    rows = _rows(of_channels)
    weights = rows[0], rows[1], rows[2], rows[3], rows[4]
    for i in prange((dy.size + part - 1) // part):
        combine(dy, x_hat, i * part, min(dy.size, (i + 1) * part), dx, weights, past)


@inlined
def _rows(of_channels):  # type: ignore[no-untyped-def]
    """Return numbers of each channel as rows, one number for each place."""
    rows = np.empty((len(of_channels), row_length(of_channels[0].size)), np.float32)
    for k in range(len(rows)):
        _line_up(of_channels[k], rows[k])
    return rows


@inlined
def _line_up(numbers, row):  # type: ignore[no-untyped-def]
    """Set the places of a row to the numbers of their channels."""
    for c in range(numbers.size):
        row[c] = numbers[c]
    repeat(row, numbers.size)
