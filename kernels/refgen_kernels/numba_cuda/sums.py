"""Sums over each sample, in the pass that computes their terms. Mirrors cupy_cuda/sums.cuh.

A kernel asks `first_and_last` for the elements that its block takes and goes through them TILE at
a time: it writes their terms to shared memory, and `keep` adds them up and leaves the sums.
"""

import numpy as np
from numba import cuda

from refgen_kernels.device.sums import TILE as TILE  # what a kernel's shared array holds
from refgen_kernels.numba_cuda.build import device
from refgen_kernels.numba_cuda.noise import SIXTEEN, D, box_muller, counters, place
from refgen_kernels.numba_cuda.reduce import fold

F, I = np.float32, np.int32
STEP = I(TILE)
PARTS = "int, int, int, int, int"  # samples, each_sample, together, pieces, piece


@device
def first_and_last(samples, each_sample, together, pieces, piece):  # type: ignore[no-untyped-def]
    """Return where the block's elements begin, and where they end."""
    block = I(cuda.blockIdx.x)
    if pieces > I(1):
        sample = I(block // pieces)
        lo = I(sample * each_sample + (block - sample * pieces) * piece)
        return lo, min(I(lo + piece), I((sample + I(1)) * each_sample))
    lo = I(block * together * each_sample)
    return lo, min(I(lo + together * each_sample), I(samples * each_sample))


@device
def keep(terms, count, sums, begun, each_sample, together, pieces):  # type: ignore[no-untyped-def]
    """Add up `count` terms; each sum goes to its place in sums, or is added to what is there."""
    block = I(cuda.blockIdx.x)
    length = count if pieces > I(1) else each_sample
    runs = I(count // length)
    fold(terms, length, runs)
    for run in range(I(cuda.threadIdx.x), runs, I(cuda.blockDim.x)):
        at = I(block * together + run)
        x = terms[run * length]
        sums[at] = sums[at] + x if begun else x
    cuda.syncthreads()  # before the next tile


@device
def draw(noise, lo, hi, seed, a, b, c, block, offset):  # type: ignore[no-untyped-def]
    """Write the normals of elements lo .. hi of a draw to noise[0 ..], a counter to a thread."""
    first = I((offset + lo) // I(64) * I(16) + I(cuda.threadIdx.x))
    for j in range(first, counters(offset, hi), I(cuda.blockDim.x)):
        four = box_muller(SIXTEEN * block + D(j), seed, a, b, c)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if lo <= i < hi:
                noise[i - lo] = four[k]
    cuda.syncthreads()


def add_shares(shares, sums, samples, each_sample, together, pieces, piece):  # type: ignore[no-untyped-def]
    """Add the shares that the blocks of a first launch left."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            terms[i - tile] = shares[i]
        keep(terms, I(end - tile), sums, tile > lo, each_sample, together, pieces)
