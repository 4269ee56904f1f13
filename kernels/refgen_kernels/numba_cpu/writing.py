"""Where results are written: into the caches, or past them when they would not stay there.

An ordinary store first reads the line of memory that it is about to overwrite. Results that
are much larger than the caches have left them before anybody reads them, so for these the
reading, a third of the traffic of a sum of two arrays, is left out.
"""

from refgen_kernels.numba_cpu.build import inlined
from refgen_kernels.numba_cpu.simd import store, store_past

CACHES = 24 << 20  # bytes; what one call moves beyond that does not stay in the caches


def outgrows(size: int, arrays: int) -> bool:
    """Tell whether a call that reads and writes so many arrays of that size outgrows the caches.

    If so, its results are of `arrays.empty`, which begin at a line of the cache.
    """
    return 4 * size * arrays > CACHES


@inlined
def put(array, index, x, past):  # type: ignore[no-untyped-def]
    """Write array[index : index + 16]; past the caches only where a line of them begins."""
    if past:
        store_past(array, index, x)
    else:
        store(array, index, x)
