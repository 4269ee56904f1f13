"""How a twin is judged: by float64, beside the float32 page, forward and backward."""

import numpy as np

from refgen import ops
from refgen.typing import Array
from refgen_kernels import numba_cpu, overlay
from tests.strategies import draw_like

EPS = np.finfo(np.float32).eps
TABLE = overlay(numba_cpu)


def run(table, name, inputs, static, dtype, seed=0):
    """Return all results of an op and of its backward, by name."""
    given = {
        k: a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a for k, a in inputs.items()
    }
    *ys, cache = getattr(table, f"{name}_forward")(**given, **static)
    rng = np.random.default_rng(seed)
    dys = [draw_like(rng, y).astype(np.float32).astype(dtype) for y in ys]
    grads = getattr(table, f"{name}_backward")(*dys, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    found = {f"y{i}": y for i, y in enumerate(ys)}
    return found | {f"gradient {i}": g for i, g in enumerate(grads)}


def assert_as_accurate(name, inputs, static, *, table=None, share_of_std=0.0):
    """Assert that the twin errs at most four times as much as the page, plus eight roundings.

    share_of_std > 0 allows that share of a result's standard deviation instead, as for Winograd.
    """
    gold = run(ops, name, inputs, static, np.float64)
    page = run(ops, name, inputs, static, np.float32)
    twin = run(table or TABLE, name, inputs, static, np.float32)
    for what, g in gold.items():
        p, t = page[what], twin[what]
        assert (t.shape, t.dtype) == (p.shape, p.dtype), what
        error, by_page = (float(np.abs(a - g).max(initial=0.0)) for a in (t, p))
        allowed = 4 * by_page + 8 * EPS * max(1.0, float(np.abs(g).max(initial=0.0)))
        if share_of_std:
            allowed = max(allowed, share_of_std * float(g.std()) if g.size else 0.0)
        assert error <= allowed, f"{what} of {name}: {error} > {allowed}"


def same_bits(x: Array, y: Array) -> bool:
    """Tell whether two arrays agree to the last bit."""
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
