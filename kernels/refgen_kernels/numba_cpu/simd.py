"""Sixteen lanes at a time: vector types for Numba, spelled with + - * / & ^ >> <<.

    F16   sixteen float32      U16   sixteen 32-bit words      D8   eight 64-bit words

LLVM's vectoriser may or may not see what a loop means (one signed index is enough to stop it).
Here the vectors are types, so what is written is what runs: one zmm register on AVX-512, two
ymm on AVX2, four xmm elsewhere. An operation is one line of LLVM's language. Operators are
never fused or reordered, so every CPU computes the same bits; only `fused` may differ in its last.

A number on the right of an operator, float32 with F16 and uint32 with U16, stands for sixteen
copies of itself. How vectors come from memory and go there is in access.py.
"""

# mypy: allow-untyped-calls
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

WIDTH, EIGHT = 16, 8
FLOAT, WORD, DOUBLE_WORD, FLAG = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(1)
FLOATS, WORDS = ir.VectorType(FLOAT, WIDTH), ir.VectorType(WORD, WIDTH)
DOUBLE_WORDS, FLAGS = ir.VectorType(DOUBLE_WORD, EIGHT), ir.VectorType(FLAG, WIDTH)
COUNT = range(WIDTH)
BYTES = ir.Constant(WORD, 4)  # the alignment of memory: that of one float
Emit = Callable[..., Any]  # (builder, *values) -> value


class Lanes(types.Type):
    """The type of a vector, to Numba."""

    def __init__(self, name: str, scalar: types.Type, vector: ir.Type) -> None:
        self.scalar, self.vector = scalar, vector
        super().__init__(name=name)


F16 = Lanes("F16", types.float32, FLOATS)
U16 = Lanes("U16", types.uint32, WORDS)
D8 = Lanes("D8", types.uint64, DOUBLE_WORDS)


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """A vector is one LLVM value."""

    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.vector)


def _constant(lanes: Lanes, value: int) -> Any:
    return ir.Constant(lanes.vector, [value] * lanes.vector.count)


def _splat(build: Any, scalar: Any, width: int = WIDTH) -> Any:
    """Put copies of one number into all lanes."""
    vector = ir.VectorType(scalar.type, width)
    first = build.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(WORD, 0))
    return _shuffle(build, first, first, [0] * width)


def _shuffle(build: Any, x: Any, y: Any, order: list[int]) -> Any:
    """Pick lanes of x (0 .. 15) and y (16 .. 31)."""
    return build.shuffle_vector(x, y, ir.Constant(ir.VectorType(WORD, len(order)), order))


def _call(build: Any, name: str, result: Any, *args: Any) -> Any:
    """Call one of LLVM's own functions."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return build.call(cgutils.get_or_insert_function(build.module, kind, name), args)


# Operators: (lanes, lanes) -> lanes and (lanes, number) -> lanes.


def _operators(lanes: Lanes, table: dict[Callable[..., Any], str]) -> None:
    """Give lanes the operators of a table: symbol -> LLVM's instruction."""

    def define(symbol: Callable[..., Any], instruction: str) -> None:
        def typer(context: Any) -> Any:
            return lambda x, y: lanes if x is lanes and y in (lanes, lanes.scalar) else None

        def both(context: Any, build: Any, signature: Any, args: Any) -> Any:
            return getattr(build, instruction)(*args)

        def with_number(context: Any, build: Any, signature: Any, args: Any) -> Any:
            number = _splat(build, args[1], lanes.vector.count)
            return getattr(build, instruction)(args[0], number)

        type_callable(symbol)(typer)
        lower_builtin(symbol, lanes, lanes)(both)
        lower_builtin(symbol, lanes, lanes.scalar)(with_number)

    for symbol, instruction in table.items():
        define(symbol, instruction)


ADD, SUB, MUL, DIV = operator.add, operator.sub, operator.mul, operator.truediv
AND, XOR, LEFT, RIGHT = operator.and_, operator.xor, operator.lshift, operator.rshift
_operators(F16, {ADD: "fadd", SUB: "fsub", MUL: "fmul", DIV: "fdiv"})
_operators(D8, {ADD: "add", XOR: "xor", RIGHT: "lshr"})
_operators(U16, {ADD: "add", SUB: "sub", AND: "and_", XOR: "xor", LEFT: "shl", RIGHT: "lshr"})


# Functions. Numba calls each with types and takes (signature, emitter) back.


def vector_function(typed: Callable[..., Any]) -> Any:
    """Make a function of kernels."""
    return intrinsic(typed)


def _emit(f: Emit) -> Any:
    """Wrap f(builder, *values) as Numba wants it."""
    return lambda context, build, signature, args: f(build, *args)


@vector_function
def floats(context: Any, x: Any) -> Any:
    """Sixteen copies of a float32."""
    return F16(types.float32), _emit(_splat)


@vector_function
def double_words(context: Any, x: Any) -> Any:
    """Eight copies of a uint64."""
    return D8(types.uint64), _emit(lambda build, x: _splat(build, x, EIGHT))


@vector_function
def even_numbers(context: Any) -> Any:
    """Return 0, 2, ..., 14."""
    return D8(), _emit(lambda build: ir.Constant(DOUBLE_WORDS, list(COUNT[::2])))


@vector_function
def bits_of(context: Any, x: Any) -> Any:
    """Read the bits of floats as words."""
    return U16(F16), _emit(lambda build, x: build.bitcast(x, WORDS))


