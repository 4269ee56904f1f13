"""Affine coupling, one pass over memory, its log-determinant included. Mirrors the page.

The exponential and the order of the sum over D are this package's own, so results agree with
the page to rounding, not bit for bit.
"""

import numpy as np
from numba import prange

from refgen.ops import coupling as page
from refgen.ops.coupling import AffineCouplingCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.elementary import exponential
from refgen_kernels.numba_cpu.samples import (
    add_shares,
    each_sample,
    places,
    share,
    task_of,
    tasks,
)

MINUS = np.float32(-1)


def affine_coupling_forward(
    x: Array, shift: Array, log_scale: Array
) -> tuple[Array, Array, AffineCouplingCache]:
    """CPU twin of refgen.ops.affine_coupling_forward; arrays not float32 go to that page."""
    if not (x.ndim == 2 and suits(x.shape, x, shift, log_scale)):
        return page.affine_coupling_forward(x, shift, log_scale)
    y, scale, logdet = empty(x.shape), empty(x.shape), empty(x.shape[:1])
    inputs, outputs = (flat(x), flat(shift), flat(log_scale)), (flat(y), flat(scale))
    _forward(x.size, inputs, outputs, logdet)
    return y, logdet, AffineCouplingCache(x, scale)


def affine_coupling_inverse(y: Array, shift: Array, log_scale: Array) -> Array:
    """CPU twin of refgen.ops.affine_coupling_inverse; arrays not float32 go to that page."""
    if not suits(y.shape, y, shift, log_scale):
        return page.affine_coupling_inverse(y, shift, log_scale)
    x = empty(y.shape)
    _inverse(y.size, flat(y), flat(shift), flat(log_scale), flat(x))
    return x


def affine_coupling_backward(
    dy: Array, dlogdet: Array, cache: AffineCouplingCache
) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.affine_coupling_backward; arrays not float32 go to that page."""
    if not (dy.ndim == 2 and suits(dy.shape, dy, *cache) and suits(dy.shape[:1], dlogdet)):
        return page.affine_coupling_backward(dy, dlogdet, cache)
    dx, dlog_scale = empty(dy.shape), empty(dy.shape)
    x, scale = (flat(a) for a in cache)
    _backward(dy.size, flat(dy), flat(dlogdet), x, scale, flat(dx), flat(dlog_scale))
    return dx, dy, dlog_scale


@kernel
def _forward(inputs, outputs, logdet):  # type: ignore[no-untyped-def]
    x, shift, log_scale = inputs
    y, scale = outputs
    shares = places(x.size, logdet.size)
    for task in prange(tasks(x.size, shares)):
        lo, hi = task_of(x.size, shares, task)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            s = exponential(load(log_scale, j))
            store(scale, j, s)
            store(y, j, load(x, j) * s + load(shift, j))  # (AC.1)
        if whole < hi:
            s = exponential(load_part(log_scale, whole, hi))
            store_part(scale, whole, s, whole, hi)
            moved = load_part(x, whole, hi) * s + load_part(shift, whole, hi)
            store_part(y, whole, moved, whole, hi)
        share(log_scale, lo, shares, x.size, lo, hi)  # (AC.3)
    add_shares(shares, logdet)


@kernel
def _inverse(y, shift, log_scale, x):  # type: ignore[no-untyped-def]
    for i in prange(chunks(y.size)):
        lo, hi = chunk_of(y.size, i)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            shrink = exponential(load(log_scale, j) * MINUS)
            store(x, j, (load(y, j) - load(shift, j)) * shrink)  # (AC.2)
        if whole < hi:
            shrink = exponential(load_part(log_scale, whole, hi) * MINUS)
            moved = load_part(y, whole, hi) - load_part(shift, whole, hi)
            store_part(x, whole, moved * shrink, whole, hi)


@kernel
def _backward(dy, dlogdet, x, scale, dx, dlog_scale):  # type: ignore[no-untyped-def]
    for i in prange(chunks(dy.size)):
        lo, hi = chunk_of(dy.size, i)
        arrays = dy, dlogdet, x, scale, dx, dlog_scale
        each_sample(_gradients, arrays, dy.size // dlogdet.size, lo, hi)


@inlined
def _gradients(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    dy, dlogdet, x, scale, dx, dlog_scale = arrays
    volume = dlogdet[sample]
    whole = hi - (hi - lo) % 16
    for j in range(lo, whole, 16):
        d = load(dy, j) * load(scale, j)
        store(dx, j, d)
        store(dlog_scale, j, d * load(x, j) + volume)  # (AC.4)
    for j in range(whole, hi):
        dx[j] = dy[j] * scale[j]
        dlog_scale[j] = dx[j] * x[j] + volume
