"""Numba CUDA twins in Numba's simulator: plain Python, thread after thread, on tens of numbers.

    NUMBA_ENABLE_CUDASIM=1 python -m tests.kernels.cuda.simulated [NAME ...]

A process of its own, since Numba reads the variable when it is imported. Prints a line a case;
exit code 1 if one fails.
"""

import argparse
import importlib
import pkgutil
import sys
import traceback

import numpy as np
from numba import config

from refgen import ops
from refgen.ops.catalog import CATALOG
from refgen_kernels import numba_cuda, overlay
from refgen_kernels.device import launcher, use
from tests.kernels.cuda import simulated
from tests.kernels.cuda.machines import HOST
from tests.kernels.judging import assert_as_accurate

SIDES = {"H": 3, "W": 4, "U": 2, "V": 3, "L": 3, "M": 4}  # others are 2


def side(letter):
    """Return the size of an axis, or of the axes that a letter with a star stands for."""
    return (3,) if letter[0] == "*" else SIDES.get(letter, 2)


def from_the_catalogue(table):
    """Yield (name, check) of every op of the catalogue that has a twin."""
    for op in CATALOG:
        if op.wrt and op.forward in numba_cuda.__all__:

            def check(op=op):
                dims = op.constrain({w.lstrip("*"): side(w) for w in op.letters()})
                inputs = op.arrays(dims, np.random.default_rng(1))
                inputs = {k: a.astype("f") if a.dtype.kind == "f" else a for k, a in inputs.items()}
                assert_as_accurate(op.name, inputs, op.keywords(dims), table=table)

            yield f"catalogue.{op.name}", check


def from_files(table):
    """Yield (name, check) of every function case_* of the files beside this one."""
    for module in pkgutil.iter_modules(simulated.__path__, "tests.kernels.cuda.simulated."):
        page = importlib.import_module(module.name) if "case_" in module.name else None
        for name, case in vars(page).items() if page else ():
            if name.startswith("case_"):
                family = module.name.rsplit("case_", 1)[1]
                yield f"{family}.{name.removeprefix('case_')}", lambda case=case: case(table)


def main() -> int:
    """Run the cases whose names begin with one of those given; all of them if none is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = tuple(parser.parse_args().names)
    if not config.ENABLE_CUDASIM:
        parser.error("set NUMBA_ENABLE_CUDASIM=1 before this starts")
    launcher.THREADS, launcher.BLOCKS = 8, 2
    table, failed = overlay(ops, numba_cuda), 0
    with use(HOST), np.errstate(all="ignore"):
        for name, check in (*from_the_catalogue(table), *from_files(table)):
            if names and not name.startswith(names):
                continue
            try:
                check()
                print(f"ok      {name}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