@vector_function
def float_of_bits(context: Any, w: Any) -> Any:
    """Read words as the bits of floats."""
    return F16(U16), _emit(lambda build, w: build.bitcast(w, FLOATS))


@vector_function
def float_of_unsigned(context: Any, w: Any) -> Any:
    """Convert 0 .. 2³² − 1 to the nearest float."""
    return F16(U16), _emit(lambda build, w: build.uitofp(w, FLOATS))


@vector_function
def float_of_signed(context: Any, w: Any) -> Any:
    """Convert −2³¹ .. 2³¹ − 1 to the nearest float."""
    return F16(U16), _emit(lambda build, w: build.sitofp(w, FLOATS))


@vector_function
def shift_signed(context: Any, w: Any, by: Any) -> Any:
    """Shift to the right, keeping the sign."""
    emit = _emit(lambda build, w, by: build.ashr(w, _splat(build, by)))
    return U16(U16, types.uint32), emit


@vector_function
def square_root(context: Any, x: Any) -> Any:
    """Return the correctly rounded square root."""

    def emit(build: Any, x: Any) -> Any:
        return _call(build, "llvm.sqrt.v16f32", FLOATS, x)

    return F16(F16), _emit(emit)


@vector_function
def fused(context: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x y + z, rounded once where the CPU can do that, else twice."""

    def emit(build: Any, x: Any, y: Any, z: Any) -> Any:
        return _call(build, "llvm.fmuladd.v16f32", FLOATS, x, y, z)

    return F16(F16, F16, F16), _emit(emit)


@vector_function
def maximum(context: Any, x: Any, y: Any) -> Any:
    """Return the larger in each lane; y where either is not a number."""

    def emit(build: Any, x: Any, y: Any) -> Any:
        return build.select(build.fcmp_ordered(">", x, y), x, y)

    return F16(F16, F16), _emit(emit)


@vector_function
def largest(context: Any, x: Any) -> Any:
    """Return the largest lane; what is not a number may be lost."""

    def emit(build: Any, x: Any) -> Any:
        for half in (8, 4, 2, 1):
            y = _shuffle(build, x, x, [(i + half) % WIDTH for i in COUNT])
            x = build.select(build.fcmp_ordered(">", x, y), x, y)
        return build.extract_element(x, ir.Constant(WORD, 0))

    return types.float32(F16), _emit(emit)


@vector_function
def where(context: Any, w: Any, x: Any, y: Any) -> Any:
    """Return x in the lanes where the word w is not 0, y elsewhere."""

    def emit(build: Any, w: Any, x: Any, y: Any) -> Any:
        return build.select(build.icmp_unsigned("!=", w, _constant(U16, 0)), x, y)

    return F16(U16, F16, F16), _emit(emit)


@vector_function
def where_above(context: Any, x: Any, low: Any, y: Any) -> Any:
    """Return y in the lanes where x > low, 0 elsewhere."""

    def emit(build: Any, x: Any, low: Any, y: Any) -> Any:
        above = build.fcmp_ordered(">", x, _splat(build, low))
        return build.select(above, y, ir.Constant(FLOATS, None))

    return F16(F16, types.float32, F16), _emit(emit)


@vector_function
def zero_up_to(context: Any, x: Any, low: Any, y: Any) -> Any:
    """Return 0 in the lanes where x ≤ low, y elsewhere, also where x is not a number."""

    def emit(build: Any, x: Any, low: Any, y: Any) -> Any:
        below = build.fcmp_ordered("<=", x, _splat(build, low))
        return build.select(below, ir.Constant(FLOATS, None), y)

    return F16(F16, types.float32, F16), _emit(emit)


@vector_function
def clamp(context: Any, x: Any, low: Any, high: Any) -> Any:
    """Return x within [low, high]; a NaN stays one."""

    def emit(build: Any, x: Any, low: Any, high: Any) -> Any:
        low, high = _splat(build, low), _splat(build, high)
        x = build.select(build.fcmp_ordered("<", x, low), low, x)
        return build.select(build.fcmp_ordered(">", x, high), high, x)

    return F16(F16, types.float32, types.float32), _emit(emit)


@vector_function
def interleave(context: Any, even: Any, odd: Any) -> Any:
    """Join the lower words of eight lanes and eight lanes: even 0, odd 0, even 1, odd 1, ..."""

    def emit(build: Any, even: Any, odd: Any) -> Any:
        order = [i - i % 2 + WIDTH * (i % 2) for i in COUNT]
        return _shuffle(build, build.bitcast(even, WORDS), build.bitcast(odd, WORDS), order)

    return U16(D8, D8), _emit(emit)


@vector_function
def multiply_lower(context: Any, x: Any, by: Any) -> Any:
    """Multiply the lower words of eight lanes by a word; the products fill the lanes."""

    def emit(build: Any, x: Any, by: Any) -> Any:
        lower = build.and_(x, _constant(D8, 2**32 - 1))
        return build.mul(lower, _splat(build, build.zext(by, DOUBLE_WORD), EIGHT))

    return D8(D8, types.uint32), _emit(emit)


@vector_function
def total(context: Any, x: Any) -> Any:
    """Add up the lanes: halves first, always in the same order."""

    def emit(build: Any, x: Any) -> Any:
        for half in (8, 4, 2, 1):
            x = build.fadd(x, _shuffle(build, x, x, [(i + half) % WIDTH for i in COUNT]))
        return build.extract_element(x, ir.Constant(WORD, 0))

    return types.float32(F16), _emit(emit)
