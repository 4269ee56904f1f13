"""Run every kernel once on small odd shapes: what compute-sanitizer watches.

    compute-sanitizer --tool memcheck python -m benchmarks.gpu.small --backend cupy,numba-cuda

Every array gets memory of its own from the driver, since inside a pool an access beyond the end of
one array is an access to another. Results are judged elsewhere. Exit code 1: a call failed.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import STREAM
from refgen.ops.catalog import CATALOG
from refgen.ops.catalog.op import Op
from refgen.ops.protocol import Ops
from refgen.typing import Array

START, COUNT = 5, 1003  # of draws: neither at the beginning of a block nor at its end
ODD: Mapping[str, Any] = {"N": 3, "*S": (5, 7), "H": 5, "W": 6, "U": 3, "V": 3, "L": 9, "M": 7}
ODD = {**ODD, "D": 13, "I": 5, "O": 3, "C": 3, "E": 5, "K": 5, "G": 2, "P": 2, "S": 2}
LARGER = {**ODD, "N": 5, "*S": (33, 9), "H": 17, "W": 19, "L": 70, "M": 67, "D": 130, "C": 20}
FITTING = {**LARGER, "I": 32, "O": 48, "C": 32}  # channels that tensor cores can multiply


def calls(table: Ops, names: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield (name, call) of every op of the catalogue that is among the names, and of draws."""
    for name in ("normals", "words"):
        if name in names:
            yield name, partial(getattr(table, name), STREAM, START, COUNT)
    for sizes in (ODD, LARGER, FITTING):
        for op in CATALOG:
            if op.flops is None and sizes is FITTING:
                continue
            if op.forward in names:
                yield op.name, partial(_both, table, op, sizes)
            if f"{op.name}_drawn" in names:
                yield f"{op.name}_drawn", partial(_drawn, table, op, sizes)


def arguments(table: Ops, op: Op, sizes: Mapping[str, Any]) -> tuple[dict[str, Array], Any]:
    """Return arrays of these sizes where the table computes, and the static keywords."""
    letters = {w.lstrip("*"): sizes.get(w, 2) for w in op.letters()}
    if op.flops is not None and "G" in letters:
        letters["G"] = 1  # convolutions in several groups have no kernel
    dims = op.constrain(letters)
    drawn = op.arrays(dims, np.random.default_rng(1))
    single = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in drawn.items()}
    return {name: table.put(a) for name, a in single.items()}, op.keywords(dims)


def _both(table: Ops, op: Op, sizes: Mapping[str, Any]) -> None:
    arrays, static = arguments(table, op, sizes)
    result = getattr(table, op.forward)(**arrays, **static)
    if op.wrt:
        *ys, cache = result
        dys = [table.put(np.ones(y.shape, np.float32)) for y in ys]
        getattr(table, f"{op.name}_backward")(*dys, cache)


def _drawn(table: Ops, op: Op, sizes: Mapping[str, Any]) -> None:
    arrays, static = arguments(table, op, sizes)
    given = [a for name, a in arrays.items() if name != "noise"]
    getattr(table, f"{op.name}_drawn")(*given, STREAM, START, **static)


def precisely(name: str) -> Iterator[AbstractContextManager[None]]:
    """Yield a context for each precision that an op can be asked for."""
    products = sum(op.name == name and op.flops is not None for op in CATALOG)
    yield nullcontext()
    if products:
        module: Any = importlib.import_module("refgen_kernels.device.products")
        yield module.precision("tf32")
        yield module.precision("bf16")


def run(backend: str, table: Ops, names: list[str]) -> int:
    """Make every call, say how it went, and return how many failed."""
    bad = 0
    for name, call in calls(table, names):
        try:
            for context in precisely(name):
                with context:
                    call()
            print(f"ran     {backend} {name}")
        except Exception as failure:
            bad += 1
            print(f"FAILED  {backend} {name}: {type(failure).__name__}: {failure}")
    return bad


def main(argv: list[str] | None = None) -> int:
    """Run the kernels of the backends that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="cupy,numba-cuda", metavar="LIST")
    wanted = parser.parse_args(argv).backend.split(",")
    kernels: Any = importlib.import_module("refgen_kernels")
    if (state := importlib.import_module("refgen_kernels.device").status()) != "ok":
        print(f"gpu_small: {state}", file=sys.stderr)
        return 3
    cupy: Any = importlib.import_module("cupy")
    cupy.cuda.set_allocator(None)
    bad = 0
    for backend in wanted:
        module = importlib.import_module(f"refgen_kernels.{kernels.BACKENDS[backend]}")
        bad += run(backend, kernels.overlay(module), list(module.__all__))
        cupy.cuda.Device().synchronize()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
