r"""A dense layer and its activation in one op: what a kernel writes once instead of twice.

Shapes     x, dx : (N, *S, I)    w, dw : (I, O)    b, db : (O,)    y, dy : (N, *S, O)
Sources    rumelhart1986-backprop

    y = f(x w + b),   f one of the activations                                    (DA.1)

Adjoint. The parts backwards; they are derived on the pages of dense and of activation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from refgen.ops import activation as page
from refgen.ops.dense import DenseCache, dense_backward, dense_forward
from refgen.typing import Array, Cache

FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Array]]] = {
    "relu": (page.relu_forward, page.relu_backward),
    "leaky_relu": (page.leaky_relu_forward, page.leaky_relu_backward),
    "sigmoid": (page.sigmoid_forward, page.sigmoid_backward),
    "tanh": (page.tanh_forward, page.tanh_backward),
    "silu": (page.silu_forward, page.silu_backward),
    "softplus": (page.softplus_forward, page.softplus_backward),
    "gelu": (page.gelu_forward, page.gelu_backward),
}


class DenseActCache(NamedTuple):
    """The caches of the parts, and which activation it was."""

    dense: DenseCache
    act: Cache
    activation: str


def dense_act_forward(
    x: Array, w: Array, b: Array, *, activation: str = "silu"
) -> tuple[Array, DenseActCache]:
    """Return (y, cache). Raises ValueError for an unknown activation.

    >>> import numpy as np
    >>> x, w, b = np.array([[1.0, 2.0]]), np.array([[1.0], [-1.0]]), np.array([0.0])
    >>> dense_act_forward(x, w, b, activation="relu")[0]
    array([[0.]])
    """
    if activation not in FUNCTIONS:
        raise ValueError(
            f"dense_act: unknown activation {activation!r}; there are {', '.join(FUNCTIONS)}"
        )
    h, dense = dense_forward(x, w, b)
    y, act = FUNCTIONS[activation][0](h)  # (DA.1)
    return y, DenseActCache(dense, act, activation)


def dense_act_backward(dy: Array, cache: DenseActCache) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db)."""
    dh = FUNCTIONS[cache.activation][1](dy, cache.act)
    return dense_backward(dh, cache.dense)
