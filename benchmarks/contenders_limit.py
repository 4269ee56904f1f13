"""The machine's own limit: a copy that moves as many bytes as the case must, on all cores."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange

from benchmarks.cases import Case
from refgen.typing import Array

VERSIONS = ()


def prepare(case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    """Return what is timed: half of the traffic is read, half is written."""
    source = np.ones(case.traffic // 2, np.float32)
    target = np.zeros_like(source)
    return lambda: _copy(source, target)


def results(case: Case, call: Callable[[], Any]) -> None:
    """There is nothing to judge."""


@njit(parallel=True)
def _copy(source, target):  # type: ignore[no-untyped-def]
    for i in prange(source.size):
        target[i] = source[i]
