"""Faster twins of refgen's hot ops, one sub-package per backend.

A backend is a module with some of the names and signatures of refgen.ops. Laid over the
reference it gives a whole table; nothing is replaced that the reader did not ask for:

    table = overlay(importlib.import_module("refgen_kernels.numba_cpu"))
    which(table)["noising_drawn"]  # -> "refgen_kernels.numba_cpu.noising"
"""

import importlib
import importlib.util
from types import ModuleType, SimpleNamespace
from typing import cast

from refgen import ops as reference
from refgen.ops.protocol import Ops

__all__ = ["BACKENDS", "available", "overlay", "which"]

BACKENDS = {"numba": "numba_cpu", "cupy": "cupy_cuda", "numba-cuda": "numba_cuda"}


def overlay(*modules: ModuleType) -> Ops:
    """Return one op table: the reference with these laid over it; the last to define an op wins."""
    merged = {name: getattr(m, name) for m in (reference, *modules) for name in m.__all__}
    return cast(Ops, SimpleNamespace(**merged))


def which(table: Ops) -> dict[str, str]:
    """Return op -> the module that runs it, in the order of the names."""
    return {name: op.__module__ for name, op in sorted(vars(table).items()) if callable(op)}


def available() -> dict[str, str]:
    """Return backend -> "ok" or why it cannot run here; "numpy", the reference, always can.

    The sub-package of a backend says so itself, by its function `status() -> str`; importing
    it may fail as well, and then the error is the reason.
    """
    found = {"numpy": "ok"}
    for backend, package in BACKENDS.items():
        name = f"{__name__}.{package}"
        if importlib.util.find_spec(name) is None:
            continue
        try:
            found[backend] = str(importlib.import_module(name).status())
        except ImportError as error:
            found[backend] = str(error)
    return found
