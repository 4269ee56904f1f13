"""Sums of arrays with numbers for coefficients, one pass over memory: what a step of a sampler is.

    out = w₀ a₀ + w₁ a₁ + ...   added from the left, rounded after every product and every sum

The last array may be noise that is drawn here: a chunk of it lies on the stack, in the nearest
cache, when it is added. A coefficient 0 draws nothing (the page then adds ±0,
which can only turn −0 into 0).
"""

import numpy as np
from numba import prange

from refgen.noise import Stream
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.noise import draw
from refgen_kernels.numba_cpu.writing import outgrows, put, scratch

F = np.float32


def combine(arrays: tuple[Array, ...], weights: tuple[float, ...]) -> Array:
    """Return the sum of two, three or four arrays of one shape, each times its weight."""
    out = empty(arrays[0].shape)
    inputs, factors = tuple(flat(a) for a in arrays), tuple(F(w) for w in weights)
    past = outgrows(out.size, len(arrays) + 1)
    _given(out.size, inputs, factors, flat(out), past)
    return out


def combine_drawn(
    arrays: tuple[Array, ...], weights: tuple[float, ...], stream: Stream, start: int
) -> Array:
    """Return `combine` with the noise of a stream as the last array."""
    if weights[-1] == 0:
        return combine(arrays, weights[:-1])
    out = empty(arrays[0].shape)
    inputs, factors = tuple(flat(a) for a in arrays), tuple(F(w) for w in weights)
    past = outgrows(out.size, len(arrays) + 1)
    _drawn(out.size, inputs, factors, stream, int(start), flat(out), past)
    return out


@kernel
def _given(arrays, weights, out, past):  # type: ignore[no-untyped-def]
    for i in prange(chunks(out.size)):
        lo, hi = chunk_of(out.size, i)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            put(out, j, _weighted(arrays, weights, j), past)
        if whole < hi:
            store_part(out, whole, _weighted_part(arrays, weights, whole, hi), whole, hi)


@kernel
def _drawn(arrays, weights, stream, start, out, past):  # type: ignore[no-untyped-def]
    sigma = weights[len(arrays)]
    for i in prange(chunks(out.size)):
        lo, hi = chunk_of(out.size, i)
        noise = scratch()
        draw(noise, 0, hi - lo, stream, start + lo)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            put(out, j, _weighted(arrays, weights, j) + load(noise, j - lo) * sigma, past)
        if whole < hi:
            z = load_part(noise, whole - lo, hi - lo)
            x = _weighted_part(arrays, weights, whole, hi) + z * sigma
            store_part(out, whole, x, whole, hi)


@inlined
def _weighted(arrays, weights, i):  # type: ignore[no-untyped-def]
    """Return the sum at i .. i + 16. How many arrays there are is known when this is compiled."""
    x = load(arrays[0], i) * weights[0] + load(arrays[1], i) * weights[1]
    if len(arrays) > 2:
        x = x + load(arrays[2], i) * weights[2]
    if len(arrays) > 3:
        x = x + load(arrays[3], i) * weights[3]
    return x


@inlined
def _weighted_part(arrays, weights, i, stop):  # type: ignore[no-untyped-def]
    """Return the sum at i .. stop, fewer than sixteen."""
    x = load_part(arrays[0], i, stop) * weights[0] + load_part(arrays[1], i, stop) * weights[1]
    if len(arrays) > 2:
        x = x + load_part(arrays[2], i, stop) * weights[2]
    if len(arrays) > 3:
        x = x + load_part(arrays[3], i, stop) * weights[3]
    return x
