"""The three products of convolutions and dense layers; the plan is that of products.cu, simpler.

A block makes TILE × TILE results, a thread PER × PER of them, from slices of shared memory; see
slices.py. Numba reaches no tensor cores, so every precision is fp32 here.
"""

import numpy as np
from numba import cuda

from refgen_kernels.device.products import Products, Tiling
from refgen_kernels.numba_cuda.build import SIMULATED, Kernels, device
from refgen_kernels.numba_cuda.slices import (
    DEPTH,
    LINE,
    PER,
    RUN,
    SIDE,
    SLICE,
    THREADS,
    TILE,
    ZERO,
    F,
    clear,
    fetch_lines,
    fetch_windows,
    find_windows,
    first_tap,
    mine,
    multiply,
    next_tap,
    over,
    part_of,
    parts_of,
    phase_of,
    put_column,
    put_depth,
    tile_of,
)

TURNED = 4 if SIMULATED else 32  # side of the tiles of add_taps
TURNED_LINE = TURNED + 1


class Variants(Products, Kernels):
    """The kernels, which have one tile and one precision."""

    sides = (TILE,)
    turned = TURNED

    def tiling(self, side: int, wide: bool, precision: str) -> Tiling:
        """Return the kernels."""
        return Tiling(self, TILE, DEPTH, THREADS)


CU = Variants(__name__)


SIZES = "int, int, int, int, int, int, int, int, int, int, int, int, int, int"


@CU.kernel(f"float*, float*, float*, float*, {SIZES}")
def correlate(x, w, b, y, N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep):  # type: ignore[no-untyped-def]
    """Make y = P(x) w + b  (CV.2): a row is a window, a column a filter."""
    left = cuda.shared.array(SLICE, F)
    right = cuda.shared.array(SLICE, F)
    starts = cuda.shared.array((3, TILE), np.int32)
    sums = cuda.local.array((PER, PER), F)
    held_left = cuda.local.array(RUN, F)
    held_right = cuda.local.array(RUN, F)
    clear(sums)
    rows, depth, part = N * I * J, U * V * C, cuda.blockIdx.z
    row, column = tile_of(O)
    first, last = part_of(depth, part, deep)
    find_windows(starts, row, rows, (I, -pv, sv), (J, -ph, sh))
    tap = first_tap(first + cuda.threadIdx.x % DEPTH, (U, V), C)
    cuda.syncthreads()
    fetch_windows(held_left, starts, x, (H, W, C), tap, 1)
    fetch_lines(held_right, w, first, depth, O, column)
    for k in range(first, last, DEPTH):
        put_depth(left, held_left)
        put_column(right, held_right)
        cuda.syncthreads()
        tap = next_tap(tap, (U, V), C)
        fetch_windows(held_left, starts, x, (H, W, C), tap, 1)
        fetch_lines(held_right, w, k + DEPTH, depth, O, column)
        multiply(sums, left, right)
        cuda.syncthreads()
    i, o = mine(row, column)
    for r in range(PER):
        for c in range(PER):
            if i + r * SIDE < rows and o + c * SIDE < O:
                bias = b[o + c * SIDE] if b.shape[0] > 0 else ZERO
                y[(part * rows + i + r * SIDE) * O + o + c * SIDE] = sums[r, c] + bias


@device
def fetch_filters(held, w, filters, tap, column):  # type: ignore[no-untyped-def]
    """Read one depth (t, t', o) of the filters of a phase, for some channels."""
    first_u, sv, first_v, sh, V, C, O = filters
    inside, down, across, o = tap
    line = ((first_u + sv * down) * V + first_v + sh * across) * C
    for q in range(RUN):
        c = column + cuda.threadIdx.x // DEPTH + q * (THREADS // DEPTH)
        held[q] = ZERO
        if inside and c < C:
            held[q] = w[(line + c) * O + o]


@CU.kernel(f"float*, float*, float*, float*, {SIZES}")
def spread(y, w, b, x, N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep):  # type: ignore[no-untyped-def]
    """Make x from y and w, (CV.4) and (CV.5), phase by phase: a row is a pixel of the phase."""
    left = cuda.shared.array(SLICE, F)
    right = cuda.shared.array(SLICE, F)
    starts = cuda.shared.array((3, TILE), np.int32)
    sums = cuda.local.array((PER, PER), F)
    held_left = cuda.local.array(RUN, F)
    held_right = cuda.local.array(RUN, F)
    clear(sums)
    phases = sv * sh
    part, phase = cuda.blockIdx.z // phases, cuda.blockIdx.z % phases
    down, across = phase // sh, phase % sh
    height, first_i, first_u, taps_down = phase_of(down, sv, pv, U, H)
    width, first_j, first_v, taps_across = phase_of(across, sh, ph, V, W)
    rows, depth = N * height * width, taps_down * taps_across * O
    row, column = tile_of(C)
    first, last = part_of(depth, part, deep)
    find_windows(starts, row, rows, (height, first_i, 1), (width, first_j, 1))
    taps, filters = (taps_down, taps_across), (first_u, sv, first_v, sh, V, C, O)
    tap = first_tap(first + cuda.threadIdx.x % DEPTH, taps, O)
    cuda.syncthreads()
    fetch_windows(held_left, starts, y, (I, J, O), tap, -1)
    fetch_filters(held_right, w, filters, tap, column)
    for _ in range(first, last, DEPTH):
        put_depth(left, held_left)
        put_depth(right, held_right)
        cuda.syncthreads()
        tap = next_tap(tap, taps, O)
        fetch_windows(held_left, starts, y, (I, J, O), tap, -1)
        fetch_filters(held_right, w, filters, tap, column)
        multiply(sums, left, right)
        cuda.syncthreads()
    for r in range(cuda.threadIdx.x, TILE, THREADS):  # where pixels go takes divisions: once each
        line = (row + r) // max(width, 1)
        n = line // max(height, 1)
        pixel = (n * H + down + sv * (line - n * height)) * W
        starts[0, r] = pixel + across + sh * (row + r - line * width)
    cuda.syncthreads()
    i, c = mine(0, column)
    for r in range(PER):
        for q in range(PER):
            if row + i + r * SIDE < rows and c + q * SIDE < C:
                bias = b[c + q * SIDE] if b.shape[0] > 0 else ZERO
                place = part * N * H * W + starts[0, i + r * SIDE]
                x[place * C + c + q * SIDE] = sums[r, q] + bias


