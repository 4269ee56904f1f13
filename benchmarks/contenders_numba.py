"""The Numba twins, laid over the reference as `refgen train --backend numba` lays them."""

from benchmarks import contenders_numpy
from benchmarks.calls import Call
from benchmarks.cases import Case
from refgen.cli.backends import choose
from refgen.typing import Array

VERSIONS = ("numba", "llvmlite")
TABLE, CHOSEN = choose("numba")


def prepare(case: Case) -> Call:
    """Return what is timed."""
    return contenders_numpy.prepared(TABLE, case)


def results(case: Case, call: Call) -> tuple[list[Array], Array | None]:
    """Return the outputs, and the noise they were made of where it is not refgen's."""
    return contenders_numpy.evidence(TABLE, case, call)


def about(case: Case) -> dict[str, object]:
    """Return the module that computes the case, and for a whole step its arithmetic."""
    return contenders_numpy.described(TABLE, case)
