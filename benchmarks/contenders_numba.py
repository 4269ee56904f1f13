"""The Numba twins."""

from collections.abc import Callable
from typing import Any

from benchmarks import contenders_numpy
from benchmarks.cases import Case
from refgen.typing import Array
from refgen_kernels import numba_cpu, overlay

VERSIONS = ("numba", "llvmlite")
results = contenders_numpy.results


def prepare(case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    """Return what is timed."""
    return contenders_numpy.call_of(overlay(numba_cpu), case, arrays)
