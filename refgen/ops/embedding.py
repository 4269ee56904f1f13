r"""Embeddings: a time becomes a clock with many hands, a label becomes a row of a table.

Shapes     N batch, D even size of the embedding, K rows.   t, dt : (N,)    y, dy : (N, D)
           index : any shape (*S) of integers    table, dtable : (K, D)    y : (*S, D)
Sources    vaswani2017-attention  section 3.5;  ho2020-ddpm  appendix B

    ω_i = P^(−i / (D/2)),   i = 0 .. D/2 − 1:   from 1 down, towards 1/P          (SE.1)
    y = [sin(ω_0 t), ..., sin(ω_{D/2−1} t), cos(ω_0 t), ..., cos(ω_{D/2−1} t)]    (SE.2)

Adjoint. Each hand turns at its own speed, and t moves all of them:

    dt = Σ_i ω_i (dsin_i cos ω_i t − dcos_i sin ω_i t)                            (SE.3)

Lookup, y[s] = table[index[s]]. Read as a product with a matrix of zeros and ones, one 1 a
row, its adjoint is the transposed product: a row of the table gets the sum over all places
that asked for it, and 0 where none did.

    y = O table,   O[s, k] = [index[s] = k],   dtable = Oᵀ dy                      (SE.4)
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class SinusoidalCache(NamedTuple):
    """What backward needs."""

    y: Array  # (N, D)
    omega: Array  # (D/2,)


def sinusoidal_embedding_forward(
    t: Array, *, dim: int, period: float = 10_000.0
) -> tuple[Array, SinusoidalCache]:
    """Return the (N, dim) embedding of t, sines first. Raises ValueError for an odd dim.

    >>> y, _ = sinusoidal_embedding_forward(np.array([0.0]), dim=4)
    >>> y
    array([[0., 0., 1., 1.]])
    """
    if dim <= 0 or dim % 2:
        raise ValueError(f"sinusoidal_embedding: dim must be even and positive, not {dim}")
    half = dim // 2
    omega = period ** (-np.arange(half, like=t).astype(t.dtype) / half)  # (SE.1)
    angle = t[:, None] * omega
    y = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)  # (SE.2)
    return y, SinusoidalCache(y, omega)


def sinusoidal_embedding_backward(dy: Array, cache: SinusoidalCache) -> Array:
    """Return dt."""
    y, omega = cache
    half = omega.shape[0]
    sin, cos, dsin, dcos = y[:, :half], y[:, half:], dy[:, :half], dy[:, half:]
    dt: Array = np.sum(omega * (dsin * cos - dcos * sin), axis=1)  # (SE.3)
    return dt


class LookupCache(NamedTuple):
    """What backward needs."""

    asked: Array  # index, (*S) integers
    rows: Array  # 0 .. K − 1


def embedding_lookup_forward(index: Array, table: Array) -> tuple[Array, LookupCache]:
    """Return table[index], (*S, D). Raises ValueError for an index outside the table.

    >>> y, _ = embedding_lookup_forward(np.array([1, 0, 1]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> y
    array([[3., 4.],
           [1., 2.],
           [3., 4.]])
    """
    count = table.shape[0]
    if not bool(np.all((index >= 0) & (index < count))):
        raise ValueError(
            f"embedding_lookup: the table has rows 0 .. {count - 1}, and the index asks for others"
        )
    return table[index], LookupCache(index, np.arange(count, like=index))


def embedding_lookup_backward(dy: Array, cache: LookupCache) -> Array:
    """Return dtable."""
    ones = np.reshape(cache.asked, (-1, 1)) == cache.rows  # O
    flat = np.reshape(dy, (-1, dy.shape[-1]))
    dtable: Array = np.transpose(ones.astype(dy.dtype)) @ flat  # (SE.4)
    return dtable
