"""Groups of channels: how blocks share them, and their means and variances.

Mirrors cupy_cuda/moments.cuh, with the same launches. A block takes the groups of its bundle one
after another; dynamic shared memory holds a number for each thread, for sums, and then as much of
a group as fits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float32

from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.reduce import block_sum, fold

F, I = np.float32, np.int32
ZERO, ONE = F(0), F(1)
RUN_ACROSS = I(32)  # columns of a block that adds rows
SIZES = "int, int, int"  # places, channels, groups


@device
def seat_at(columns):  # type: ignore[no-untyped-def]
    """Return (across, down, column, row): a thread's seat at a table of so many columns."""
    threads, own = I(cuda.blockDim.x), I(cuda.threadIdx.x)
    across = min(I(columns), threads)
    row = I(own // across)
    return across, I(threads // across), I(own - row * across), row


@device
def bundle_of_block(groups, bundle):  # type: ignore[no-untyped-def]
    """Return (example, first group, last group + 1)."""
    each = I((groups + bundle - I(1)) // bundle)
    n = I(cuda.blockIdx.x // each)
    first = I((cuda.blockIdx.x - n * each) * bundle)
    return n, first, min(I(first + bundle), I(groups))


@device
def part_of(block, places, rows):  # type: ignore[no-untyped-def]
    """Return (example, first row, last row + 1)."""
    each = I((places + rows - I(1)) // rows)
    n = I(block // each)
    first = I((block - n * each) * rows)
    return n, first, min(I(first + rows), I(places))


@device
def offset(e, width, channels):  # type: ignore[no-untyped-def]
    """Return where number e of a group lies, counted from its first."""
    row = I(e // width)
    return I(row * channels + (e - row * width))


@device
def measure_group(x, origin, places, channels, width, capacity, eps, shared):  # type: ignore[no-untyped-def]
    """Return the first number of a group, its mean less that, and r; keep what fits."""
    threads, count = I(cuda.blockDim.x), I(places * width)
    shift, total, squares = x[origin], ZERO, ZERO
    for e in range(I(cuda.threadIdx.x), count, threads):
        value = x[origin + offset(e, width, channels)] - shift
        if e < capacity:
            shared[threads + e] = value
        total += value
    mean = block_sum(total, shared) / F(count)
    for e in range(I(cuda.threadIdx.x), count, threads):
        apart = value_of(x, origin, e, channels, width, capacity, shift, shared) - mean
        squares += apart * apart
    var = block_sum(squares, shared) / F(count)
    return shift, mean, ONE / math.sqrt(var + eps)  # (NM.1)


@device
def value_of(x, origin, e, channels, width, capacity, shift, shared):  # type: ignore[no-untyped-def]
    """Return number e of a group, less its first: as kept, or read again."""
    if e < capacity:
        return shared[I(cuda.blockDim.x) + e]
    return x[origin + offset(e, width, channels)] - shift


def measure_part(x, shares, places, channels, groups, rows):  # type: ignore[no-untyped-def]
    """Measure each channel of a part: mean less the first of its group, squares about it."""
    shared = cuda.shared.array(0, float32)
    n, first, last = part_of(I(cuda.blockIdx.x), places, rows)
    width, start = I(channels // groups), I(n * places * channels)
    across, down, column, row = seat_at(channels)
    to = I(cuda.blockIdx.x * 2 * channels)
    for c0 in range(I(0), I(channels), across):
        c = I(c0 + column)
        seated = row < down and c < channels
        shift, total, squares = ZERO, ZERO, ZERO
        if seated:
            shift = x[start + c // width * width]
            for p in range(first + row, last, down):
                total += x[start + p * channels + c] - shift
        mean = column_sum(total, shared, across, down, column, row) / F(last - first)
        if seated:
            for p in range(first + row, last, down):
                apart = x[start + p * channels + c] - shift - mean
                squares += apart * apart
        about = column_sum(squares, shared, across, down, column, row)
        if seated and row == 0:
            shares[to + c] = mean
            shares[to + channels + c] = about


@device
def column_sum(x, shared, across, down, column, row):  # type: ignore[no-untyped-def]
    """Return the sum of what the threads of a column have. All threads must call."""
    cuda.syncthreads()  # an earlier sum may still be read
    if row < down:
        shared[column * down + row] = x
    fold(shared, down, across)
    return shared[column * down]


def join_measures(  # type: ignore[no-untyped-def]
    eps, x, shares, apart, mean, var, rstd, places, channels, groups, rows
):
    """Join the parts and channels of a group, a block to each."""
    shared = cuda.shared.array(0, float32)
    width, parts = I(channels // groups), I((places + rows - I(1)) // rows)
    block, threads = I(cuda.blockIdx.x), I(cuda.blockDim.x)
    n = I(block // groups)
    first = I((block - n * groups) * width)
    start, numbers = I(2 * n * parts * channels + first), F(places * width)
    total = ZERO
    for i in range(I(cuda.threadIdx.x), I(parts * width), threads):
        part = I(i // width)
        have = F(min(I(rows), I(places - part * rows)))
        total += have * shares[start + 2 * part * channels + (i - part * width)]
    m = block_sum(total, shared) / numbers
    total = ZERO
    for i in range(I(cuda.threadIdx.x), I(parts * width), threads):
        part = I(i // width)
        have = F(min(I(rows), I(places - part * rows)))
        at = start + 2 * part * channels + (i - part * width)
        d = shares[at] - m
        total += shares[at + channels] + have * d * d
    v = block_sum(total, shared) / numbers
    if cuda.threadIdx.x == 0:
        apart[block] = m
        mean[block] = x[n * places * channels + first] + m
        var[block] = v
        rstd[block] = ONE / math.sqrt(v + eps)  # (NM.1)


def normalizes_part(write: Callable[..., Any]) -> Any:
    """Return a function that normalizes a part: write(i, n, c, x - mean, r, *given)."""

    @device
    def normalize_part(x, apart, rstd, places, channels, groups, rows, given):  # type: ignore[no-untyped-def]
        block = I(cuda.gridDim.x - 1 - cuda.blockIdx.x)
        n, first, last = part_of(block, places, rows)
        width, start = I(channels // groups), I(n * places * channels)
        across, down, column, row = seat_at(channels)
        if row < down:
            for c in range(column, I(channels), across):
                group = I(c // width)
                shift, mean = x[start + group * width], apart[n * groups + group]
                r = rstd[n * groups + group]
                for p in range(first + row, last, down):
                    i = I(start + p * channels + c)
                    write(i, n, c, x[i] - shift - mean, r, given)

    return normalize_part


def add_rows(x, sums, count, width, rows):  # type: ignore[no-untyped-def]
    """Add up to `rows` of `count` rows of `width` numbers."""
    shared = cuda.shared.array(0, float32)
    across, down, column, row = seat_at(RUN_ACROSS)
    first = I(cuda.blockIdx.y * rows)
    last = min(I(first + rows), I(count))
    for c0 in range(I(0), RUN_ACROSS, across):  # a block of less than 32 threads goes round
        c = I(cuda.blockIdx.x * RUN_ACROSS + c0 + column)
        own = ZERO
        if row < down and c < width:
            for p in range(first + row, last, down):
                own += x[p * width + c]
        own = column_sum(own, shared, across, down, column, row)
        if row == 0 and c < width:
            sums[cuda.blockIdx.y * width + c] = own


def shared_kernels(cu: Kernels) -> None:
    """Add the kernels that all norms use to those of a module."""
    cu.kernel(f"float*, float*, {SIZES}, int")(measure_part)
    cu.kernel(f"float, float*, float*, float*, float*, float*, float*, {SIZES}, int")(join_measures)
    cu.kernel("float*, float*, int, int, int")(add_rows)
