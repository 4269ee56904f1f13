r"""Spectral norm: a weight divided by the most that it can stretch anything.

Shapes     I inputs (all axes of the weight but the last), O outputs.
           w, y, dw, dy : (..., O), read as a matrix W : (I, O)    u : (I,)    v : (O,)
Sources    miyato2018-spectral-norm  section 2.1, algorithm 1

σ(W) = max |W v| over |v| = 1. Power iteration finds it, from any v that is not orthogonal to
the best one:

    u ← W v / |W v|,   v ← Wᵀ u / |Wᵀ u|                                          (SP.1)
    σ = uᵀ W v,   y = w / σ                                                       (SP.2)

A weight moves little in one step of training, so v is kept and one iteration a step suffices.

Adjoint. u and v are held fixed. They depend on W too, but at the maximum of uᵀ W v over unit
vectors, where σ does not move with them to first order:

    dW = (dy − ⟨dy, y⟩ u vᵀ) / σ                                                  (SP.3)

So y cannot be made larger along u vᵀ: ⟨dW, w⟩ = 0, as scaling w does not change y.
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class SpectralCache(NamedTuple):
    """What backward needs."""

    y: Array
    u: Array
    v: Array
    sigma: Array


def power_step(w: Array, v: Array, *, iterations: int = 1) -> tuple[Array, Array]:
    """Return (u, v) after some rounds of (SP.1). Raises ValueError for iterations < 1.

    >>> u, v = power_step(np.diag([3.0, 1.0]), np.array([0.6, 0.8]), iterations=20)
    >>> v.round(6)
    array([1., 0.])
    """
    if iterations < 1:
        raise ValueError(f"power_step: iterations must be at least 1, not {iterations}")
    matrix = np.reshape(w, (-1, w.shape[-1]))
    for _ in range(iterations):
        u = _unit(matrix @ v)
        v = _unit(np.transpose(matrix) @ u)  # (SP.1)
    return u, v


def spectral_norm_forward(w: Array, u: Array, v: Array) -> tuple[Array, SpectralCache]:
    """Return (w / σ, cache), with u and v from power_step, taken for constants."""
    matrix = np.reshape(w, (-1, w.shape[-1]))
    sigma = u @ matrix @ v
    y = w / sigma  # (SP.2)
    return y, SpectralCache(y, u, v, sigma)


def spectral_norm_backward(dy: Array, cache: SpectralCache) -> Array:
    """Return dw."""
    y, u, v, sigma = cache
    outer = np.reshape(np.reshape(u, (-1, 1)) * v, y.shape)
    dw: Array = (dy - np.sum(dy * y) * outer) / sigma  # (SP.3)
    return dw


def _unit(a: Array) -> Array:
    unit: Array = a / np.sqrt(np.sum(a * a))
    return unit
