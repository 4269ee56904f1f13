r"""Sums over pixels, for each channel: what the norms begin with, and what they end with.

Shapes     x, y, dy, dx : pixels times C channels, flat; a part of an image is first .. stop

A part is read in rows of `row_length(C)` floats: as many whole pixels as fill blocks of four
vectors, so that no vector is cut, whatever C is. Only the floats after the last whole row are
done with masks. Four sums stand in registers side by side: an addition takes four cycles, so one
of them can start in each. At the end the places of a row that belong to one channel are added up.

Means are taken of the differences from a number of the same set, variances of the differences
from the mean, while the part still lies in the second cache; no digits are lost where the mean
is large, and few where there are many pixels:

    μ = c + ⟨x − c⟩,   c the first of the set                                       (MO.1)
    v = ⟨(x − μ)²⟩,   r = 1 / √(v + ε)                                             (MO.2)

Forward, the rest is a product and a sum. Backward, P of (NM.3) asks for two sums of each channel,
and then for one line; r comes last, for where a group is nearly constant it is large, and what it
multiplies should be as near to 0 as it is on the page:

    s = Σ dy,   t = Σ dy x̂                                                         (MO.3)
    dx = r [a dy + b (x − c) + d]                                                  (MO.4)

For a group of M numbers in C/G channels, with q = r, or q = 1 where x − c is x̂ already,

    a = γ,   b = −q Σ_C γ t / M,   d = −Σ_C γ s / M                                (MO.5)
"""

import math

import numpy as np

from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.build import inlined
from refgen_kernels.numba_cpu.simd import floats, fused, total
from refgen_kernels.numba_cpu.writing import put

F = np.float32
ZERO = F(0)
BLOCK = 64  # floats: four vectors


