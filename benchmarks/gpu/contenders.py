"""Who takes part on a GPU: a module, the environment of its process, and in which cases."""

import importlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.cases import Case
from benchmarks.contenders import LIBRARY, ONE
from benchmarks.gpu.cases import SWEPT
from benchmarks.gpu.contender import Contender, twins

DEVICES = ("cupy", "numba-cuda")
HOSTS = ("numba", "numpy")
MATH = "REFGEN_CUDA_MATH"  # in which precision its kernels multiply
COMPILE, LAST = {"TORCH_COMPILE": "1"}, {"TORCH_LAST": "1"}
TF32, BF16 = {"TORCH_PRECISION": "tf32"}, {"TORCH_PRECISION": "bf16"}
# One order of launches is kept by the stream; Numba need not wait for CuPy's arrays at each.
UNSYNCED = {"NUMBA_CUDA_ARRAY_INTERFACE_SYNC": "0"}
PRODUCTS = (
    *("conv2d", "conv_transpose2d", "upsample_conv2d", "dense", "dense_act", "attention"),
    *("unet", "vae"),
)
FUSED = tuple(name for name in LIBRARY if name != "adam_ema_step")  # compiled, Adam is one kernel


@dataclass(frozen=True)
class Seat:
    """A place in the comparison, in a process of its own."""

    module: str  # a backend of refgen, or torch
    environment: dict[str, str] = field(default_factory=dict)
    takes: Callable[[Case], bool] = lambda case: True


def _compiles(case: Case) -> bool:
    """Tell whether a compiler may gain anything, and the case is worth its time."""
    fuses = case.op not in FUSED and case.name not in FUSED
    once = case.whole and case.quick  # a network takes a minute to compile
    return fuses and not case.sweep and not once and case.call not in ("dgrad", "wgrad", "sample")


def _multiplies(case: Case) -> bool:
    """Tell whether products of matrices decide, which tensor cores may compute."""
    return case.op in PRODUCTS


def _by_tensor_cores(case: Case) -> bool:
    """Tell whether the kernels of refgen may be told to be less precise."""
    return _multiplies(case) and case.op != "attention"


def _swept(case: Case) -> bool:
    """Tell whether the CPU takes part, to see where the GPU overtakes it."""
    return case.name in SWEPT


SEATS = {
    "cupy": Seat("cupy", {MATH: "fp32"}),
    "cupy-tf32": Seat("cupy", {MATH: "tf32"}, _by_tensor_cores),
    "cupy-bf16": Seat("cupy", {MATH: "bf16"}, _by_tensor_cores),
    "numba-cuda": Seat("numba-cuda", UNSYNCED),
    "numba": Seat("numba", ONE, _swept),
    "numpy": Seat("numpy", {}, lambda case: _swept(case) and case.elements <= 10**6),
    "torch": Seat("torch"),
    "torch-last": Seat("torch", LAST, lambda case: case.images),
    "torch-compile": Seat("torch", COMPILE, _compiles),
    "torch-compile-last": Seat(
        "torch", {**COMPILE, **LAST}, lambda case: case.images and _compiles(case)
    ),
    "torch-tf32": Seat("torch", TF32, _multiplies),
    "torch-tf32-last": Seat(
        "torch", {**TF32, **LAST}, lambda case: _multiplies(case) and case.images
    ),
    "torch-bf16-last": Seat("torch", {**BF16, **LAST}, _multiplies),
}
PRECISE = {"cupy": ("cupy-tf32", "cupy-bf16")}  # beside a backend: the same, less precise
TORCH = tuple(name for name in SEATS if name.startswith("torch"))
SLOW_TO_START = ("torch-compile-last",)


def contender(name: str) -> Contender:
    """Return who sits there, in this process. Raises ImportError for what is not installed."""
    if SEATS[name].module != "torch":
        return twins(SEATS[name].module, SEATS[name].environment.get(MATH, "fp32"))
    found: Contender = importlib.import_module("benchmarks.gpu.torch").from_environment()
    return found


def environment(name: str) -> dict[str, str]:
    """Return the environment of a seat's process; refgen need not be installed for it."""
    return {**os.environ, **SEATS[name].environment}


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
