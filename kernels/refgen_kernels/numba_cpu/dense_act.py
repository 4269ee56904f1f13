"""A dense layer and its activation. Mirrors the page of its name.

The product is written once and read once more, while it is in the cache where it is small; the
activations that kernels have are silu and relu, the others are the page's.
"""

from refgen.ops import activation as page_of_activations
from refgen.ops import dense_act as page
from refgen.ops.dense_act import DenseActCache
from refgen.typing import Array
from refgen_kernels.numba_cpu import activation as kernels
from refgen_kernels.numba_cpu.arrays import single
from refgen_kernels.numba_cpu.dense import dense_backward, dense_forward


def dense_act_forward(
    x: Array, w: Array, b: Array, *, activation: str = "silu"
) -> tuple[Array, DenseActCache]:
    """CPU twin of refgen.ops.dense_act_forward; arrays that are not float32 go to that page."""
    if activation not in page.FUNCTIONS or not single(x, w, b):
        return page.dense_act_forward(x, w, b, activation=activation)
    h, dense = dense_forward(x, w, b)
    y, act = _function(activation, "forward")(h)  # (DA.1)
    return y, DenseActCache(dense, act, activation)


def dense_act_backward(dy: Array, cache: DenseActCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.dense_act_backward; arrays that are not float32 go to that page."""
    if not single(dy, *cache.dense):
        return page.dense_act_backward(dy, cache)
    return dense_backward(_function(cache.activation, "backward")(dy, cache.act), cache.dense)


def _function(activation: str, way: str):  # type: ignore[no-untyped-def]
    name = f"{activation}_{way}"
    return getattr(kernels, name, None) or getattr(page_of_activations, name)
