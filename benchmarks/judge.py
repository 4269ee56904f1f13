"""Correctness, before any timing: the reference in float64 is right, float32 may err a little."""

from typing import Any

import numpy as np

from benchmarks.cases import STREAM, Case
from refgen import ops
from refgen.typing import Array

EPS = float(np.finfo(np.float32).eps)


def judge(case: Case, outputs: list[Any], noise: Array | None) -> tuple[float, float]:
    """Return (error, allowed), both as a share of the largest entry, or of 1 if that is larger.

    Allowed is four times what the float32 reference errs, and eight roundings.
    """
    if case.op == "normals" and noise is not None:  # another generator: look at its moments
        z = np.asarray(outputs[0], np.float64)
        return max(abs(float(z.mean())), abs(float(z.var()) - 1)), 6 / z.size**0.5
    if noise is None and case.size:
        noise = np.reshape(ops.normals(STREAM, 0, int(np.prod(case.size))), case.size)
    gold, page = (_expected(case, noise, dtype) for dtype in (np.float64, np.float32))
    error, allowed = 0.0, 0.0
    for output, g, p in zip(outputs, gold, page, strict=False):  # caches follow the outputs
        scale = max(1.0, float(np.abs(g).max()))
        error = max(error, float(np.abs(output - g).max()) / scale)
        allowed = max(allowed, 4 * float(np.abs(p - g).max()) / scale + 8 * EPS)
    return error, allowed


def _expected(case: Case, noise: Array | None, dtype: type) -> list[Array]:
    """Return the outputs that count, by the reference, in that precision."""
    inputs: list[Array] = [a.astype(dtype) for a in case.arrays().values()]
    drawn: list[Array] = [] if noise is None else [noise.astype(dtype)]
    if case.op == "normals":
        return drawn
    if case.op == "noising_drawn":
        data, a, b = inputs
        return [ops.noising_forward(data, drawn[0], a, b)[0], *drawn]
    op = getattr(ops, case.op.replace("_drawn", "_forward"))
    result = op(*inputs, *drawn, **case.static)
    return list(result if case.op == "adam_ema_step" else result[:-1])
