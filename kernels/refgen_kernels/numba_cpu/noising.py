"""Noising, in fixed chunks. Mirrors the page of its name, bit for bit.

Where the noise is drawn here, a chunk of it lies on the stack, in the nearest cache, when it is
mixed in and written.
"""

from numba import prange

from refgen.noise import Stream
from refgen.ops import noising as page
from refgen.ops.noising import NoisingCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.noise import draw, reachable
from refgen_kernels.numba_cpu.samples import each_sample
from refgen_kernels.numba_cpu.writing import outgrows, put, scratch


def noising_forward(data: Array, noise: Array, a: Array, b: Array) -> tuple[Array, NoisingCache]:
    """CPU twin of refgen.ops.noising_forward; arrays that are not float32 go to that page."""
    if not (_suits(data, a, b) and suits(data.shape, noise)):
        return page.noising_forward(data, noise, a, b)
    x = empty(data.shape)
    past = _past(data)
    _given(data.size, flat(data), flat(noise), flat(a), flat(b), flat(x), past)
    return x, NoisingCache(data, noise, a, b)


def noising_drawn(
    data: Array, a: Array, b: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.noising_drawn; arrays that are not float32 go to that page."""
    if not (_suits(data, a, b) and reachable(start, data.size)):
        return page.noising_drawn(data, a, b, stream, start)
    x, noise = empty(data.shape), empty(data.shape)
    inputs, outputs = (flat(data), flat(a), flat(b)), (flat(noise), flat(x))
    _drawn(data.size, inputs, stream, int(start), outputs, _past(data))
    return x, noise


def _suits(data: Array, a: Array, b: Array) -> bool:
    return data.ndim > 0 and suits(data.shape, data) and suits(data.shape[:1], a, b)


def _past(data: Array) -> bool:
    """Tell whether results go past the caches, for which samples must begin at a line of them."""
    return outgrows(data.size, 3) and data.size // len(data) % 16 == 0


@kernel
def _given(data, noise, a, b, x, past):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        each_sample(_mix, (data, noise, a, b, x, past), x.size // a.size, lo, hi)


@inlined
def _mix(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    data, noise, a, b, x, past = arrays
    a, b = a[sample], b[sample]
    whole = hi - (hi - lo) % 16
    for i in range(lo, whole, 16):
        put(x, i, load(data, i) * a + load(noise, i) * b, past)  # (X.1)
    for i in range(whole, hi):
        x[i] = a * data[i] + b * noise[i]


@kernel
def _drawn(inputs, stream, start, outputs, past):  # type: ignore[no-untyped-def]
    data, a, b = inputs
    noise, x = outputs
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        drawn = scratch()
        draw(drawn, 0, hi - lo, stream, start + lo)
        arrays = data, drawn, lo, a, b, noise, x, past
        each_sample(_mix_drawn, arrays, x.size // a.size, lo, hi)


@inlined
def _mix_drawn(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    data, drawn, first, a, b, noise, x, past = arrays
    a, b = a[sample], b[sample]
    whole = hi - (hi - lo) % 16
    for i in range(lo, whole, 16):
        z = load(drawn, i - first)
        put(noise, i, z, past)
        put(x, i, load(data, i) * a + z * b, past)  # (X.1)
    for i in range(whole, hi):
        noise[i] = drawn[i - first]
        x[i] = a * data[i] + b * noise[i]
