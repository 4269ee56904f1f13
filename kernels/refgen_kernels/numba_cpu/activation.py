"""SiLU and ReLU, one pass over memory. Mirrors the page of its name: SiLU to rounding."""

import numpy as np
from numba import prange

from refgen.ops import activation as page
from refgen.ops.activation import InputCache, SiluCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load_part, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, single, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, kernel
from refgen_kernels.numba_cpu.elementary import sigmoid
from refgen_kernels.numba_cpu.simd import floats, fused, maximum, where_above

F = np.float32
ZERO, ONE = F(0), F(1)


def silu_forward(x: Array) -> tuple[Array, SiluCache]:
    """CPU twin of refgen.ops.silu_forward; arrays that are not float32 go to that page."""
    if not single(x):
        return page.silu_forward(x)
    y, s = empty(x.shape), empty(x.shape)
    _silu(x.size, flat(x), flat(y), flat(s))
    return y, SiluCache(x, s)


def silu_backward(dy: Array, cache: SiluCache) -> Array:
    """CPU twin of refgen.ops.silu_backward; arrays that are not float32 go to that page."""
    if not suits(dy.shape, dy, *cache):
        return page.silu_backward(dy, cache)
    dx = empty(dy.shape)
    _silu_backward(dy.size, flat(dy), flat(cache.x), flat(cache.sigmoid), flat(dx))
    return dx


def relu_forward(x: Array) -> tuple[Array, InputCache]:
    """CPU twin of refgen.ops.relu_forward; arrays that are not float32 go to that page."""
    if not single(x):
        return page.relu_forward(x)
    y = empty(x.shape)
    _relu(x.size, flat(x), flat(y))
    return y, InputCache(x)


def relu_backward(dy: Array, cache: InputCache) -> Array:
    """CPU twin of refgen.ops.relu_backward; arrays that are not float32 go to that page."""
    if not suits(dy.shape, dy, *cache):
        return page.relu_backward(dy, cache)
    dx = empty(dy.shape)
    _relu_backward(dy.size, flat(dy), flat(cache.x), flat(dx))
    return dx


@kernel
def _silu(x, y, s):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        for j in range(lo, hi, 16):
            xj = load_part(x, j, hi)
            sj = sigmoid(xj)
            store_part(s, j, sj, lo, hi)
            store_part(y, j, xj * sj, lo, hi)


@kernel
def _silu_backward(dy, x, s, dx):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        for j in range(lo, hi, 16):
            sj = load_part(s, j, hi)
            slope = sj * fused(load_part(x, j, hi), floats(ONE) - sj, floats(ONE))
            store_part(dx, j, load_part(dy, j, hi) * slope, lo, hi)  # (A.5)


@kernel
def _relu(x, y):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        for j in range(lo, hi, 16):
            store_part(y, j, maximum(floats(ZERO), load_part(x, j, hi)), lo, hi)  # (A.1)


@kernel
def _relu_backward(dy, x, dx):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        for j in range(lo, hi, 16):
            kept = where_above(load_part(x, j, hi), ZERO, load_part(dy, j, hi))
            store_part(dx, j, kept, lo, hi)
