"""Sums by a tree in shared memory, in an order that is always the same."""

import numpy as np
from numba import cuda

from refgen_kernels.numba_cuda.build import device

I = np.int32


@device
def fold(terms, length, runs):  # type: ignore[no-untyped-def]
    """Add up the first `runs` runs of `length` terms each, in place: the sum is a run's first.

    A tree: the upper half is added to the lower until one is left, whoever does it, so the sum
    depends neither on the size of the block nor on the other runs. All threads of a
    one-dimensional block must call; the terms of others may be read before (a barrier comes
    first) and the sums after (a barrier comes last).
    """
    cuda.syncthreads()
    left = I(length)
    while left > I(1):
        moved = I(left // I(2))
        kept = I(left - moved)
        for k in range(I(cuda.threadIdx.x), I(runs * moved), I(cuda.blockDim.x)):
            run = I(k // moved)
            at = I(run * length + (k - run * moved))
            terms[at] += terms[at + kept]
        cuda.syncthreads()
        left = kept


@device
def block_sum(x, held):  # type: ignore[no-untyped-def]
    """Return the sum of x over all threads of the block; `held` is shared, an entry a thread.

    All threads must call, and every one gets the sum.
    """
    cuda.syncthreads()  # an earlier sum may still be read
    held[cuda.threadIdx.x] = x
    fold(held, cuda.blockDim.x, 1)
    return held[0]
