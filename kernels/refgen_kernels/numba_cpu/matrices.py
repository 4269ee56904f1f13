r"""Products of matrices on every core, and what they need: panels, turned copies, sums of rows.

Shapes     x : (N, I)    w : (I, O)    y, dy : (N, O), all flat; 16 divides I and O
Sources    goto2008-anatomy  (panels)

    y = x w + b,   dx = dy wᵀ,   dw = xᵀ dy,   db = Σ_rows dy                     (MX.1)

The right factor is laid out in panels first: as many columns as a tile has, row after row, so
that a tile reads it from one end to the other. Columns that are far apart in memory would fall
into the same few places of the cache and push each other out.

Each task owns a part of the result, so nothing depends on who does it. Sums over very many rows,
those of dw and db, are cut into groups of rows, whose shares are added in order.
"""

import numpy as np
from numba import prange

from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part, turn
from refgen_kernels.numba_cpu.arrays import empty, flat
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.simd import floats
from refgen_kernels.numba_cpu.tile import WIDE, multiply, multiply_turned

F = np.float32
ZERO = F(0)
ROWS = 64  # rows of the result in one task
DEPTH = 256  # steps of a sum between two visits to the result
GROUP = 4096  # rows that one group adds up, at least
GROUPS = 8


def padded(x: Array, axis: int = -1, multiple: int = 16) -> Array:
    """Return x with zeros appended along an axis up to a multiple."""
    missing = -x.shape[axis] % multiple
    if not missing:
        return x
    shape = list(x.shape)
    shape[axis] += missing
    wider = empty(tuple(shape))
    if axis in (-1, x.ndim - 1):
        _fill_up(wider.size, flat(x), flat(wider), x.shape[-1], shape[-1])
        return wider
    place = [slice(None)] * x.ndim
    place[axis] = slice(x.shape[axis])
    wider[...] = ZERO
    wider[tuple(place)] = x
    return wider


def panels(w: Array, matrices: int, rows: int, columns: int) -> Array:
    """Return the panels of matrices that lie one after another, (matrices, rows, columns)."""
    p = empty((w.size,))
    _panels(w.size, w, p, matrices, rows, columns)
    return p


def turned(w: Array, matrices: int, rows: int, columns: int) -> Array:
    """Return every matrix transposed: (matrices, columns, rows)."""
    t = empty((w.size,))
    _turn(w.size, w, t, matrices, rows, columns)
    return t


def turned_panels(w: Array, matrices: int, rows: int, columns: int) -> Array:
    """Return the panels of every matrix transposed."""
    p = empty((w.size,))
    _turned_panels(w.size, w, p, matrices, rows, columns)
    return p


