r"""Modulation: a condition scales and shifts the features, or opens and shuts a branch.

Shapes     N batch, *S axes between batch and features, C features.
           x, branch, y : (N, *S, C)    scale, shift, gate : (N, C)
Sources    perez2018-film  eq. 2;  peebles2023-dit  section 3.2 (AdaLN, AdaLN-Zero)

    film:    y = (1 + scale) x + shift                                            (MD.1)
    adaln:   y = (1 + scale) x̂ + shift,   x̂ the layer norm of x without γ and β    (MD.2)
    gate:    y = x + gate · branch                                                (MD.3)

A condition that says 0 leaves x alone. AdaLN-Zero is adaln before a branch and gate after it,
with scale, shift and gate from one dense layer that starts at 0.

Adjoint. One number of the condition served every place of its example, so its gradient is a
sum over places; x meets a factor, and after the norm also P of that page:

    film:    dx = (1 + scale) dy,   dscale = Σ_S dy x,   dshift = Σ_S dy          (MD.4)
    adaln:   dx = r P((1 + scale) dy),   dscale = Σ_S dy x̂                        (MD.5)
    gate:    dx = dy,   dbranch = gate dy,   dgate = Σ_S dy branch                (MD.6)

Tangent and curvature of film, with s for scale and b for shift. It is bilinear in x and 1 + s,
so each moves beside the other, and ⟨dẏ, ẏ⟩ is linear in both:

    ẏ = (1 + s) ẋ + ṡ x + ḃ                                                       (MD.7)
    dx = ṡ dẏ,   ds = Σ_S dẏ ẋ,   db = 0                                          (MD.8)
"""

from typing import NamedTuple

import numpy as np

from refgen.ops.normalization import Standard, standardize, standardize_backward
from refgen.typing import Array


class FilmCache(NamedTuple):
    """What backward needs."""

    x: Array
    scale: Array


class AdalnCache(NamedTuple):
    """What backward needs."""

    sets: Standard
    scale: Array


class GateCache(NamedTuple):
    """What backward needs."""

    branch: Array
    gate: Array


def film_forward(x: Array, scale: Array, shift: Array) -> tuple[Array, FilmCache]:
    """Return (y, cache). Raises ValueError unless scale and shift are (N, C)."""
    _check("film", x, scale=scale, shift=shift)
    return (1.0 + _spread(scale, x)) * x + _spread(shift, x), FilmCache(x, scale)  # (MD.1)


def film_backward(dy: Array, cache: FilmCache) -> tuple[Array, Array, Array]:
    """Return (dx, dscale, dshift)."""
    x, scale = cache
    return (1.0 + _spread(scale, dy)) * dy, _gather(dy * x), _gather(dy)  # (MD.4)


def film_tangent(x_dot: Array, scale_dot: Array, shift_dot: Array, cache: FilmCache) -> Array:
    """Return y_dot."""
    x, scale = cache
    y_dot: Array = (
        (1.0 + _spread(scale, x)) * x_dot + _spread(scale_dot, x) * x + _spread(shift_dot, x)
    )  # (MD.7)
    return y_dot


def film_curvature(
    dy_dot: Array, x_dot: Array, scale_dot: Array, shift_dot: Array, cache: FilmCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, scale, shift); shift has none."""
    dx = _spread(scale_dot, dy_dot) * dy_dot
    return dx, _gather(dy_dot * x_dot), np.zeros_like(shift_dot)  # (MD.8)


def adaln_forward(
    x: Array, scale: Array, shift: Array, *, eps: float = 1e-6
) -> tuple[Array, AdalnCache]:
    """Return (y, cache). Raises ValueError unless scale and shift are (N, C)."""
    _check("adaln", x, scale=scale, shift=shift)
    sets = standardize(x, (-1,), eps)
    y = (1.0 + _spread(scale, x)) * sets.x_hat + _spread(shift, x)  # (MD.2)
    return y, AdalnCache(sets, scale)


def adaln_backward(dy: Array, cache: AdalnCache) -> tuple[Array, Array, Array]:
    """Return (dx, dscale, dshift)."""
    sets, scale = cache
    dx = standardize_backward((1.0 + _spread(scale, dy)) * dy, sets)
    return dx, _gather(dy * sets.x_hat), _gather(dy)  # (MD.5)


def gate_forward(x: Array, branch: Array, gate: Array) -> tuple[Array, GateCache]:
    """Return (y, cache). Raises ValueError unless gate is (N, C)."""
    _check("gate", x, gate=gate)
    return x + _spread(gate, x) * branch, GateCache(branch, gate)  # (MD.3)


def gate_backward(dy: Array, cache: GateCache) -> tuple[Array, Array, Array]:
    """Return (dx, dbranch, dgate)."""
    branch, gate = cache
    return dy, _spread(gate, dy) * dy, _gather(dy * branch)  # (MD.6)


def _spread(a: Array, like: Array) -> Array:
    """Return (N, C) as (N, 1, ..., 1, C), to be met by every place."""
    return np.reshape(a, (a.shape[0], *[1] * (like.ndim - 2), a.shape[1]))


def _gather(a: Array) -> Array:
    """Return the sum over places, (N, C)."""
    total: Array = np.sum(a, axis=tuple(range(1, a.ndim - 1)))
    return total


def _check(name: str, x: Array, **given: Array) -> None:
    wanted = (x.shape[0], x.shape[-1])
    for what, a in given.items():
        if a.shape != wanted:
            raise ValueError(
                f"{name}: {what} is one number for each example and feature, {wanted} for x of "
                f"shape {x.shape}, not {a.shape}"
            )
