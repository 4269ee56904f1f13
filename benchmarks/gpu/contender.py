"""A contender: an op table on a device, ready to be judged and to be timed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks import calls
from benchmarks.calls import Call
from benchmarks.cases import Case
from benchmarks.gpu import calls as gpu_calls
from benchmarks.gpu import data as gpu_data
from benchmarks.gpu import steps as gpu_steps
from benchmarks.gpu.data import Data
from benchmarks.gpu.device import Device, Host
from benchmarks.gpu.device_cuda import Cupy
from benchmarks.steps import flops
from refgen.ops.protocol import Ops
from refgen.typing import Array

SETS = 4  # of inputs, in turn
NUMBA = "Numba starts its kernels on the default stream, which no graph sees"
VERSIONS = {
    "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"),
    "numba-cuda": ("numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "cupy"),
    "numba": ("numba", "llvmlite"),
    "numpy": ("numpy",),
}


@dataclass
class Loaded:
    """One case, ready."""

    calls: list[Call]  # one for each set of inputs
    evidence: Callable[[], tuple[list[Array], Array | None]]  # results, and noise not refgen's
    inputs: list[Any] = field(default_factory=list)  # of the first call, on the device
    results: Callable[[Any], list[Any]] = lambda result: []  # the arrays somebody wants of a call
    about: dict[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """Who takes part."""

    device: Device
    twin: bool  # of refgen's pages, and judged as such
    precision: str
    versions: tuple[str, ...]  # distributions; those that are installed are named

    def load(self, case: Case, data: Data) -> Loaded:
        """Prepare a case. Raises Skipped with the reason where it cannot."""


class Twins:
    """Kernels of refgen, or its pages: a table and the device that it computes on."""

    twin = True

    def __init__(self, name: str, table: Ops, device: Device, precision: str = "fp32") -> None:
        self.table, self.device, self.precision = table, device, precision
        self.versions = VERSIONS.get(name, ())

    def load(self, case: Case, data: Data) -> Loaded:
        """Prepare a case."""
        if case.whole:
            call = gpu_steps.build(self.table, case)
            few = gpu_data.judged(case)
            return Loaded(
                [call],
                lambda: (gpu_steps.evidence(self.table, few), None),
                about={"flops": flops(case)},
            )
        run_by = calls.run_by(self.table, case)
        if run_by.startswith("refgen.ops") and not isinstance(self.device, Host):
            raise calls.Skipped(f"no kernel computes {case.name} yet")
        sets = [self._set(case, data) for _ in range(SETS)]
        built = [gpu_calls.build(self.table, case, arrays, dys) for arrays, dys in sets]
        inputs = [*sets[0][0].values(), *sets[0][1]]
        kind = self.device.kind
        first = built[0]()
        kept = sum(a.nbytes for a in gpu_calls.kept(first, kind, inputs))
        shapes = [a.shape for a in gpu_calls.results(first, kind)]
        del first

        def evidence() -> tuple[list[Array], None]:
            self.device.poison(shapes)
            return [self.table.fetch(a) for a in gpu_calls.results(built[0](), kind)], None

        return Loaded(
            built,
            evidence,
            inputs,
            lambda result: gpu_calls.results(result, kind),
            {"run_by": run_by, "kept_bytes": kept},
        )

    def _set(self, case: Case, data: Data) -> tuple[dict[str, Any], list[Any]]:
        """Send one set of inputs across."""
        put = self.table.put if not isinstance(self.device, Host) else lambda a: a.copy()
        return {n: put(a) for n, a in data.arrays.items()}, [put(a) for a in data.dys]


def twins(name: str, precision: str = "fp32") -> Twins:
    """Return the contender of a backend, with its kernels. Raises ImportError without them.

    The precision is what its process was told by REFGEN_CUDA_MATH.
    """
    kernels: Any = importlib.import_module("refgen_kernels")
    if name == "numpy":
        return Twins(name, importlib.import_module("refgen.ops"), Host())
    module = importlib.import_module(f"refgen_kernels.{kernels.BACKENDS[name]}")
    if name == "numba":
        module.hold_blas()
        return Twins(name, kernels.overlay(module), Host())
    device = Cupy(NUMBA if name == "numba-cuda" else "")
    return Twins(name, kernels.overlay(module), device, precision)
