r"""Winograd's transforms at six points, for one axis and for both; see winograd.py.

Each is a matrix of (WG.1) written out, since most of its entries are 0, 1 or −1: from inputs to
points (Bᵀ d), from weights (G w), from points to outputs (Aᵀ m), and the adjoints of the last two,
from gradients to points (A dy) and from points to weights (Gᵀ dU). On images a tile is
transformed down every column, then across every row, in registers.
"""

import numpy as np

from refgen_kernels.numba_cpu.access import load, store
from refgen_kernels.numba_cpu.build import inlined
from refgen_kernels.numba_cpu.simd import floats, fused

F = np.float32
TWO, FOUR, FIVE, EIGHT = F(2), F(4), F(5), F(8)
QUARTER, SIXTH, TWELFTH, TWENTY_FOURTH = F(1 / 4), F(1 / 6), F(1 / 12), F(1 / 24)


# The transforms of one axis.


@inlined
def data_points(d0, d1, d2, d3, d4, d5):  # type: ignore[no-untyped-def]
    """Return Bᵀ d."""
    four, five = floats(FOUR), floats(-FIVE)
    even, odd = fused(d2, floats(-FOUR), d4), fused(d1, floats(-FOUR), d3)
    far, turn = d4 - d2, (d3 - d1) * TWO
    first = fused(d0, four, fused(d2, five, d4))
    last = fused(d1, four, fused(d3, five, d5))
    return first, even + odd, even - odd, far + turn, far - turn, last


@inlined
def filter_points(w0, w1, w2):  # type: ignore[no-untyped-def]
    """Return G w."""
    outer, middle = (w0 + w2) * -SIXTH, w1 * SIXTH
    far = fused(w0, floats(TWENTY_FOURTH), w2 * SIXTH)
    turn = w1 * TWELFTH
    return w0 * QUARTER, outer - middle, outer + middle, far + turn, far - turn, w2


@inlined
def output_points(m0, m1, m2, m3, m4, m5):  # type: ignore[no-untyped-def]
    """Return Aᵀ m."""
    near, far, even, odd = m1 + m2, m3 + m4, m1 - m2, m3 - m4
    y1, y2 = fused(odd, floats(TWO), even), fused(far, floats(FOUR), near)
    return m0 + near + far, y1, y2, fused(odd, floats(EIGHT), even) + m5


@inlined
def gradient_points(y0, y1, y2, y3):  # type: ignore[no-untyped-def]
    """Return A dy."""
    even, odd = y0 + y2, y1 + y3
    far, turn = fused(y2, floats(FOUR), y0), fused(y3, floats(FOUR), y1) * TWO
    return y0, even + odd, even - odd, far + turn, far - turn, y3


@inlined
def filter_gradient(u0, u1, u2, u3, u4, u5):  # type: ignore[no-untyped-def]
    """Return Gᵀ dU."""
    near, far = (u1 + u2) * -SIXTH, u3 + u4
    w0 = fused(far, floats(TWENTY_FOURTH), fused(u0, floats(QUARTER), near))
    w1 = fused(u3 - u4, floats(TWELFTH), (u2 - u1) * SIXTH)
    return w0, w1, fused(far, floats(SIXTH), near) + u5


# Both axes, sixteen channels at a time.


@inlined
def read6(x, at, step):  # type: ignore[no-untyped-def]
    """Read six vectors, `step` floats apart."""
    a, b, c = load(x, at), load(x, at + step), load(x, at + 2 * step)
    return a, b, c, load(x, at + 3 * step), load(x, at + 4 * step), load(x, at + 5 * step)


@inlined
def write6(x, at, step, row):  # type: ignore[no-untyped-def]
    """Write six vectors, `step` floats apart."""
    store(x, at, row[0])
    store(x, at + step, row[1])
    store(x, at + 2 * step, row[2])
    store(x, at + 3 * step, row[3])
    store(x, at + 4 * step, row[4])
    store(x, at + 5 * step, row[5])


