"""Where numbers are written: into the caches, past them, or on the stack.

An ordinary store first reads the line of memory that it is about to overwrite. Results that
are much larger than the caches have left them before anybody reads them, so for these the
reading, a quarter of the traffic of a sum of two arrays, is left out.
"""

# mypy: allow-untyped-calls
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from refgen_kernels.numba_cpu.access import store, store_past
from refgen_kernels.numba_cpu.build import CHUNK, inlined
from refgen_kernels.numba_cpu.simd import FLOAT, vector_function

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


@vector_function
def scratch(context: Any) -> Any:
    """Return an array of CHUNK floats on the stack: a chunk of what nobody else sees."""
    array = types.Array(types.float32, 1, "C")

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        room = cgutils.alloca_once(build, ir.ArrayType(FLOAT, CHUNK))
        room.align = 64
        made = context.make_array(array)(context, build)
        word = context.get_constant
        context.populate_array(
            made,
            data=build.bitcast(room, FLOAT.as_pointer()),
            shape=[word(types.intp, CHUNK)],
            strides=[word(types.intp, 4)],
            itemsize=word(types.intp, 4),
            meminfo=None,
        )
        return made._getvalue()

    return array(), emit
