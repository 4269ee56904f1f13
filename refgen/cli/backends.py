"""`--backend`: which table of ops runs, chosen where the reader can see it."""

import argparse
import importlib
import os
from typing import TYPE_CHECKING

from refgen.cli import terms

if TYPE_CHECKING:
    from refgen.ops.protocol import Ops

NAMES = ("auto", "numpy", "numba", "cupy", "numba-cuda")
HELP = "auto, numpy, numba, cupy or numba-cuda (auto: numba where it is installed)"
MEND = {"numba": 'pip install "refgen[cpu]"'}


def backend(text: str) -> str:
    """Return the name of a backend, as an argparse type."""
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"unknown backend {text!r}; {terms.suggest(text, NAMES)}")
    return text


def choose(name: str) -> tuple["Ops", str]:
    """Return a table of ops and a line that says what it is.

    Raises Refusal, code 3, for a backend that cannot run here, with the reason.
    """
    from refgen import ops as reference

    plain = "numpy, the reference"
    if name == "numpy":
        return reference, plain
    try:
        from refgen_kernels import BACKENDS, overlay, status, which
    except ImportError as error:
        if name == "auto":
            return reference, f"{plain} (no kernels: {error})"
        raise terms.Refusal(f"backend {name}: refgen_kernels is missing: {error}") from error
    wanted = "numba" if name == "auto" else name
    state = status(wanted)
    if state != "ok":
        mend = f": {MEND[wanted]}" if wanted in MEND else ", and --backend numpy needs nothing"
        if name == "auto":
            return reference, f"{plain} (numba: {state}{mend})"
        raise terms.Refusal(f"backend {name} cannot run here: {state}{mend}", terms.MISSING)
    twin = importlib.import_module(f"refgen_kernels.{BACKENDS[wanted]}")
    table = overlay(twin)
    run_by = which(table).values()
    twins = sum(module.startswith("refgen_kernels.") for module in run_by)
    if wanted != "numba":
        rest = "the rest by CuPy through NumPy's own calls"
        return table, f"{wanted}: {twins} of {len(run_by)} ops by kernels, {rest}"
    # Threads that sleep between kernels take 60 µs to wake; threads that spin rob other programs,
    # which rob them in turn. So they spin for some 30 µs, which is enough between two kernels.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    twin.hold_blas()
    first = "" if twin.warm() else " (first use compiles each: `refgen doctor --warm` does it now)"
    return table, f"{wanted}: {twins} of {len(run_by)} ops by kernels, the rest by NumPy{first}"
