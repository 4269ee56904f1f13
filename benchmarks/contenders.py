"""Who takes part: a module of this package, the environment of its process, and in which cases."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import Case

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
COMPILE, LAST = {"TORCH_COMPILE": "1", **MALLOC}, {"TORCH_LAST": "1", **MALLOC}
ONE = {"OPENBLAS_NUM_THREADS": "1"}  # beside the kernels' own threads; see kernels/README.md
CORE = {"OPENBLAS_CORETYPE": "SkylakeX"}  # OpenBLAS does not know every CPU that has AVX-512
COMPILED = ("forward", "backward", "both", "drawn", "", "train_step", "sample")
LIBRARY = (  # one call of a library already: there is nothing to fuse
    *("normals", "adam_ema_step", "conv2d", "conv_transpose2d", "attention", "dense"),
    *("layer_norm", "batch_norm", "group_norm", "concat"),
)


@dataclass(frozen=True)
class Contender:
    """One column of the comparison, in a process of its own."""

    module: str  # benchmarks.contenders_<module>
    environment: dict[str, str] = field(default_factory=dict)
    takes: Callable[[Case], bool] = lambda case: True


def _compiles(case: Case) -> bool:
    """Tell whether a compiler may gain anything; of the many sizes of a curve, none is compiled."""
    fuses = case.op not in LIBRARY and case.name not in LIBRARY
    return case.call in COMPILED and fuses and not case.sweep


def _by_blas(case: Case) -> bool:
    """Tell where a faster BLAS might be seen: in NumPy's products."""
    return case.whole or case.op.startswith("dense")


CONTENDERS = {
    "numpy": Contender("numpy"),
    "numba": Contender("numba", ONE),
    "numpy-coretype": Contender("numpy", CORE, _by_blas),
    "numba-coretype": Contender("numba", {**ONE, **CORE}, _by_blas),
    "torch": Contender("torch"),
    "torch-malloc": Contender("torch", MALLOC),  # keeps freed memory: no page faults on results
    "torch-last": Contender("torch", LAST, lambda case: case.images),
    "torch-compile": Contender("torch", COMPILE, _compiles),
    "torch-compile-last": Contender(
        "torch",
        {**COMPILE, **LAST},
        lambda case: case.images and not case.whole and _compiles(case),
    ),
    "limit": Contender("limit", {}, lambda case: not case.whole),
}
BACKENDS = tuple(name for name in CONTENDERS if name.startswith(("numpy", "numba")))
TORCH = tuple(name for name in CONTENDERS if name.startswith("torch"))
SLOW_TO_START = ("torch-compile", "torch-compile-last")


def has_avx512() -> bool:
    """Tell whether this CPU has what OPENBLAS_CORETYPE=SkylakeX asks for."""
    info = Path("/proc/cpuinfo")
    return info.exists() and " avx512f " in f"{info.read_text()} ".replace("\n", " ")


def backends() -> list[str]:
    """Return the backends that this machine can run."""
    return [n for n in BACKENDS if has_avx512() or not n.endswith("-coretype")]


def environment(name: str) -> dict[str, str]:
    """Return the environment of a contender's process; the core type is nobody's but its own."""
    inherited = {k: v for k, v in os.environ.items() if k not in CORE}
    return {**inherited, **CONTENDERS[name].environment}
