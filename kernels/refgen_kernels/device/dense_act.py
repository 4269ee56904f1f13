"""A dense layer and its activation on the device. Mirrors refgen/ops/dense_act.py.

The activation reads what the product has just written, and its cache needs that anyway; those
that have no kernel are the page's.
"""

import importlib
from typing import Any

from refgen.ops import activation as page_of_activations
from refgen.ops import dense_act as page
from refgen.ops.dense_act import DenseActCache
from refgen.typing import Array
from refgen_kernels.device.dense import dense_backward, dense_forward
from refgen_kernels.device.launcher import Launcher

__all__ = ["dense_act_backward", "dense_act_forward"]


def dense_act_forward(
    cu: Launcher, x: Array, w: Array, b: Array, *, activation: str = "silu"
) -> tuple[Array, DenseActCache]:
    """Device twin of refgen.ops.dense_act_forward; arrays that are not float32 go to that page."""
    if activation not in page.FUNCTIONS:
        return page.dense_act_forward(x, w, b, activation=activation)
    h, dense = dense_forward(cu, x, w, b)
    y, act = _twin(cu, f"{activation}_forward")(h)  # (DA.1)
    return y, DenseActCache(dense, act, activation)


def dense_act_backward(cu: Launcher, dy: Array, cache: DenseActCache) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.dense_act_backward; arrays that are not float32 go to that page."""
    dh = _twin(cu, f"{cache.activation}_backward")(dy, cache.act)
    return dense_backward(cu, dh, cache.dense)


def _twin(cu: Launcher, name: str) -> Any:
    """Return the activation of the same backend, or the page's."""
    backend = cu.module_name.rpartition(".")[0]
    kernels = importlib.import_module(f"{backend}.activation")
    return getattr(kernels, name, None) or getattr(page_of_activations, name)
