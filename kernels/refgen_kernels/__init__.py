"""Faster twins of refgen's hot ops, one sub-package per backend.

A backend is a module with some of the names and signatures of refgen.ops. Laid over the
reference it gives a whole table; nothing is replaced that the reader did not ask for:

    table = overlay(importlib.import_module("refgen_kernels.numba_cpu"))
    which(table)["noising_drawn"]  # -> "refgen_kernels.numba_cpu.noising"
"""

import importlib
from types import ModuleType, SimpleNamespace
from typing import cast

from refgen import ops as reference
from refgen.ops.protocol import Ops

__all__ = ["BACKENDS", "available", "overlay", "status", "which"]

BACKENDS = {"numba": "numba_cpu", "cupy": "cupy_cuda", "numba-cuda": "numba_cuda"}


def overlay(*modules: ModuleType) -> Ops:
    """Return one op table: the reference with these laid over it; the last to define an op wins."""
    merged = {name: getattr(m, name) for m in (reference, *modules) for name in m.__all__}
    return cast(Ops, SimpleNamespace(**merged))


def which(table: Ops) -> dict[str, str]:
    """Return op -> the module that runs it, in the order of the names."""
    return {name: op.__module__ for name, op in sorted(vars(table).items()) if callable(op)}


def available() -> dict[str, str]:
    """Return backend -> "ok" or why it cannot run here; "numpy", the reference, always can."""
    return {"numpy": "ok"} | {backend: status(backend) for backend in BACKENDS}


def status(backend: str) -> str:
    """Return "ok" or why a backend of BACKENDS cannot run here.

    Its sub-package says so itself, by its function `status() -> str`; importing it may fail as
    well, and then the error is the reason.
    """
    try:
        return str(importlib.import_module(f"{__name__}.{BACKENDS[backend]}").status())
    except ImportError as error:
        return str(error)
