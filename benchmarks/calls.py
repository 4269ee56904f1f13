"""A case as a call of an op table: the reference, or twins laid over it."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import STREAM, Case
from refgen.ops.protocol import Ops
from refgen.typing import Array

Call = Callable[[], Any]
PARTS = {"dgrad": ("spread", "_spread"), "wgrad": ("filter_gradient", "_filter_gradient")}


class Skipped(Exception):
    """A contender that cannot run a case, and why."""


def build(table: Ops, case: Case, arrays: dict[str, Array]) -> Call:
    """Return the call that is timed. Raises Skipped where the table lacks the function."""
    if case.op == "normals":
        return lambda: table.normals(STREAM, 0, case.dims["N"])
    inputs, static = tuple(arrays.values()), case.keywords()
    if case.op == "adam_ema_step":
        return _updating(function(table, case.name), arrays, static)
    if case.call == "drawn":
        drawn = function(table, case.name)
        return lambda: drawn(*inputs, STREAM, **static)
    forward = function(table, case.row.forward)
    if case.call in ("", "forward"):
        return lambda: forward(*inputs, **static)
    *ys, cache = forward(*inputs, **static)
    given = case.gradients([y.shape for y in ys])
    dys = [d.astype(y.dtype) for d, y in zip(given, ys, strict=True)]
    if case.call in PARTS:
        return _part(forward.__module__, case.call, dys[0], cache)
    backward = function(table, f"{case.op}_backward")
    if case.call == "backward":
        return lambda: backward(*dys, cache)

    def both() -> Any:
        *ys, cache = forward(*inputs, **static)
        grads = backward(*dys, cache)
        return *ys, *(grads if isinstance(grads, tuple) else (grads,))

    return both


def outputs(result: Any) -> list[Array]:
    """Return the arrays of a result; caches are tuples, and nobody judges them."""
    found = result if type(result) is tuple else (result,)
    return [a for a in found if isinstance(a, np.ndarray)]


def function(table: Ops, name: str) -> Callable[..., Any]:
    """Return an op of a table. Raises Skipped where there is none of that name."""
    found = getattr(table, name, None)
    if found is None:
        raise Skipped(f"the table has no {name}")
    op: Callable[..., Any] = found
    return op


def run_by(table: Ops, case: Case) -> str:
    """Return the module that computes a case: a twin, or the page where there is none."""
    name = case.name if case.call in ("", "drawn") else case.row.forward
    return function(table, name).__module__


def _updating(op: Callable[..., Any], arrays: dict[str, Array], static: dict[str, Any]) -> Call:
    """Return an update that goes on from its own last result."""
    state = arrays["p"], arrays["m"], arrays["v"], arrays["average"]

    def update() -> Any:
        nonlocal state
        p, m, v, average = state
        state = op(p, arrays["g"], m, v, average, **static)
        return state

    return update


def _part(module: str, call: str, dy: Array, cache: Any) -> Call:
    """Return one of the two gradients of a convolution, by the functions of its own module."""
    home: Any = importlib.import_module(module)
    name = next((n for n in PARTS[call] if hasattr(home, n)), None)
    if name is None:
        raise Skipped(f"{module} has no {PARTS[call][0]}")
    part, (x, w, geometry) = getattr(home, name), cache
    if call == "dgrad":
        return lambda: part(dy, w, geometry)
    if name.startswith("_"):  # the page wants the image in its frame, and leaves the bias to others
        return lambda: (part(home._framed(x, geometry), dy, geometry), np.sum(dy, axis=(0, 1, 2)))
    return lambda: part(x, dy, geometry)