def product(x: Array, p: Array, bias: Array, rows: int, inputs: int, outputs: int) -> Array:
    """Return x w + bias : (rows, outputs), from the panels of w."""
    y = empty((rows * outputs,))
    _product(rows * inputs * outputs // 16, x, p, bias, y, rows, inputs, outputs)
    return y


def product_turned(x: Array, dy: Array, rows: int, inputs: int, outputs: int) -> Array:
    """Return xᵀ dy : (inputs, outputs)."""
    groups = max(1, min(GROUPS, rows // GROUP))
    shares = empty((groups, inputs * outputs))
    _product_turned(rows * inputs * outputs // 16, x, dy, shares, rows, inputs, outputs)
    total: Array = shares[0] if groups == 1 else np.sum(shares, axis=0)
    return total


def row_sums(dy: Array, rows: int, outputs: int) -> Array:
    """Return Σ_rows dy : (outputs,)."""
    groups = max(1, min(64, rows // 256))
    shares = empty((groups, outputs))
    _row_sums(rows * outputs, dy, shares, rows, outputs)
    total: Array = np.sum(shares, axis=0)
    return total


def row_sums_of(x: Array, matrices: int, rows: int, columns: int) -> Array:
    """Return the sum over the rows of each of several matrices: (matrices, columns)."""
    sums = empty((matrices, columns))
    _row_sums(x.size, x, sums, matrices * rows, columns)
    return sums


@inlined
def panel_width(start, columns):  # type: ignore[no-untyped-def]
    """Return how many columns the panel that begins at start has: as many as a tile, or 16."""
    return WIDE if start + WIDE <= columns else 16


@kernel
def _fill_up(x, wider, columns, wide):  # type: ignore[no-untyped-def]
    rows = wider.size // wide
    for task in prange((rows + ROWS - 1) // ROWS):
        for i in range(task * ROWS, min(rows, (task + 1) * ROWS)):
            for j in range(0, wide, 16):
                store_part(wider, i * wide + j, floats(ZERO), i * wide, (i + 1) * wide)
            for j in range(0, columns, 16):
                part = load_part(x, i * columns + j, (i + 1) * columns)
                store_part(wider, i * wide + j, part, i * wide, i * wide + columns)


@kernel
def _panels(w, p, matrices, rows, columns):  # type: ignore[no-untyped-def]
    for task in prange(matrices * ((columns + WIDE - 1) // WIDE)):
        across = (columns + WIDE - 1) // WIDE
        first, start = task // across * rows * columns, task % across * WIDE
        while start < min(columns, (task % across + 1) * WIDE):
            width = panel_width(start, columns)
            to = first + start * rows
            for i in range(rows):
                for j in range(0, width, 16):
                    store(p, to + i * width + j, load(w, first + i * columns + start + j))
            start += width


@kernel
def _turn(w, t, matrices, rows, columns):  # type: ignore[no-untyped-def]
    for task in prange(matrices * (rows // 16)):
        first, i = task // (rows // 16) * rows * columns, task % (rows // 16) * 16
        for j in range(0, columns, 16):
            turn(w, first + i * columns + j, columns, t, first + j * rows + i, rows)


@kernel
def _turned_panels(w, p, matrices, rows, columns):  # type: ignore[no-untyped-def]
    for task in prange(matrices * (rows // 16)):
        first, i = task // (rows // 16) * rows * columns, task % (rows // 16) * 16
        start = i - i % WIDE
        width = panel_width(start, rows)
        start = start if width == WIDE else i
        to = first + start * columns + i - start
        for j in range(0, columns, 16):
            turn(w, first + i * columns + j, columns, p, to + j * width, width)


@kernel
def _product(x, p, bias, y, rows, inputs, outputs):  # type: ignore[no-untyped-def]
    across, down = (outputs + WIDE - 1) // WIDE, (rows + ROWS - 1) // ROWS
    for task in prange(across * down):
        start, top = task % across * WIDE, task // across * ROWS
        stop, count = min(outputs, start + WIDE), min(ROWS, rows - top)
        while start < stop:
            width = panel_width(start, outputs)
            for i in range(top, top + count):
                for j in range(start, start + width, 16):
                    store(y, i * outputs + j, load(bias, j))
            for k in range(0, inputs, DEPTH):
                a, b, c = top * inputs + k, start * inputs + k * width, top * outputs + start
                depth = min(DEPTH, inputs - k)
                multiply(x, a, p, b, y, c, inputs, 0, depth, 1, width, 0, outputs, 1, count, width)
            start += width


@kernel
def _product_turned(x, dy, shares, rows, inputs, outputs):  # type: ignore[no-untyped-def]
    groups = shares.shape[0]
    across, down = (outputs + WIDE - 1) // WIDE, (inputs + ROWS - 1) // ROWS
    for task in prange(groups * across * down):
        group, part = task // (across * down), task % (across * down)
        share = shares[group]
        start, left = part % across * WIDE, part // across * ROWS
        columns, count = min(WIDE, outputs - start), min(ROWS, inputs - left)
        first, stop = rows * group // groups, rows * (group + 1) // groups
        c, add = left * outputs + start, 0
        for k in range(first, stop, DEPTH):
            a, b, depth = k * inputs + left, k * outputs + start, min(DEPTH, stop - k)
            multiply_turned(
                x, a, dy, b, share, c, inputs, 0, depth, 1, outputs, 0, outputs, add, count, columns
            )
            add = 1
        if first >= stop:
            for i in range(count):
                for j in range(0, columns, 16):
                    store(share, c + i * outputs + j, floats(ZERO))


@kernel
def _row_sums(dy, shares, rows, outputs):  # type: ignore[no-untyped-def]
    groups = shares.shape[0]
    for group in prange(groups):
        first, stop = rows * group // groups, rows * (group + 1) // groups
        for j in range(0, outputs, 16):
            even, odd = floats(ZERO), floats(ZERO)
            for i in range(first, stop - 1, 2):
                even = even + load(dy, i * outputs + j)
                odd = odd + load(dy, (i + 1) * outputs + j)
            if (stop - first) % 2:
                even = even + load(dy, (stop - 1) * outputs + j)
            store(shares[group], j, even + odd)
