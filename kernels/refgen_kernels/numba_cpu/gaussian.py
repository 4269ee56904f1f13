"""Diagonal Gaussians: the draw and its price in one pass. Mirrors the page of its name.

The exponential and the order of the sum over D are this package's own, so results agree with
the page to rounding, not bit for bit.
"""

import numpy as np
from numba import prange

from refgen.noise import Stream
from refgen.ops import gaussian as page
from refgen.ops.gaussian import ReparameterizeCache, ReparameterizeKLCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.elementary import exponential
from refgen_kernels.numba_cpu.noise import draw, reachable
from refgen_kernels.numba_cpu.samples import (
    add_shares,
    each_sample,
    places,
    share,
    task_of,
    tasks,
)
from refgen_kernels.numba_cpu.writing import scratch

F = np.float32
HALF, ONE = F(0.5), F(1)


def reparameterize_forward(
    mu: Array, logvar: Array, noise: Array
) -> tuple[Array, ReparameterizeCache]:
    """CPU twin of refgen.ops.reparameterize_forward; arrays not float32 go to that page."""
    if not suits(mu.shape, mu, logvar, noise):
        return page.reparameterize_forward(mu, logvar, noise)
    z, std, displacement = (empty(mu.shape) for _ in range(3))
    outputs = flat(z), flat(std), flat(displacement)
    _reparameterize(mu.size, flat(mu), flat(logvar), flat(noise), outputs)
    return z, ReparameterizeCache(std, displacement)


def reparameterize_kl_forward(
    mu: Array, logvar: Array, noise: Array
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """CPU twin of refgen.ops.reparameterize_kl_forward; arrays not float32 go to that page."""
    if not (mu.ndim == 2 and suits(mu.shape, mu, logvar, noise)):
        return page.reparameterize_kl_forward(mu, logvar, noise)
    (z, displacement, var), kl = empty((3, *mu.shape)), empty(mu.shape[:1])
    outputs = flat(z), flat(displacement), flat(var)
    _given(mu.size, flat(mu), flat(logvar), flat(noise), outputs, kl)
    return z, kl, ReparameterizeKLCache(mu, displacement, var)


def reparameterize_kl_drawn(
    mu: Array, logvar: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """CPU twin of refgen.ops.reparameterize_kl_drawn; arrays not float32 go to that page."""
    if not (mu.ndim == 2 and suits(mu.shape, mu, logvar) and reachable(start, mu.size)):
        return page.reparameterize_kl_drawn(mu, logvar, stream, start)
    (z, displacement, var), kl = empty((3, *mu.shape)), empty(mu.shape[:1])
    outputs = flat(z), flat(displacement), flat(var)
    _drawn(mu.size, flat(mu), flat(logvar), stream, int(start), outputs, kl)
    return z, kl, ReparameterizeKLCache(mu, displacement, var)


def reparameterize_kl_backward(
    dz: Array, dkl: Array, cache: ReparameterizeKLCache
) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.reparameterize_kl_backward; arrays not float32 go to that page."""
    if not (dz.ndim == 2 and suits(dz.shape, dz, *cache) and suits(dz.shape[:1], dkl)):
        return page.reparameterize_kl_backward(dz, dkl, cache)
    dmu, dlogvar = empty(dz.shape), empty(dz.shape)
    mu, displacement, var = (flat(a) for a in cache)
    _backward(dz.size, flat(dz), flat(dkl), mu, displacement, var, flat(dmu), flat(dlogvar))
    return dmu, dlogvar


@kernel
def _reparameterize(mu, logvar, noise, outputs):  # type: ignore[no-untyped-def]
    z, std, displacement = outputs
    for i in prange(chunks(mu.size)):
        lo, hi = chunk_of(mu.size, i)
        for j in range(lo, hi, 16):
            s = exponential(load_part(logvar, j, hi) * HALF)  # (G.1)
            moved = s * load_part(noise, j, hi)
            store_part(std, j, s, lo, hi)
            store_part(displacement, j, moved, lo, hi)
            store_part(z, j, load_part(mu, j, hi) + moved, lo, hi)  # (G.2)


@kernel
def _given(mu, logvar, noise, outputs, kl):  # type: ignore[no-untyped-def]
    shares = places(mu.size, kl.size)
    for task in prange(tasks(mu.size, shares)):
        lo, hi = task_of(mu.size, shares, task)
        terms = scratch()
        _move(mu, logvar, noise, outputs, terms, lo, hi)
        share(terms, 0, shares, mu.size, lo, hi)
    add_shares(shares, kl)


@kernel
def _drawn(mu, logvar, stream, start, outputs, kl):  # type: ignore[no-untyped-def]
    shares = places(mu.size, kl.size)
    for task in prange(tasks(mu.size, shares)):
        lo, hi = task_of(mu.size, shares, task)
        terms, z = scratch(), outputs[0]
        draw(z, lo, hi, stream, start)  # the noise lies where the draw will
        _move(mu, logvar, z, outputs, terms, lo, hi)
        share(terms, 0, shares, mu.size, lo, hi)
    add_shares(shares, kl)


@inlined
def _move(mu, logvar, noise, outputs, terms, lo, hi):  # type: ignore[no-untyped-def]
    """Do the elements lo .. hi, of whatever samples; leave what each adds to a KL in terms."""
    z, displacement, var = outputs
    whole = hi - (hi - lo) % 16
    for j in range(lo, whole, 16):
        m, v = load(mu, j), load(logvar, j)
        s = exponential(v * HALF)  # (G.1)
        moved = s * load(noise, j)
        store(displacement, j, moved)
        store(z, j, m + moved)  # (G.2)
        store(var, j, s * s)
        store(terms, j - lo, (m * m + s * s - ONE - v) * HALF)  # (G.3)
    if whole < hi:
        m, v = load_part(mu, whole, hi), load_part(logvar, whole, hi)
        s = exponential(v * HALF)
        moved = s * load_part(noise, whole, hi)
        store_part(displacement, whole, moved, whole, hi)
        store_part(z, whole, m + moved, whole, hi)
        store_part(var, whole, s * s, whole, hi)
        store(terms, whole - lo, (m * m + s * s - ONE - v) * HALF)  # beyond hi nobody looks


@kernel
def _backward(dz, dkl, mu, displacement, var, dmu, dlogvar):  # type: ignore[no-untyped-def]
    for i in prange(chunks(dz.size)):
        lo, hi = chunk_of(dz.size, i)
        arrays = dz, dkl, mu, displacement, var, dmu, dlogvar
        each_sample(_gradients, arrays, dz.size // dkl.size, lo, hi)


@inlined
def _gradients(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    dz, dkl, mu, displacement, var, dmu, dlogvar = arrays
    price = dkl[sample]
    whole = hi - (hi - lo) % 16
    for j in range(lo, whole, 16):
        d, through_kl = load(dz, j), (load(var, j) - ONE) * (price * HALF)
        store(dmu, j, d + load(mu, j) * price)
        store(dlogvar, j, d * HALF * load(displacement, j) + through_kl)  # (G.4), (G.5)
    for j in range(whole, hi):
        dmu[j] = dz[j] + price * mu[j]
        dlogvar[j] = HALF * dz[j] * displacement[j] + price * HALF * (var[j] - ONE)
