"""A case as a call of an op table whose arrays lie where the table computes.

As calls.py does it for ordinary memory; the gradients that arrive are given.
"""

import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.calls import PARTS, Call, _part, function
from benchmarks.cases import STREAM, Case
from refgen.ops.protocol import Ops
from refgen.typing import Array


def build(
    table: Ops, case: Case, arrays: dict[str, Array], dys: Sequence[Array], start: int = 0
) -> Call:
    """Return the call that is timed; draws begin at element `start` of the stream.

    Raises Skipped where the table lacks the function.
    """
    if case.op == "normals":
        normals = function(table, "normals")
        return lambda: normals(STREAM, start, case.dims["N"])
    inputs, static = tuple(arrays.values()), case.keywords()
    if case.call == "drawn":
        drawn = function(table, case.name)
        return lambda: drawn(*inputs, STREAM, start, **static)
    forward = function(table, case.name if case.call == "" else case.row.forward)
    if case.call in ("", "forward"):
        return lambda: forward(*inputs, **static)
    backward = function(table, f"{case.op}_backward")
    if case.call == "both":

        def both() -> Any:
            *ys, cache = forward(*inputs, **static)
            grads = backward(*dys, cache)
            return *ys, *(grads if isinstance(grads, tuple) else (grads,))

        return both
    cache = forward(*inputs, **static)[-1]
    if case.call not in PARTS:
        return lambda: backward(*dys, cache)
    home: Any = importlib.import_module(forward.__module__)
    if hasattr(home, "KERNELS"):
        return _product(home.KERNELS, case.call, dys[0], cache)
    return _part(forward.__module__, case.call, dys[0], cache)


def _product(kernels: Any, call: str, dy: Array, cache: Any) -> Call:
    """Return one of the gradients of a convolution by the products of a device."""
    products: Any = importlib.import_module("refgen_kernels.device.products")
    x, w, (kernel, stride, padding, image, _) = cache
    windows = (dy.shape[1], dy.shape[2])
    sizes = products.Sizes(len(x), image, w.shape[2], windows, w.shape[3], kernel, stride, padding)
    if call == "dgrad":
        return lambda: products.spread(kernels, dy, w, None, sizes)

    def wgrad() -> Any:
        return products.collect(kernels, x, dy, sizes), products.add_rows(kernels, dy, w.shape[3])

    return wgrad


def results(result: Any, kind: type) -> list[Any]:
    """Return the arrays of a result; what a forward keeps for its backward is not among them."""
    found = result if type(result) is tuple else (result,)
    return [a for a in found if isinstance(a, kind)]


def kept(result: Any, kind: type, inputs: Sequence[Any]) -> list[Any]:
    """Return the arrays that a forward keeps and that are neither its inputs nor its results."""
    known = {id(a) for a in [*inputs, *results(result, kind)]}
    found = []
    for a in _arrays(result, kind):
        if id(a) not in known:
            known.add(id(a))
            found.append(a)
    return found


def _arrays(x: Any, kind: type) -> list[Any]:
    if isinstance(x, kind):
        return [x]
    if isinstance(x, tuple | list):
        return [a for part in x for a in _arrays(part, kind)]
    return []
