r"""The affine map on the last axis: a dense layer, a 1x1 convolution, a token projection.

Shapes     N batch, S any axes between batch and features, I inputs, O outputs.
           x, dx : (N, *S, I)    w, dw : (I, O)    b, db : (O,)    y, dy : (N, *S, O)
Sources    rumelhart1986-backprop

    y = x w + b                                                   (D.1)

Adjoint. Each output mixes the inputs of its own row, so the gradient goes back through
the transposed weights; w and b serve every row, so theirs are sums over rows.

    dx = dy wᵀ                                                    (D.2)
    dw = Σ_rows xᵀ dy,   db = Σ_rows dy                           (D.3)

Tangent. y is linear in x, in w and in b; the rule of the product gives

    ẏ = ẋ w + x ẇ + ḃ,   for ⟨dẏ, ẏ⟩:  dx = dẏ ẇᵀ,  dw = Σ_rows ẋᵀ dẏ,  db = 0   (D.4)
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class DenseCache(NamedTuple):
    """What backward needs."""

    x: Array  # (N, *S, I)
    w: Array  # (I, O)


def dense_forward(x: Array, w: Array, b: Array) -> tuple[Array, DenseCache]:
    """Return y = x w + b, (N, *S, O).

    >>> y, _ = dense_forward(np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]]), np.array([0.5]))
    >>> y
    array([[21.5]])
    """
    return x @ w + b, DenseCache(x, w)  # (D.1)


def dense_backward(dy: Array, cache: DenseCache) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db)."""
    x, w = cache
    rows, drows = np.reshape(x, (-1, w.shape[0])), np.reshape(dy, (-1, w.shape[1]))
    dx = dy @ np.transpose(w)  # (D.2)
    return dx, np.transpose(rows) @ drows, np.sum(drows, axis=0)  # (D.3)


def dense_tangent(x_dot: Array, w_dot: Array, b_dot: Array, cache: DenseCache) -> Array:
    """Return y_dot."""
    y_dot: Array = x_dot @ cache.w + cache.x @ w_dot + b_dot
    return y_dot


def dense_curvature(
    dy_dot: Array, x_dot: Array, w_dot: Array, b_dot: Array, cache: DenseCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, w, b); b has none."""
    rows, drows = np.reshape(x_dot, (-1, w_dot.shape[0])), np.reshape(dy_dot, (-1, w_dot.shape[1]))
    dw = np.transpose(rows) @ drows
    return dy_dot @ np.transpose(w_dot), dw, np.zeros_like(b_dot)  # (D.4)
