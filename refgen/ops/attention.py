r"""Attention: every token asks all others, and takes of each as much as its answer fits.

Shapes     N batch, L queries, M keys, h heads, D features of a head for matching, E for taking.
           q, dq : (N, L, h D)    k, dk : (N, M, h D)    v, dv : (N, M, h E)
           y, dy : (N, L, h E)    mask : (L, M), true where a query may look
           softmax:  x, y, dx, dy : (..., K), over the last axis
Sources    vaswani2017-attention  eq. 1, section 3.2;  zhang2019-sagan  figure 2

    softmax(x)_i = e^{x_i} / Σ_j e^{x_j}                                          (AT.1)

The largest x is subtracted first, which changes nothing and keeps every exponential at most 1.
Features are cut into h heads that attend on their own; of one head:

    S = q kᵀ / √D,   −∞ where the mask is false                                   (AT.2)
    A = softmax(S),   y = A v                                                     (AT.3)

Self-attention takes q, k and v from one sequence, cross-attention k and v from another. Where
features are independent with variance 1, q·k has variance D; the root keeps S of size 1.

A has L × M numbers where q, k and v have (L + M) D: it costs more to keep than to make again. So
forward keeps one number a row, the logarithm of the sum that the row was divided by:

    c = log Σ_j e^{S_j},   A = e^{S − c}                                          (AT.8)

Adjoint. A row of A sums to 1, so only differences of dA along the row matter: subtract their
mean, weighted by A.

    softmax:  dx = y ⊙ (dy − Σ_j y_j dy_j)                                        (AT.4)
    dv = Aᵀ dy,   dA = dy vᵀ,   dS by (AT.4)                                      (AT.5)
    dq = dS k / √D,   dk = dSᵀ q / √D                                             (AT.6)

Tangent of the softmax. Its Jacobian is symmetric, so ẏ is (AT.4) of ẋ. Its own derivative
along u, with P(u) = u − Σ y u:

    ẏ = y ⊙ P(ẋ),   dx = y ⊙ (P(u) ⊙ P(ẋ) − Σ_j y_j P(u)_j P(ẋ)_j)                 (AT.7)
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.ops.home import here
from refgen.typing import Array


class SoftmaxCache(NamedTuple):
    """What backward needs."""

    y: Array


class AttentionCache(NamedTuple):
    """What backward needs."""

    q: Array  # (N, L, h D)
    k: Array  # (N, M, h D)
    v: Array  # (N, M, h E)
    mask: Array | None  # (L, M)
    total: Array  # c, (N, h, L)


def softmax_forward(x: Array) -> tuple[Array, SoftmaxCache]:
    """Return the softmax over the last axis.

    >>> y, _ = softmax_forward(np.array([1000.0, 1000.0, -1000.0]))
    >>> y
    array([0.5, 0.5, 0. ])
    """
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    y = e / np.sum(e, axis=-1, keepdims=True)  # (AT.1)
    return y, SoftmaxCache(y)


def softmax_backward(dy: Array, cache: SoftmaxCache) -> Array:
    """Return dx."""
    return cache.y * _centred(dy, cache.y)  # (AT.4)


def softmax_tangent(x_dot: Array, cache: SoftmaxCache) -> Array:
    """Return y_dot."""
    return cache.y * _centred(x_dot, cache.y)


def softmax_curvature(dy_dot: Array, x_dot: Array, cache: SoftmaxCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    product = _centred(dy_dot, cache.y) * _centred(x_dot, cache.y)
    return cache.y * _centred(product, cache.y)  # (AT.7)


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, heads: int
) -> tuple[Array, AttentionCache]:
    """Return (y, cache).

    Raises ValueError for features that heads do not divide, for sizes of q, k and v that do not
    fit, and for a mask that forbids a query every key.
    """
    _check(q, k, v, mask, heads)
    scores = _scores(q, k, mask, heads)
    top = np.max(scores, axis=-1, keepdims=True)
    weights = np.exp(scores - top)
    sums = np.sum(weights, axis=-1, keepdims=True)
    y = _side_by_side(weights / sums @ _by_head(v, heads))  # (AT.3)
    return y, AttentionCache(q, k, v, mask, (top + np.log(sums))[..., 0])  # (AT.8)


def attention_weights(cache: AttentionCache) -> Array:
    """Return A, (N, h, L, M)."""
    q, k, _, mask, total = cache
    weights: Array = np.exp(_scores(q, k, mask, total.shape[1]) - total[..., None])  # (AT.8)
    return weights


def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Return (dq, dk, dv). What the mask forbids has weight 0, and so no gradient."""
    heads, weights = cache.total.shape[1], attention_weights(cache)
    q, k, v, dheads = (_by_head(a, heads) for a in (cache.q, cache.k, cache.v, dy))
    dv = np.swapaxes(weights, -1, -2) @ dheads
    dweights = dheads @ np.swapaxes(v, -1, -2)
    dscores = softmax_backward(dweights, SoftmaxCache(weights)) / math.sqrt(k.shape[-1])  # (AT.5)
    dq, dk = dscores @ k, np.swapaxes(dscores, -1, -2) @ q  # (AT.6)
    return _side_by_side(dq), _side_by_side(dk), _side_by_side(dv)


def _scores(q: Array, k: Array, mask: Array | None, heads: int) -> Array:
    queries, keys = _by_head(q, heads), _by_head(k, heads)
    scores = queries @ np.swapaxes(keys, -1, -2) / math.sqrt(keys.shape[-1])  # (AT.2)
    return scores if mask is None else np.where(mask, scores, -np.inf)


def _centred(g: Array, y: Array) -> Array:
    centred: Array = g - np.sum(y * g, axis=-1, keepdims=True)
    return centred


def _by_head(a: Array, heads: int) -> Array:
    """Return (N, L, h D) as (N, h, L, D)."""
    n, length, features = a.shape
    return np.swapaxes(np.reshape(a, (n, length, heads, features // heads)), 1, 2)


def _side_by_side(a: Array) -> Array:
    """Return (N, h, L, D) as (N, L, h D)."""
    n, heads, length, size = a.shape
    return np.reshape(np.swapaxes(a, 1, 2), (n, length, heads * size))


def _check(q: Array, k: Array, v: Array, mask: Array | None, heads: int) -> None:
    for name, a in (("q", q), ("k", k), ("v", v)):
        if a.ndim != 3:
            raise ValueError(f"attention: {name} is (N, tokens, features), not {a.shape}")
        if heads < 1 or a.shape[-1] % heads:
            raise ValueError(
                f"attention: the {a.shape[-1]} features of {name} cannot be cut into {heads} "
                f"heads: they must be a multiple of {max(heads, 1)}"
            )
    if q.shape[0] != k.shape[0] or q.shape[-1] != k.shape[-1] or k.shape[:2] != v.shape[:2]:
        raise ValueError(
            f"attention: q and k must agree in batch and features, k and v in batch and tokens, "
            f"not q {q.shape}, k {k.shape}, v {v.shape}"
        )
    if mask is not None and mask.shape != (q.shape[1], k.shape[1]):
        raise ValueError(
            f"attention: the mask is (queries, keys) = {(q.shape[1], k.shape[1])}, not {mask.shape}"
        )
    if mask is not None and here(mask) and not np.all(np.any(mask, axis=-1)):
        raise ValueError("attention: the mask forbids a query every key; let it see one at least")
