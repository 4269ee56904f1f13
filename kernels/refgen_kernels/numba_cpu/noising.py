"""Noising, in fixed chunks. Mirrors the page of its name, bit for bit.

Where the noise is drawn here, a chunk of it is still in the nearest cache when it is mixed in.
"""

from numba import prange

from refgen.noise import Stream
from refgen.ops import noising as page
from refgen.ops.noising import NoisingCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.noise import draw, reachable
from refgen_kernels.numba_cpu.simd import load, store


def noising_forward(data: Array, noise: Array, a: Array, b: Array) -> tuple[Array, NoisingCache]:
    """CPU twin of refgen.ops.noising_forward; arrays that are not float32 go to that page."""
    if not (_suits(data, a, b) and suits(data.shape, noise)):
        return page.noising_forward(data, noise, a, b)
    x = empty(data.shape)
    _given(data.size, flat(data), flat(noise), flat(a), flat(b), flat(x))
    return x, NoisingCache(data, noise, a, b)


def noising_drawn(
    data: Array, a: Array, b: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.noising_drawn; arrays that are not float32 go to that page."""
    if not (_suits(data, a, b) and reachable(start, data.size)):
        return page.noising_drawn(data, a, b, stream, start)
    x, noise = empty(data.shape), empty(data.shape)
    _drawn(data.size, flat(data), flat(a), flat(b), stream, int(start), flat(noise), flat(x))
    return x, noise


def _suits(data: Array, a: Array, b: Array) -> bool:
    return data.ndim > 0 and suits(data.shape, data) and suits(data.shape[:1], a, b)


@kernel
def _given(data, noise, a, b, x):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        _mix(data, noise, a, b, x, lo, hi)


@kernel
def _drawn(data, a, b, stream, start, noise, x):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        draw(noise, lo, hi, stream, start)
        _mix(data, noise, a, b, x, lo, hi)


@inlined
def _mix(data, noise, a, b, x, lo, hi):  # type: ignore[no-untyped-def]
    """Set x[lo:hi], which holds several samples or a piece of one."""
    per_sample = x.size // a.size
    while lo < hi:
        sample = lo // per_sample
        stop = min(hi, (sample + 1) * per_sample)
        _mix_one(data, noise, a[sample], b[sample], x, lo, stop)
        lo = stop


@inlined
def _mix_one(data, noise, a, b, x, lo, hi):  # type: ignore[no-untyped-def]
    whole = hi - (hi - lo) % 16
    for i in range(lo, whole, 16):
        store(x, i, load(data, i) * a + load(noise, i) * b)  # (X.1)
    for i in range(whole, hi):
        x[i] = a * data[i] + b * noise[i]
