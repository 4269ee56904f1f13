r"""The micro-kernel: a small tile of a matrix product, kept in registers from first to last.

    C[i, j] (+)= Σ_{r < R} Σ_{k < K} A[a + r·ar + i·ai + k·ak] · B[b + r·br + k·bk + j]     (TL.1)

A product of matrices reads each number of A and B many times; what limits it is how often a
number that has been read is used. A tile of 8 x 32 results holds sixteen vectors of AVX-512. Each
step k reads two vectors of B and broadcasts eight numbers of A, and does sixteen multiply-adds
with them: ten reads for sixteen operations, where the CPU does two of each a cycle. Sixteen
independent sums also hide the four cycles that each addition takes. Smaller registers hold
smaller tiles.

The double sum over r and k is what makes convolutions products: with channels last, the window
of an output pixel is U rows (r) of V·C numbers that lie side by side (k), in the image as in the
filter, so nothing has to be copied into columns first. Neighbouring windows overlap (ai < K),
which a library for matrices does not allow and (TL.1) does.

Numba's own loops would keep C in memory. So the tile is written in LLVM's language, as a
function of its own: the sums are phi nodes, which is to say registers.
"""

# mypy: allow-untyped-calls
from typing import Any

from llvmlite import ir
from numba import types

from refgen_kernels.numba_cpu.build import TARGET, inlined
from refgen_kernels.numba_cpu.simd import FLOAT, FLOATS, WIDTH, _call, _splat, vector_function

ROWS, VECTORS = {"avx512": (8, 2), "avx2": (4, 1), "plain": (2, 1)}[TARGET]
WIDE = WIDTH * VECTORS  # columns of the widest tile
INDEX = ir.IntType(64)
POINTER = ir.IntType(8).as_pointer()
NONE, ONE, FOUR = (ir.Constant(INDEX, n) for n in (0, 1, 4))
STRIDES = 9  # ai, ak, ar, K, R, bk, br, ci, add


def _function(module: Any, rows: int, vectors: int, transposed: bool) -> Any:
    """Return the tile as a function of LLVM: (A, B, C, ai, ak, ar, K, R, bk, br, ci, add).

    In a plain tile ak is 1, in a transposed one ai is 1; knowing it saves an instruction.
    """
    name = f"refgen_tile_{rows}_{vectors}_{transposed:d}"
    if name in module.globals:
        return module.globals[name]
    signature = ir.FunctionType(ir.VoidType(), [POINTER] * 3 + [INDEX] * STRIDES)
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    entry, zero, given, outer, inner, after, done = (
        function.append_basic_block(n)
        for n in ("entry", "zero", "given", "outer", "inner", "after", "done")
    )
    build = ir.IRBuilder(entry)
    a, b, c, ai, ak, ar, size, repeats, bk, br, ci, add = function.args
    ai, ak, ar, bk, br, ci = (build.mul(s, FOUR) for s in (ai, ak, ar, bk, br, ci))
    ai, ak = (FOUR, ak) if transposed else (ai, FOUR)
    place = [(i, j) for i in range(rows) for j in range(vectors)]

    def at(pointer: Any, offset: Any, kind: Any = FLOATS) -> Any:
        return build.bitcast(build.gep(pointer, [offset]), kind.as_pointer())

    def result(i: int, j: int) -> Any:
        row = build.mul(ci, ir.Constant(INDEX, i))
        return at(c, build.add(row, ir.Constant(INDEX, 4 * WIDTH * j)))

    def joined(kind: Any, **sources: Any) -> Any:
        phi = build.phi(kind)
        for value, block in sources.values():
            phi.add_incoming(value, block)
        return phi

    build.cbranch(build.icmp_signed("==", add, NONE), zero, given)
    build.position_at_end(zero)
    build.branch(outer)
    build.position_at_end(given)
    held = [build.load(result(i, j), align=4) for i, j in place]
    build.branch(outer)

    build.position_at_end(outer)
    starts = (NONE, INDEX), (a, POINTER), (b, POINTER)
    r, a_row, b_row = (joined(kind, z=(v, zero), g=(v, given)) for v, kind in starts)
    nothing = ir.Constant(FLOATS, None)
    sums = [joined(FLOATS, z=(nothing, zero), g=(v, given)) for v in held]
    build.branch(inner)

    build.position_at_end(inner)
    starts = (NONE, INDEX), (a_row, POINTER), (b_row, POINTER)
    k, a_now, b_now = (joined(kind, outer=(v, outer)) for v, kind in starts)
    running = [joined(FLOATS, outer=(v, outer)) for v in sums]
    columns = [
        build.load(at(b_now, ir.Constant(INDEX, 4 * WIDTH * j)), align=4) for j in range(vectors)
    ]
    fresh = []
    for i in range(rows):
        number = build.load(at(a_now, build.mul(ai, ir.Constant(INDEX, i)), FLOAT), align=4)
        copies = _splat(build, number)
        for j in range(vectors):
            old = running[i * vectors + j]
            fresh.append(_call(build, "llvm.fmuladd.v16f32", FLOATS, copies, columns[j], old))
    moved = build.add(k, ONE), build.gep(a_now, [ak]), build.gep(b_now, [bk])
    for phi, value in zip([k, a_now, b_now, *running], [*moved, *fresh], strict=True):
        phi.add_incoming(value, inner)
    build.cbranch(build.icmp_signed("<", moved[0], size), inner, after)

    build.position_at_end(after)
    moved = build.add(r, ONE), build.gep(a_row, [ar]), build.gep(b_row, [br])
    for phi, value in zip([r, a_row, b_row, *sums], [*moved, *fresh], strict=True):
        phi.add_incoming(value, after)
    build.cbranch(build.icmp_signed("<", moved[0], repeats), outer, done)

    build.position_at_end(done)
    for (i, j), value in zip(place, fresh, strict=True):
        build.store(value, result(i, j), align=4)  # (TL.1)
    build.ret_void()
    return function


