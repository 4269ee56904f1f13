r"""Embeddings: a time becomes a clock with many hands, a label becomes a row of a table.

Shapes     N batch, D even size of the embedding, K rows.   t, dt : (N,)    y, dy : (N, D)
           index : any shape (*S) of integers    table, dtable : (K, D)    y : (*S, D)
Sources    vaswani2017-attention  section 3.5;  ho2020-ddpm  appendix B

    half:             ω_i = P^(−i / (D/2)),       i = 0 .. D/2 − 1                (SE.1)
    half_minus_one:   ω_i = P^(−i / (D/2 − 1)),   the slowest hand is 1/P itself  (SE.2)
    sin_cos:          y = [sin ω_0 st, sin ω_1 st, ..., cos ω_0 st, cos ω_1 st, ...]   (SE.3)

Networks in circulation differ in four ways that no shape shows: the spacing of the hands; their
order, sin_cos, cos_sin or interleaved (sin ω_0, cos ω_0, sin ω_1, ...); the scale s of t, 1000
where t runs over [0, 1]; and the period P. Parameters trained with one are wrong with another.

    transformers                  half              interleaved
    DDPM                          half_minus_one    sin_cos
    improved DDPM, ADM, DiT       half              cos_sin

Adjoint. Each hand turns at its own speed, and t moves all of them:

    dt = Σ dy ∂y/∂t,   ∂ sin ω st/∂t = ω s cos ω st,   ∂ cos ω st/∂t = −ω s sin ω st   (SE.4)

Lookup, y[s] = table[index[s]]. Read as a product with a matrix of zeros and ones, one 1 a
row, its adjoint is the transposed product: a row of the table gets the sum over all places
that asked for it, and 0 where none did.

    y = O table,   O[s, k] = [index[s] = k],   dtable = Oᵀ dy                      (SE.5)
"""

from typing import NamedTuple

import numpy as np

from refgen.ops.home import here
from refgen.typing import Array

ORDERS = ("sin_cos", "cos_sin", "interleaved")
SPACINGS = ("half", "half_minus_one")


class SinusoidalCache(NamedTuple):
    """What backward needs."""

    speed: Array  # ∂y/∂t, (N, D)


def sinusoidal_embedding_forward(
    t: Array,
    *,
    dim: int,
    period: float = 10_000.0,
    order: str = "sin_cos",
    spacing: str = "half",
    scale: float = 1.0,
) -> tuple[Array, SinusoidalCache]:
    """Return (y, cache), y : (N, dim).

    Raises ValueError for an order or spacing that is not in ORDERS or SPACINGS, for an odd dim,
    and for dim 2 with half_minus_one, which leaves one hand and no distance between hands.

    >>> y, _ = sinusoidal_embedding_forward(np.array([0.0]), dim=4)
    >>> y
    array([[0., 0., 1., 1.]])
    >>> y, _ = sinusoidal_embedding_forward(np.array([0.0]), dim=4, order="interleaved")
    >>> y
    array([[0., 1., 0., 1.]])
    """
    if order not in ORDERS or spacing not in SPACINGS:
        raise ValueError(
            f"sinusoidal_embedding: order is one of {', '.join(ORDERS)} and spacing one of "
            f"{', '.join(SPACINGS)}, not {order!r} and {spacing!r}"
        )
    if dim <= 0 or dim % 2 or (dim == 2 and spacing == "half_minus_one"):
        least = 4 if spacing == "half_minus_one" else 2
        raise ValueError(
            f"sinusoidal_embedding: dim must be even and at least {least} with spacing {spacing!r}"
            f", not {dim}"
        )
    half = dim // 2
    steps = half if spacing == "half" else half - 1  # (SE.1), (SE.2)
    omega = period ** (-np.arange(half, like=t).astype(t.dtype) / steps) * scale
    angle = t[:, None] * omega
    sin, cos = np.sin(angle), np.cos(angle)
    y = _arranged(sin, cos, order)  # (SE.3)
    return y, SinusoidalCache(_arranged(omega * cos, -omega * sin, order))


def sinusoidal_embedding_backward(dy: Array, cache: SinusoidalCache) -> Array:
    """Return dt."""
    dt: Array = np.sum(dy * cache.speed, axis=1)  # (SE.4)
    return dt


def _arranged(sin: Array, cos: Array, order: str) -> Array:
    """Return the hands side by side, (N, D)."""
    if order == "interleaved":
        return np.reshape(np.stack([sin, cos], axis=2), (sin.shape[0], -1))
    return np.concatenate([sin, cos] if order == "sin_cos" else [cos, sin], axis=1)


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
    if here(index) and not np.all((index >= 0) & (index < count)):
        raise ValueError(
            f"embedding_lookup: the table has rows 0 .. {count - 1}, and the index asks for others"
        )
    return table[index], LookupCache(index, np.arange(count, like=index))


def embedding_lookup_backward(dy: Array, cache: LookupCache) -> Array:
    """Return dtable."""
    ones = np.reshape(cache.asked, (-1, 1)) == cache.rows  # O
    flat = np.reshape(dy, (-1, dy.shape[-1]))
    dtable: Array = np.transpose(ones.astype(dy.dtype)) @ flat  # (SE.5)
    return dtable
