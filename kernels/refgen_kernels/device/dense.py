"""The affine map on the device. Mirrors refgen/ops/dense.py."""

from refgen.ops import dense as page
from refgen.ops.dense import DenseCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import suits
from refgen_kernels.device.products import collect, correlate, dense_sizes, spread

__all__ = ["dense_backward", "dense_forward"]


def dense_forward(cu: Launcher, x: Array, w: Array, b: Array) -> tuple[Array, DenseCache]:
    """Device twin of refgen.ops.dense_forward; arrays that are not float32 go to that page."""
    if not (_suits(x, w) and suits(w.shape[1:], b)):
        return page.dense_forward(x, w, b)
    sizes = dense_sizes(_rows(x), *w.shape)
    y = correlate(cu, x, w, b, sizes)  # (D.1)
    return y.reshape(*x.shape[:-1], w.shape[1]), DenseCache(x, w)


def dense_backward(cu: Launcher, dy: Array, cache: DenseCache) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.dense_backward; arrays that are not float32 go to that page."""
    x, w = cache
    if not (_suits(x, w) and suits((*x.shape[:-1], w.shape[1]), dy)):
        return page.dense_backward(dy, cache)
    sizes = dense_sizes(_rows(x), *w.shape)
    dx = spread(cu, dy, w, None, sizes)  # (D.2)
    dw, db = collect(cu, x, dy, sizes)  # (D.3)
    return dx.reshape(x.shape), dw.reshape(w.shape), db


def _rows(x: Array) -> int:
    rows = 1
    for n in x.shape[:-1]:
        rows *= n
    return rows


def _suits(x: Array, w: Array) -> bool:
    fits = x.ndim > 0 and w.ndim == 2 and x.shape[-1] == w.shape[0]
    if not (fits and suits(x.shape, x) and suits(w.shape, w)):
        return False
    return dense_sizes(_rows(x), *w.shape).countable