@device
def fetch_tap(held, x, image, windows, tap, first, depth):  # type: ignore[no-untyped-def]
    """Read what some windows see at one tap and channel."""
    (H, W, C), (I, J, sv, sh), (there, u, v, c) = image, windows, tap
    for q in range(RUN):
        k = first + cuda.threadIdx.x // TILE + q * (THREADS // TILE)
        line = over(k, J)
        n = over(line, I)
        a, e = sv * (line - n * I) + u, sh * (k - line * J) + v
        held[q] = ZERO
        if there and k < depth and 0 <= a < H and 0 <= e < W:
            held[q] = x[((n * H + a) * W + e) * C + c]


@CU.kernel(f"float*, float*, float*, {SIZES}")
def collect(x, dy, dw, N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep):  # type: ignore[no-untyped-def]
    """Make dw = P(x)ᵀ dy and, a row more, db  (CV.3): a row is a tap and channel."""
    left = cuda.shared.array(SLICE, F)
    right = cuda.shared.array(SLICE, F)
    sums = cuda.local.array((PER, PER), F)
    held_left = cuda.local.array(RUN, F)
    held_right = cuda.local.array(RUN, F)
    clear(sums)
    rows, depth, part = U * V * C, N * I * J, cuda.blockIdx.z
    row, column = tile_of(O)
    first, last = part_of(depth, part, deep)
    r = cuda.threadIdx.x % TILE
    total = ZERO  # of column r of dy
    at = (row + r) // max(C, 1)
    u = at // V
    there = row + r < rows
    tap = (there, u - pv, at - u * V - ph, row + r - at * C)
    image = (H, W, C)
    windows = (I, J, sv, sh)
    fetch_tap(held_left, x, image, windows, tap, first, depth)
    fetch_lines(held_right, dy, first, depth, O, column)
    for k in range(first, last, DEPTH):
        put_column(left, held_left)
        put_column(right, held_right)
        cuda.syncthreads()
        fetch_tap(held_left, x, image, windows, tap, k + DEPTH, depth)
        fetch_lines(held_right, dy, k + DEPTH, depth, O, column)
        multiply(sums, left, right)
        if row == 0:
            for d in range(DEPTH):
                total += right[d * LINE + r]
        cuda.syncthreads()
    i, o = mine(row, column)
    start = part * (rows + 1)
    for q in range(PER):
        for p in range(PER):
            if i + q * SIDE < rows and o + p * SIDE < O:
                dw[(start + i + q * SIDE) * O + o + p * SIDE] = sums[q, p]
    if row == 0 and cuda.threadIdx.x < TILE and column + r < O:
        dw[(start + rows) * O + column + r] = total


@CU.kernel("float*, float*, float*, int, int, int, int, int")
def add_rows(x, b, y, rows, row, each_part, period, count):  # type: ignore[no-untyped-def]
    """Add rows p each_part .. (p + 1) each_part of x, and b, which repeats along a row."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        part = i // row
        at = i - part * row
        even, odd = ZERO, ZERO
        last = min((part + 1) * each_part, rows)
        for r in range(part * each_part, last - 1, 2):
            even += x[r * row + at]
            odd += x[(r + 1) * row + at]
        if (last - part * each_part) % 2 == 1:
            even += x[(last - 1) * row + at]
        y[i] = even + odd + (b[i % period] if b.shape[0] > 0 else ZERO)


@CU.kernel("float*, float*, int, int, int, int, int, int")
def add_taps(w, sums, R, S, A, B, P, Q):  # type: ignore[no-untyped-def]
    """Make filters (P, Q, B, A), of which each tap is a sum of four of w, (R, S, A, B)."""
    tile = cuda.shared.array((TURNED, TURNED_LINE), F)
    across = parts_of(B, TURNED)
    down = cuda.blockIdx.x // across
    a, b = down * TURNED, (cuda.blockIdx.x - down * across) * TURNED
    p, q = cuda.blockIdx.y // Q, cuda.blockIdx.y % Q
    x, y, step = cuda.threadIdx.x % TURNED, cuda.threadIdx.x // TURNED, cuda.blockDim.x // TURNED
    for i in range(y, TURNED, step):
        total = ZERO
        for k in range(4):
            r, s = min(R, P) - 1 - p + k // 2, min(S, Q) - 1 - q + k % 2
            if 0 <= r < R and 0 <= s < S and a + i < A and b + x < B:
                total += w[((r * S + s) * A + a + i) * B + b + x]
        tile[i, x] = total
    cuda.syncthreads()
    for i in range(y, TURNED, step):
        if b + i < B and a + x < A:
            sums[((p * Q + q) * B + b + i) * A + a + x] = tile[x, i]
