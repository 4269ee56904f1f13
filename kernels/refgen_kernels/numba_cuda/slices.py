"""Slices of two factors in shared memory: how a block brings them, and multiplies them.

For PER² multiplications a thread reads 2 PER numbers of shared memory, where all threads of the
block have put TILE rows and TILE columns of DEPTH numbers, depth by depth.

A thread reads its numbers of the next stage before it multiplies this one, and puts them down
afterwards: while it multiplies, they are on their way.

A slice of windows is found by where each window begins, which the block keeps in shared memory, and
by the tap and channel of each depth, which each thread follows for the depth that it brings.
"""

import numpy as np
from numba import cuda

from refgen_kernels.numba_cuda.build import SIMULATED, device

F, INT, UNSIGNED = np.float32, np.int32, np.uint32
ZERO = F(0)
SIDE = 2 if SIMULATED else 16  # threads of a block, down and across
PER = 2 if SIMULATED else 8  # results of a thread, down and across; they lie SIDE apart
TILE = SIDE * PER
DEPTH = 2 if SIMULATED else 16  # of a stage
THREADS = SIDE * SIDE
LINE = TILE + 1  # of a slice; so that no two numbers of a column lie in the same bank
SLICE = DEPTH * LINE
RUN = TILE * DEPTH // THREADS  # numbers of a slice that a thread brings
NOWHERE = INT(-(1 << 30))  # a pixel outside of every image


@device
def parts_of(whole, part):  # type: ignore[no-untyped-def]
    """Return how many parts make the whole."""
    return (whole + part - 1) // part


@device
def over(a, b):  # type: ignore[no-untyped-def]
    """Return a // b of numbers that are not negative, in 32 bits: in 64 it takes far longer."""
    return INT(UNSIGNED(a) // UNSIGNED(b))


@device
def tile_of(columns):  # type: ignore[no-untyped-def]
    """Return the first row and the first column of the block's results."""
    across = parts_of(columns, TILE)
    down = cuda.blockIdx.x // across
    return down * TILE, (cuda.blockIdx.x - down * across) * TILE


@device
def part_of(depth, part, deep):  # type: ignore[no-untyped-def]
    """Return where the block's part of the depth begins, and where it ends."""
    first = part * deep * DEPTH
    return first, min(first + deep * DEPTH, depth)


@device
def find_windows(starts, row, rows, down, across):  # type: ignore[no-untyped-def]
    """Leave in shared memory where the windows of the tile's rows begin: image, line, pixel."""
    windows_down, first_down, step_down = down
    windows_across, first_across, step_across = across
    for r in range(cuda.threadIdx.x, TILE, THREADS):
        window = row + r
        line = window // max(windows_across, 1)
        n = line // max(windows_down, 1)
        i, j = line - n * windows_down, window - line * windows_across
        starts[0, r] = n
        starts[1, r] = first_down + step_down * i if window < rows else NOWHERE
        starts[2, r] = first_across + step_across * j


@device
def fetch_windows(held, starts, x, image, tap, along):  # type: ignore[no-untyped-def]
    """Read one depth of some windows: the channel c of the pixels that they read at a tap."""
    height, width, channels = image
    inside, u, v, c = tap
    for q in range(RUN):
        r = cuda.threadIdx.x // DEPTH + q * (THREADS // DEPTH)
        i, j = starts[1, r] + along * u, starts[2, r] + along * v
        held[q] = ZERO
        if inside and 0 <= i < height and 0 <= j < width:
            held[q] = x[((starts[0, r] * height + i) * width + j) * channels + c]


@device
def put_depth(to, held):  # type: ignore[no-untyped-def]
    """Put down what was read of one depth."""
    place = cuda.threadIdx.x % DEPTH * LINE + cuda.threadIdx.x // DEPTH
    for q in range(RUN):
        to[place + q * (THREADS // DEPTH)] = held[q]


@device
def fetch_lines(held, w, first, depth, columns, column):  # type: ignore[no-untyped-def]
    """Read one column of some lines of a matrix (depth, columns)."""
    o = column + cuda.threadIdx.x % TILE
    for q in range(RUN):
        k = first + cuda.threadIdx.x // TILE + q * (THREADS // TILE)
        held[q] = ZERO
        if k < depth and o < columns:
            held[q] = w[k * columns + o]


@device
def put_column(to, held):  # type: ignore[no-untyped-def]
    """Put down what was read of one column."""
    place = cuda.threadIdx.x // TILE * LINE + cuda.threadIdx.x % TILE
    for q in range(RUN):
        to[place + q * (THREADS // TILE) * LINE] = held[q]


@device
def multiply(sums, left, right):  # type: ignore[no-untyped-def]
    """Add the products of two slices to this thread's results.

    Places are unsigned: a signed one might count from the end, and is looked at each time.
    """
    i, j = UNSIGNED(cuda.threadIdx.x // SIDE), UNSIGNED(cuda.threadIdx.x % SIDE)
    for k in range(UNSIGNED(DEPTH)):
        a, b = k * UNSIGNED(LINE) + i, k * UNSIGNED(LINE) + j
        for r in range(UNSIGNED(PER)):
            for c in range(UNSIGNED(PER)):
                sums[r, c] += left[a + r * UNSIGNED(SIDE)] * right[b + c * UNSIGNED(SIDE)]


@device
def next_tap(tap, taps, channels):  # type: ignore[no-untyped-def]
    """Return the tap and channel one stage on."""
    _, u, v, c = tap
    c += DEPTH
    while c >= channels:
        c -= channels
        v += 1
        if v == taps[1]:
            v = 0
            u += 1
    return u < taps[0], u, v, c


@device
def first_tap(k, taps, channels):  # type: ignore[no-untyped-def]
    """Return the tap and channel of depth k."""
    tap = k // max(channels, 1)
    u = tap // max(taps[1], 1)
    return u < taps[0] and taps[1] > 0, u, tap - u * taps[1], k - tap * channels


@device
def phase_of(phase, stride, padding, taps, pixels):  # type: ignore[no-untyped-def]
    """Return an axis of a phase (spread.cuh): pixels, their first line, first tap, taps."""
    whole = phase + padding
    first = whole % stride
    windows = parts_of(max(pixels - phase, 0), stride)
    return windows, (whole - first) // stride, first, parts_of(max(taps - first, 0), stride)


@device
def clear(sums):  # type: ignore[no-untyped-def]
    """Begin sums at nothing."""
    for r in range(PER):
        for c in range(PER):
            sums[r, c] = ZERO


@device
def mine(row, column):  # type: ignore[no-untyped-def]
    """Return the first row and the first column of this thread's results."""
    return row + cuda.threadIdx.x // SIDE, column + cuda.threadIdx.x % SIDE
