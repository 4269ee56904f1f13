"""The reference: the pages of refgen, as they stand."""

from benchmarks import calls, steps
from benchmarks.calls import Call
from benchmarks.cases import Case
from refgen import ops
from refgen.ops.protocol import Ops
from refgen.typing import Array

VERSIONS = ("numpy",)


def prepare(case: Case) -> Call:
    """Return what is timed."""
    return prepared(ops, case)


def results(case: Case, call: Call) -> tuple[list[Array], Array | None]:
    """Return the outputs, and the noise they were made of where it is not refgen's."""
    return evidence(ops, case, call)


def about(case: Case) -> dict[str, object]:
    """Return the module that computes the case, and for a whole step its arithmetic."""
    return described(ops, case)


def prepared(table: Ops, case: Case) -> Call:
    """Return what is timed, by any table."""
    return steps.build(table, case) if case.whole else calls.build(table, case, case.arrays())


def evidence(table: Ops, case: Case, call: Call) -> tuple[list[Array], None]:
    """Return what is judged, by any table."""
    return (steps.evidence(table, case) if case.whole else calls.outputs(call())), None


def described(table: Ops, case: Case) -> dict[str, object]:
    """Return what stands in the row beside the figures, for any table."""
    if case.whole:
        return {"flops": steps.flops(case)}
    return {"run_by": calls.run_by(table, case)}
