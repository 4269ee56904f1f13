"""Loops over samples: a number for each sample goes in, or a sum over each sample comes out.

Sums do not depend on who adds. A task is CHUNK elements: whole samples where they are small, a
piece of one where it is large. Each piece has a place for its share, float64, and the shares of
a sample are added in order at the end.
"""

import numpy as np

from refgen_kernels.numba_cpu.access import load, load_part
from refgen_kernels.numba_cpu.build import CHUNK, inlined
from refgen_kernels.numba_cpu.simd import floats, total

RUN = 256  # elements added up lane by lane before their sum is carried on in float64
ZERO = np.float32(0)


@inlined
def each_sample(do, arrays, per_sample, lo, hi):  # type: ignore[no-untyped-def]
    """Call do(arrays, sample, lo, hi) for the part of every sample in lo .. hi.

    What `do` is, is known when the loop is compiled: it becomes a part of it.
    """
    sample = lo // per_sample
    while lo < hi:
        stop = min(hi, (sample + 1) * per_sample)
        do(arrays, sample, lo, stop)
        lo, sample = stop, sample + 1


@inlined
def places(size, samples):  # type: ignore[no-untyped-def]
    """Return room for the shares: (samples, pieces of one sample)."""
    per_sample = size // max(1, samples)
    return np.empty((samples, (per_sample + CHUNK - 1) // CHUNK))


@inlined
def tasks(size, shares):  # type: ignore[no-untyped-def]
    """Return the number of tasks: pieces of one sample, or several samples."""
    samples, pieces = shares.shape
    at_once = max(1, CHUNK * samples // max(1, size))
    return (samples * pieces + at_once - 1) // at_once


@inlined
def task_of(size, shares, task):  # type: ignore[no-untyped-def]
    """Return the elements lo .. hi of a task, at most CHUNK."""
    samples, pieces = shares.shape
    per_sample = size // samples
    if pieces > 1:
        lo = task // pieces * per_sample + task % pieces * CHUNK
        return lo, min(lo + CHUNK, (task // pieces + 1) * per_sample)
    at_once = CHUNK // per_sample
    return task * at_once * per_sample, min(samples, (task + 1) * at_once) * per_sample


@inlined
def share(terms, first, shares, size, lo, hi):  # type: ignore[no-untyped-def]
    """Set the shares of a task to the sums of its terms; that of element lo is terms[first]."""
    per_sample = size // shares.shape[0]
    sample = lo // per_sample
    piece = (lo - sample * per_sample) // CHUNK
    before = lo - first
    while lo < hi:
        stop = min(hi, (sample + 1) * per_sample)
        shares[sample, piece] = _sum(terms, lo - before, stop - before)
        lo, sample = stop, sample + 1


@inlined
def add_shares(shares, sums):  # type: ignore[no-untyped-def]
    """Set each sample's sum to that of its shares, in order."""
    for sample in range(sums.size):
        whole = 0.0
        for piece in range(shares.shape[1]):
            whole += shares[sample, piece]
        sums[sample] = whole


@inlined
def _sum(terms, lo, hi):  # type: ignore[no-untyped-def]
    """Add up terms[lo:hi]: lane by lane, a run after another."""
    whole = 0.0
    for run in range(lo, hi, RUN):
        stop = min(run + RUN, hi)
        last = stop - (stop - run) % 16
        lanes = floats(ZERO)
        for i in range(run, last, 16):
            lanes = lanes + load(terms, i)
        if last < stop:
            lanes = lanes + load_part(terms, last, stop)
        whole += total(lanes)
    return whole