@inlined
def row_length(channels):  # type: ignore[no-untyped-def]
    """Return how many floats make whole pixels and whole blocks."""
    return channels * (BLOCK // math.gcd(channels, BLOCK))


@inlined
def repeat(numbers, channels):  # type: ignore[no-untyped-def]
    """Copy the numbers of the channels, which stand first in a row, to its other pixels."""
    for start in range(channels, numbers.size, channels):
        for c in range(channels):
            numbers[start + c] = numbers[c]


@inlined
def fold(sums, channels):  # type: ignore[no-untyped-def]
    """Add the sums of a row's other pixels to those of its first."""
    for start in range(channels, sums.size, channels):
        for c in range(channels):
            sums[c] += sums[start + c]


@inlined
def plus(total, d):  # type: ignore[no-untyped-def]
    """Return what a sum has become."""
    return total + d


@inlined
def plus_square(total, d):  # type: ignore[no-untyped-def]
    """Return what a sum of squares has become."""
    return fused(d, d, total)


@inlined
def sum_up(plus, x, first, stop, centre, sums, channels):  # type: ignore[no-untyped-def]
    """Set sums to those of x − centre, or of its squares, as `plus` adds them."""
    row = sums.size
    whole = stop - (stop - first) % row
    for c in range(0, row, BLOCK):
        c0, c1 = load(centre, c), load(centre, c + 16)
        c2, c3 = load(centre, c + 32), load(centre, c + 48)
        s0 = s1 = s2 = s3 = floats(ZERO)
        for i in range(first + c, whole, row):
            s0 = plus(s0, load(x, i) - c0)
            s1 = plus(s1, load(x, i + 16) - c1)
            s2 = plus(s2, load(x, i + 32) - c2)
            s3 = plus(s3, load(x, i + 48) - c3)
        store(sums, c, s0)
        store(sums, c + 16, s1)
        store(sums, c + 32, s2)
        store(sums, c + 48, s3)
    rest = stop - whole
    for c in range(0, rest, 16):
        d = load_part(x, whole + c, stop) - load(centre, c)
        store_part(sums, c, plus(load(sums, c), d), c, rest)
    fold(sums, channels)


@inlined
def group_moments(x, first, stop, channels, eps, mean, rstd, centre, sums):  # type: ignore[no-untyped-def]
    """Set mean and rstd of every group of one example; leave the mean of each place in centre."""
    each = channels // mean.size
    count = (stop - first) // channels * each
    for g in range(mean.size):
        spread(x[first + g * each], centre, g * each, each)
    repeat(centre, channels)
    sum_up(plus, x, first, stop, centre, sums, channels)
    for g in range(mean.size):
        mean[g] = centre[g * each] + group_sum(sums, g * each, each) / count  # (MO.1)
    spread_groups(mean, centre, channels)
    sum_up(plus_square, x, first, stop, centre, sums, channels)
    for g in range(mean.size):
        rstd[g] = 1.0 / math.sqrt(group_sum(sums, g * each, each) / count + eps)  # (MO.2)


@inlined
def spread(number, numbers, start, count):  # type: ignore[no-untyped-def]
    """Set count numbers of a row to one."""
    for c in range(start, start + count, 16):
        store_part(numbers, c, floats(number), c, start + count)


@inlined
def spread_groups(numbers, row, channels):  # type: ignore[no-untyped-def]
    """Set all places of a row to the numbers of their groups."""
    each = channels // numbers.size
    for g in range(numbers.size):
        spread(numbers[g], row, g * each, each)
    repeat(row, channels)


@inlined
def group_sum(sums, start, count):  # type: ignore[no-untyped-def]
    """Add up count numbers of a row."""
    lanes = floats(ZERO)
    for c in range(start, start + count, 16):
        lanes = lanes + load_part(sums, c, start + count)
    return np.float64(total(lanes))


@inlined
def normalize(x, first, stop, x_hat, y, weights, past):  # type: ignore[no-untyped-def]
    """Set x̂ to r (x − c) and y to γ x̂ + β; weights = (c, r, γ, β) for the places of a row."""
    row = weights[0].size
    whole = stop - (stop - first) % row
    for i in range(first, whole, row):
        for c in range(0, row, 16):
            normal, scaled = _normalized(load(x, i + c), weights, c)
            put(x_hat, i + c, normal, past)
            put(y, i + c, scaled, past)
    for c in range(0, stop - whole, 16):
        i = whole + c
        normal, scaled = _normalized(load_part(x, i, stop), weights, c)
        store_part(x_hat, i, normal, i, stop)
        store_part(y, i, scaled, i, stop)


@inlined
def _normalized(x, weights, c):  # type: ignore[no-untyped-def]
    centre, r, gamma, beta = weights
    normal = (x - load(centre, c)) * load(r, c)
    return normal, fused(normal, load(gamma, c), load(beta, c))  # (NM.2)


@inlined
def sum_products(x_hat, dy, first, stop, s, t, channels):  # type: ignore[no-untyped-def]
    """Set s and t to the two sums of backward."""
    row = s.size
    whole = stop - (stop - first) % row
    for c in range(0, row, BLOCK):
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = floats(ZERO)
        for i in range(first + c, whole, row):
            d0, d1, d2, d3 = load(dy, i), load(dy, i + 16), load(dy, i + 32), load(dy, i + 48)
            s0, t0 = s0 + d0, fused(d0, load(x_hat, i), t0)  # (MO.3)
            s1, t1 = s1 + d1, fused(d1, load(x_hat, i + 16), t1)
            s2, t2 = s2 + d2, fused(d2, load(x_hat, i + 32), t2)
            s3, t3 = s3 + d3, fused(d3, load(x_hat, i + 48), t3)
        store_both(s, t, c, s0, t0)
        store_both(s, t, c + 16, s1, t1)
        store_both(s, t, c + 32, s2, t2)
        store_both(s, t, c + 48, s3, t3)
    rest = stop - whole
    for c in range(0, rest, 16):
        i = whole + c
        add_both(s, t, c, load_part(dy, i, stop), load_part(x_hat, i, stop), rest)
    fold(s, channels)
    fold(t, channels)


@inlined
def store_both(s, t, c, sc, tc):  # type: ignore[no-untyped-def]
    """Write a vector of each sum."""
    store(s, c, sc)
    store(t, c, tc)


@inlined
def add_both(s, t, c, dy, x, rest):  # type: ignore[no-untyped-def]
    """Add dy and dy x to the sums of the places c .. rest."""
    store_part(s, c, load(s, c) + dy, c, rest)
    store_part(t, c, fused(dy, x, load(t, c)), c, rest)


@inlined
def solve(a, s, t, q, pixels, channels):  # type: ignore[no-untyped-def]
    """Set s to d and t to b, the same for all channels of a group."""
    each = channels // q.size
    for g in range(q.size):
        lanes = stretched = floats(ZERO)
        start, end = g * each, (g + 1) * each
        for c in range(start, end, 16):
            ac = load_part(a, c, end)
            lanes = fused(ac, load_part(s, c, end), lanes)
            stretched = fused(ac, load_part(t, c, end), stretched)
        share = F(-1 / (pixels * each))
        spread(total(lanes) * share, s, start, each)  # (MO.5)
        spread(total(stretched) * share * q[g], t, start, each)
    repeat(s, channels)
    repeat(t, channels)


@inlined
def combine(dy, x, first, stop, dx, weights, past):  # type: ignore[no-untyped-def]
    """Set dx to (MO.4); weights = (a, b, c, d, r) for the places of a row."""
    row = weights[0].size
    whole = stop - (stop - first) % row
    for i in range(first, whole, row):
        for c in range(0, row, 16):
            put(dx, i + c, _combined(load(dy, i + c), load(x, i + c), weights, c), past)
    for c in range(0, stop - whole, 16):
        i = whole + c
        part = _combined(load_part(dy, i, stop), load_part(x, i, stop), weights, c)
        store_part(dx, i, part, i, stop)


@inlined
def _combined(dy, x, weights, c):  # type: ignore[no-untyped-def]
    a, b, centre, d, r = weights
    rest = fused(x - load(centre, c), load(b, c), load(d, c))
    return (dy * load(a, c) + rest) * load(r, c)  # (MO.4)
