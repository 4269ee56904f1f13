"""Sixteen lanes and memory: read, write, fetch ahead, write past the caches, transpose.

Arrays are one-dimensional, contiguous and of float32; nothing checks bounds. A part of a vector
is read and written under a mask, so that its other lanes touch no memory.
"""

# mypy: allow-untyped-calls
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from refgen_kernels.numba_cpu.simd import (
    BYTES,
    COUNT,
    DOUBLE_WORD,
    F16,
    FLOATS,
    WIDTH,
    WORD,
    _call,
    _shuffle,
    _splat,
    vector_function,
)


def _at(context: Any, build: Any, array: Any, data: Any, index: Any) -> Any:
    """Return a pointer to sixteen floats of an array."""
    first = context.make_array(array)(context, build, data).data
    return build.bitcast(build.gep(first, [index]), FLOATS.as_pointer())


def _lanes_below(build: Any, count: Any) -> Any:
    """Mask the lanes 0 .. count − 1; all or none for a count beyond."""
    number = ir.Constant(ir.VectorType(DOUBLE_WORD, WIDTH), list(COUNT))
    return build.icmp_signed("<", number, _splat(build, count))


@vector_function
def load(context: Any, array: Any, index: Any) -> Any:
    """Read array[index : index + 16]."""

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return build.load(_at(context, build, signature.args[0], *args), align=4)

    return F16(array, types.int64), emit


@vector_function
def store(context: Any, array: Any, index: Any, x: Any) -> Any:
    """Write array[index : index + 16]."""

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        build.store(args[2], _at(context, build, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, F16), emit


@vector_function
def store_past(context: Any, array: Any, index: Any, x: Any) -> Any:
    """Write array[index : index + 16] past the caches; the address is a multiple of 64 bytes.

    An ordinary store first reads the line that it is about to overwrite. For results that will
    have left the caches before anybody reads them, that is a third more traffic for nothing.
    """

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        written = build.store(args[2], _at(context, build, signature.args[0], *args[:2]), align=64)
        past = build.module.add_metadata([ir.Constant(WORD, 1)])
        written.set_metadata("nontemporal", past)
        return context.get_dummy_value()

    return types.void(array, types.int64, F16), emit


def _prefetch(write: int) -> Any:
    def typed(context: Any, array: Any, index: Any) -> Any:
        def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
            first = context.make_array(signature.args[0])(context, build, args[0]).data
            pointer = build.gep(first, [args[1]])
            how = (ir.Constant(WORD, n) for n in (write, 2, 1))  # to the second cache, data
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, WORD, WORD, WORD])
            name = "llvm.prefetch.p0"
            build.call(cgutils.get_or_insert_function(build.module, kind, name), [pointer, *how])
            return context.get_dummy_value()

        return types.void(array, types.int64), emit

    return vector_function(typed)


prefetch = _prefetch(0)  # (array, index): fetch the line of the cache that will be read there
prefetch_for_writing = _prefetch(1)


@vector_function
def load_part(context: Any, array: Any, index: Any, stop: Any) -> Any:
    """Read array[index : stop], at most 16 of it; the other lanes are 0."""

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        pointer = _at(context, build, signature.args[0], *args[:2])
        mask = _lanes_below(build, build.sub(args[2], args[1]))
        zeros = ir.Constant(FLOATS, None)
        return _call(build, "llvm.masked.load.v16f32.p0", FLOATS, pointer, BYTES, mask, zeros)

    return F16(array, types.int64, types.int64), emit


@vector_function
def store_part(context: Any, array: Any, index: Any, x: Any, start: Any, stop: Any) -> Any:
    """Write those of array[index : index + 16] that lie in start .. stop."""

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        array, index, x, start, stop = args
        pointer = _at(context, build, signature.args[0], array, index)
        mask = build.and_(
            build.not_(_lanes_below(build, build.sub(start, index))),
            _lanes_below(build, build.sub(stop, index)),
        )
        _call(build, "llvm.masked.store.v16f32.p0", ir.VoidType(), x, pointer, BYTES, mask)
        return context.get_dummy_value()

    return types.void(array, types.int64, F16, types.int64, types.int64), emit


@vector_function
def turn(context: Any, x: Any, at: Any, row: Any, y: Any, to: Any, column: Any) -> Any:
    """Write the transpose of 16 x 16 floats: y[to + j column + i] = x[at + i row + j].

    Four rounds: blocks of 8 x 8 off the diagonal change places, then of 4 x 4, 2 x 2 and 1.
    """

    def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
        x, at, row, y, to, column = args

        def place(which: int, array: Any, start: Any, step: Any, i: int) -> Any:
            index = build.add(start, build.mul(step, ir.Constant(step.type, i)))
            return _at(context, build, signature.args[which], array, index)

        rows = [build.load(place(0, x, at, row, i), align=4) for i in COUNT]
        for half in (8, 4, 2, 1):
            first = [j if not j & half else j - half + WIDTH for j in COUNT]
            second = [j + half if not j & half else j + WIDTH for j in COUNT]
            for i in (i for i in COUNT if not i & half):
                a, b = rows[i], rows[i + half]
                rows[i] = _shuffle(build, a, b, first)
                rows[i + half] = _shuffle(build, a, b, second)
        for j in COUNT:
            build.store(rows[j], place(3, y, to, column, j), align=4)
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, y, types.int64, types.int64), emit
