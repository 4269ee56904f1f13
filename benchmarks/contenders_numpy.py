"""The reference: the pages of refgen, as they stand."""

from collections.abc import Callable
from typing import Any

from benchmarks.cases import STREAM, Case
from refgen import ops
from refgen.ops.protocol import Ops
from refgen.typing import Array

VERSIONS = ("numpy",)


def prepare(case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    """Return what is timed."""
    return call_of(ops, case, arrays)


def results(case: Case, call: Callable[[], Any]) -> tuple[list[Array], Array | None]:
    """Return the outputs, and the noise they were made of where it is not refgen's."""
    out = call()
    return list(out) if isinstance(out, tuple) else [out], None


def call_of(table: Ops, case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    """Return a call of one op of any table; an update goes on from its own last result."""
    op, static = getattr(table, case.op), case.static
    inputs = tuple(arrays.values())
    if case.op == "normals":
        return lambda: op(STREAM, 0, case.size[0])
    if case.op.endswith("_drawn"):
        return lambda: op(*inputs, STREAM, **static)
    if case.op != "adam_ema_step":
        return lambda: op(*inputs, **static)
    state = arrays["p"], arrays["m"], arrays["v"], arrays["average"]

    def update() -> Any:
        nonlocal state
        p, m, v, average = state
        state = op(p, arrays["g"], m, v, average, **static)
        return state

    return update