def _tile(rows: int, vectors: int, transposed: bool) -> Any:
    """Make the tile a function of kernels: (A, a, B, b, C, c, ai, ak, ar, K, R, bk, br, ci, add).

    A, B and C are one-dimensional float32 arrays, a, b and c where in them the tile begins.
    """

    def typed(context: Any, *given: Any) -> Any:
        def emit(context: Any, build: Any, signature: Any, args: Any) -> Any:
            pointers = []
            for i in (0, 2, 4):
                array = context.make_array(signature.args[i])(context, build, args[i])
                first = build.gep(array.data, [args[i + 1]])
                pointers.append(build.bitcast(first, POINTER))
            function = _function(build.module, rows, vectors, transposed)
            build.call(function, [*pointers, *args[6:]])
            return context.get_dummy_value()

        kinds = [given[i] if i in (0, 2, 4) else types.int64 for i in range(6 + STRIDES)]
        return types.void(*kinds), emit

    def tile(context, A, a, B, b, C, c, ai, ak, ar, K, R, bk, br, ci, add):  # type: ignore[no-untyped-def]
        return typed(context, A, a, B, b, C, c, ai, ak, ar, K, R, bk, br, ci, add)

    return vector_function(tile)


def _strip(vectors: int) -> Any:
    """Return a function of kernels: any number of rows, and as many columns as tiles have."""
    whole, four = _tile(ROWS, vectors, False), _tile(min(4, ROWS), vectors, False)
    two, one = _tile(2, vectors, False), _tile(1, vectors, False)

    @inlined
    def strip(A, a, B, b, C, c, ai, ar, K, R, bk, br, ci, add, rows):  # type: ignore[no-untyped-def]
        i = 0
        while i + ROWS <= rows:
            whole(A, a + i * ai, B, b, C, c + i * ci, ai, 1, ar, K, R, bk, br, ci, add)
            i += ROWS
        if i + 4 <= rows:
            four(A, a + i * ai, B, b, C, c + i * ci, ai, 1, ar, K, R, bk, br, ci, add)
            i += 4
        if i + 2 <= rows:
            two(A, a + i * ai, B, b, C, c + i * ci, ai, 1, ar, K, R, bk, br, ci, add)
            i += 2
        if i < rows:
            one(A, a + i * ai, B, b, C, c + i * ci, ai, 1, ar, K, R, bk, br, ci, add)

    return strip


_wide, _narrow = _strip(VECTORS), _strip(1)
_turned, _turned_narrow = _tile(ROWS, VECTORS, True), _tile(ROWS, 1, True)


@inlined
def multiply(A, a, B, b, C, c, ai, ar, K, R, bk, br, ci, add, rows, columns):  # type: ignore[no-untyped-def]
    """Set (add = 0) or add to (1) rows x columns of C by (TL.1), ak = 1; 16 divides columns.

    Arguments: where A, B and C begin; strides and counts of (TL.1), R and K at least 1; add.
    """
    j = 0
    while j + WIDE <= columns:
        _wide(A, a, B, b + j, C, c + j, ai, ar, K, R, bk, br, ci, add, rows)
        j += WIDE
    if j < columns:
        _narrow(A, a, B, b + j, C, c + j, ai, ar, K, R, bk, br, ci, add, rows)


@inlined
def multiply_turned(A, a, B, b, C, c, ak, ar, K, R, bk, br, ci, add, rows, columns):  # type: ignore[no-untyped-def]
    """Do the same with ai = 1, which is Aᵀ B; 8 divides rows, 16 divides columns."""
    j = 0
    while j + WIDE <= columns:
        for i in range(0, rows, ROWS):
            _turned(A, a + i, B, b + j, C, c + i * ci + j, 1, ak, ar, K, R, bk, br, ci, add)
        j += WIDE
    if j < columns:
        for i in range(0, rows, ROWS):
            _turned_narrow(A, a + i, B, b + j, C, c + i * ci + j, 1, ak, ar, K, R, bk, br, ci, add)
