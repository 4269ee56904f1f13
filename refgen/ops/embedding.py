r"""Sinusoidal embedding of a time: a clock with many hands, from fast to slow.

Shapes     N batch, D even size of the embedding.   t, dt : (N,)    y, dy : (N, D)
Sources    vaswani2017-attention  section 3.5;  ho2020-ddpm  appendix B

    ω_i = P^(−i / (D/2)),   i = 0 .. D/2 − 1:   from 1 down, towards 1/P          (SE.1)
    y = [sin(ω_0 t), ..., sin(ω_{D/2−1} t), cos(ω_0 t), ..., cos(ω_{D/2−1} t)]    (SE.2)

Adjoint. Each hand turns at its own speed, and t moves all of them:

    dt = Σ_i ω_i (dsin_i cos ω_i t − dcos_i sin ω_i t)                            (SE.3)
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
