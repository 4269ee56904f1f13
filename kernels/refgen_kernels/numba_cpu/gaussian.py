"""Diagonal Gaussians: the draw and its price in one pass. Mirrors the page of its name.

The exponential and the order of the sum over D are this package's own, so results agree with
the page to rounding, not bit for bit. A task is CHUNK elements: whole samples where they are
small, a piece of one where it is large; the pieces' shares are added in order at the end.
"""

import numpy as np
from numba import prange

from refgen.noise import Stream
from refgen.ops import gaussian as page
from refgen.ops.gaussian import ReparameterizeCache, ReparameterizeKLCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import CHUNK, chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.elementary import exponential
from refgen_kernels.numba_cpu.noise import draw, reachable
from refgen_kernels.numba_cpu.simd import floats, load, load_part, store, store_part, total

F = np.float32
ZERO, HALF, ONE = F(0), F(0.5), F(1)
RUN = 256  # elements added up lane by lane before their sum is carried on in float64


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
    z, displacement, var = (empty(mu.shape) for _ in range(3))
    outputs, shares = (flat(z), flat(displacement), flat(var)), _shares(mu)
    _given(mu.size, flat(mu), flat(logvar), flat(noise), outputs, shares)
    return z, _kl(shares), ReparameterizeKLCache(mu, displacement, var)


def reparameterize_kl_drawn(
    mu: Array, logvar: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """CPU twin of refgen.ops.reparameterize_kl_drawn; arrays not float32 go to that page."""
    if not (mu.ndim == 2 and suits(mu.shape, mu, logvar) and reachable(start, mu.size)):
        return page.reparameterize_kl_drawn(mu, logvar, stream, start)
    z, displacement, var = (empty(mu.shape) for _ in range(3))
    outputs, shares = (flat(z), flat(displacement), flat(var)), _shares(mu)
    _drawn(mu.size, flat(mu), flat(logvar), stream, int(start), outputs, shares)
    return z, _kl(shares), ReparameterizeKLCache(mu, displacement, var)


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


def _shares(mu: Array) -> Array:
    """Return the table of each piece's share of each sample's KL, (N, pieces) float64."""
    samples, features = mu.shape
    return np.zeros((samples, max(1, -(-features // CHUNK))))


def _kl(shares: Array) -> Array:
    """Add the shares in order, whatever the tasks they came from."""
    kl: Array = np.sum(shares, axis=1).astype(F)
    return kl


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
def _given(mu, logvar, noise, outputs, shares):  # type: ignore[no-untyped-def]
    for task in prange(_tasks(mu.size, shares)):
        lo, hi = _task(mu.size, shares, task)
        _samples(mu, logvar, noise, outputs, shares, lo, hi)


@kernel
def _drawn(mu, logvar, stream, start, outputs, shares):  # type: ignore[no-untyped-def]
    z = outputs[0]
    for task in prange(_tasks(mu.size, shares)):
        lo, hi = _task(mu.size, shares, task)
        draw(z, lo, hi, stream, start)  # the noise lies where the draw will
        _samples(mu, logvar, z, outputs, shares, lo, hi)


@inlined
def _tasks(size, shares):  # type: ignore[no-untyped-def]
    """Return the number of tasks: pieces of one sample, or several samples."""
    samples, pieces = shares.shape
    if pieces > 1 or size == 0:
        return samples * pieces if size > 0 else 0
    at_once = max(1, CHUNK * samples // size)
    return (samples + at_once - 1) // at_once


@inlined
def _task(size, shares, task):  # type: ignore[no-untyped-def]
    """Return the elements lo .. hi of a task."""
    samples, pieces = shares.shape
    features = size // samples
    if pieces > 1:
        sample, piece = task // pieces, task % pieces
        lo = sample * features + piece * CHUNK
        return lo, min(lo + CHUNK, (sample + 1) * features)
    at_once = max(1, CHUNK * samples // size)
    return task * at_once * features, min(samples, (task + 1) * at_once) * features


@inlined
def _samples(mu, logvar, noise, outputs, shares, lo, hi):  # type: ignore[no-untyped-def]
    """Do the elements lo .. hi, sample by sample."""
    features = mu.size // shares.shape[0]
    while lo < hi:
        sample = lo // features
        stop = min(hi, (sample + 1) * features)
        piece = (lo - sample * features) // CHUNK
        shares[sample, piece] = _piece(mu, logvar, noise, outputs, lo, stop)
        lo = stop


@inlined
def _piece(mu, logvar, noise, outputs, lo, hi):  # type: ignore[no-untyped-def]
    """Do a piece of one sample; return its share of the KL. Absent lanes add 0 + e⁰ − 1 − 0."""
    z, displacement, var = outputs
    kl = 0.0
    for run in range(lo, hi, RUN):
        lanes = floats(ZERO)
        stop = min(run + RUN, hi)
        for j in range(run, stop - 15, 16):
            m, v = load(mu, j), load(logvar, j)
            s = exponential(v * HALF)  # (G.1)
            moved = s * load(noise, j)
            store(displacement, j, moved)
            store(z, j, m + moved)  # (G.2)
            store(var, j, s * s)
            lanes = lanes + (m * m + s * s - ONE - v)
        j = stop - (stop - run) % 16
        if j < stop:
            m, v = load_part(mu, j, stop), load_part(logvar, j, stop)
            s = exponential(v * HALF)
            moved = s * load_part(noise, j, stop)
            store_part(displacement, j, moved, j, stop)
            store_part(z, j, m + moved, j, stop)
            store_part(var, j, s * s, j, stop)
            lanes = lanes + (m * m + s * s - ONE - v)
        kl += total(lanes)
    return 0.5 * kl  # (G.3)


@kernel
def _backward(dz, dkl, mu, displacement, var, dmu, dlogvar):  # type: ignore[no-untyped-def]
    for i in prange(chunks(dz.size)):
        lo, hi = chunk_of(dz.size, i)
        features = dz.size // dkl.size
        while lo < hi:
            sample = lo // features
            stop = min(hi, (sample + 1) * features)
            price = dkl[sample]
            whole = stop - (stop - lo) % 16
            for j in range(lo, whole, 16):
                d, through_kl = load(dz, j), (load(var, j) - ONE) * (price * HALF)
                store(dmu, j, d + load(mu, j) * price)
                store(dlogvar, j, d * HALF * load(displacement, j) + through_kl)  # (G.4), (G.5)
            for j in range(whole, stop):
                dmu[j] = dz[j] + price * mu[j]
                dlogvar[j] = HALF * dz[j] * displacement[j] + price * HALF * (var[j] - ONE)
            lo = stop
