r"""Affine coupling: scale and shift one half by numbers computed from the other.

Shapes     N batch, D features of the half that moves.   logdet, dlogdet : (N,)
           x, y, shift, log_scale and their gradients : (N, D)
Sources    dinh2017-realnvp  eq. 4-8;  dinh2015-nice  (log_scale = 0)

    y = x exp(s) + t                                              (AC.1)
    x = (y − t) exp(−s)                                           (AC.2)
    log |det ∂y/∂x| = Σ_d s                                       (AC.3)

The Jacobian of the whole layer is triangular: the half that computes s and t passes
unchanged, so only this diagonal, exp(s), counts.

Adjoint. Each coordinate is scaled by itself; s is felt twice, in y and in the volume.

    dx = dy exp(s),   dt = dy,   ds = dy x exp(s) + dlogdet       (AC.4)
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class AffineCouplingCache(NamedTuple):
    """What backward needs."""

    x: Array  # (N, D)
    scale: Array  # (N, D)  exp(s)


def affine_coupling_forward(
    x: Array, shift: Array, log_scale: Array
) -> tuple[Array, Array, AffineCouplingCache]:
    """Return (y, logdet, cache).

    >>> y, logdet, _ = affine_coupling_forward(np.ones((1, 2)), np.zeros((1, 2)), np.log([[2, 4]]))
    >>> y, bool(np.isclose(np.exp(logdet[0]), 8))  # a unit square becomes 2 by 4
    (array([[2., 4.]]), True)
    """
    scale = np.exp(log_scale)
    y = x * scale + shift  # (AC.1)
    return y, np.sum(log_scale, axis=1), AffineCouplingCache(x, scale)  # (AC.3)


def affine_coupling_inverse(y: Array, shift: Array, log_scale: Array) -> Array:
    """Return the x whose image is y."""
    return (y - shift) * np.exp(-log_scale)  # (AC.2)


def affine_coupling_backward(
    dy: Array, dlogdet: Array, cache: AffineCouplingCache
) -> tuple[Array, Array, Array]:
    """Return (dx, dshift, dlog_scale)."""
    dx = dy * cache.scale
    return dx, dy, dx * cache.x + dlogdet[:, None]  # (AC.4)