@inlined
def data_tile(x, at, down, right, v, to, step):  # type: ignore[no-untyped-def]
    """Set the 36 points v[to + ξ step] to Bᵀ d B of the 6 x 6 pixels from x[at] on."""
    c0 = data_points(*read6(x, at, down))
    c1 = data_points(*read6(x, at + right, down))
    c2 = data_points(*read6(x, at + 2 * right, down))
    c3 = data_points(*read6(x, at + 3 * right, down))
    c4 = data_points(*read6(x, at + 4 * right, down))
    c5 = data_points(*read6(x, at + 5 * right, down))
    write6(v, to, step, data_points(c0[0], c1[0], c2[0], c3[0], c4[0], c5[0]))
    write6(v, to + 6 * step, step, data_points(c0[1], c1[1], c2[1], c3[1], c4[1], c5[1]))
    write6(v, to + 12 * step, step, data_points(c0[2], c1[2], c2[2], c3[2], c4[2], c5[2]))
    write6(v, to + 18 * step, step, data_points(c0[3], c1[3], c2[3], c3[3], c4[3], c5[3]))
    write6(v, to + 24 * step, step, data_points(c0[4], c1[4], c2[4], c3[4], c4[4], c5[4]))
    write6(v, to + 30 * step, step, data_points(c0[5], c1[5], c2[5], c3[5], c4[5], c5[5]))


@inlined
def _write4(y, at, right, row, bias):  # type: ignore[no-untyped-def]
    store(y, at, row[0] + bias)
    store(y, at + right, row[1] + bias)
    store(y, at + 2 * right, row[2] + bias)
    store(y, at + 3 * right, row[3] + bias)


@inlined
def output_tile(m, at, step, y, to, down, right, bias):  # type: ignore[no-untyped-def]
    """Set 4 x 4 pixels from y[to] on to Aᵀ M A + bias of the points m[at + ξ step]."""
    c0 = output_points(*read6(m, at, 6 * step))
    c1 = output_points(*read6(m, at + step, 6 * step))
    c2 = output_points(*read6(m, at + 2 * step, 6 * step))
    c3 = output_points(*read6(m, at + 3 * step, 6 * step))
    c4 = output_points(*read6(m, at + 4 * step, 6 * step))
    c5 = output_points(*read6(m, at + 5 * step, 6 * step))
    _write4(y, to, right, output_points(c0[0], c1[0], c2[0], c3[0], c4[0], c5[0]), bias)
    _write4(y, to + down, right, output_points(c0[1], c1[1], c2[1], c3[1], c4[1], c5[1]), bias)
    _write4(y, to + 2 * down, right, output_points(c0[2], c1[2], c2[2], c3[2], c4[2], c5[2]), bias)
    _write4(y, to + 3 * down, right, output_points(c0[3], c1[3], c2[3], c3[3], c4[3], c5[3]), bias)


@inlined
def _read4(y, at, down):  # type: ignore[no-untyped-def]
    return load(y, at), load(y, at + down), load(y, at + 2 * down), load(y, at + 3 * down)


@inlined
def gradient_tile(dy, at, down, right, d, to, step):  # type: ignore[no-untyped-def]
    """Set the 36 points d[to + ξ step] to A dy Aᵀ of 4 x 4 pixels; return the pixels' sum."""
    p0, p1 = _read4(dy, at, down), _read4(dy, at + right, down)
    p2, p3 = _read4(dy, at + 2 * right, down), _read4(dy, at + 3 * right, down)
    c0, c1, c2, c3 = (
        gradient_points(*p0),
        gradient_points(*p1),
        gradient_points(*p2),
        gradient_points(*p3),
    )
    write6(d, to, step, gradient_points(c0[0], c1[0], c2[0], c3[0]))
    write6(d, to + 6 * step, step, gradient_points(c0[1], c1[1], c2[1], c3[1]))
    write6(d, to + 12 * step, step, gradient_points(c0[2], c1[2], c2[2], c3[2]))
    write6(d, to + 18 * step, step, gradient_points(c0[3], c1[3], c2[3], c3[3]))
    write6(d, to + 24 * step, step, gradient_points(c0[4], c1[4], c2[4], c3[4]))
    write6(d, to + 30 * step, step, gradient_points(c0[5], c1[5], c2[5], c3[5]))
    return c0[1] + c1[1] + c2[1] + c3[1]  # row 1 of A dy adds up a column


@inlined
def write3(x, at, step, row):  # type: ignore[no-untyped-def]
    """Write three vectors, `step` floats apart."""
    store(x, at, row[0])
    store(x, at + step, row[1])
    store(x, at + 2 * step, row[2])
