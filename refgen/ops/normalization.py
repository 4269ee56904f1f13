r"""Normalization: make the numbers of a group have mean 0 and variance 1, then scale and shift.

Shapes     N batch, *S image axes, C channels, G groups.   x, y, dx, dy : (N, *S, C)
           gamma, beta : (C,)
           group_norm   one set for each example and group: all of *S and C/G channels
           layer_norm   one set for each example and place: the C channels
Sources    wu2018-group-norm  eq. 1-3;  ba2016-layer-norm

Let M be the size of a set, ⟨·⟩ the mean over it. As one set is normalized like any other:

    μ = ⟨x⟩,   v = ⟨(x − μ)²⟩,   r = 1 / √(v + ε)                                 (NM.1)
    x̂ = r (x − μ),   y = γ x̂ + β                                                  (NM.2)

The variance is taken of the differences, in a second pass: ⟨x²⟩ − μ² loses all its digits
where the mean is large.

Adjoint. Every entry of a set moves its mean and its spread, so x̂ as a whole can neither be
shifted nor stretched by x: both directions are taken out of the gradient.

    P(g) = g − ⟨g⟩ − x̂ ⟨g x̂⟩                                                      (NM.3)
    dx = r P(γ dy),   dγ = Σ dy x̂,   dβ = Σ dy                                    (NM.4)

Tangent. The Jacobian r P is symmetric, so tangents and gradients move alike:

    ẏ = γ r P(ẋ) + γ̇ x̂ + β̇                                                        (NM.5)

Curvature. With u = γ dẏ, a = ⟨u x̂⟩ and b = ⟨ẋ x̂⟩ the number ⟨u, r P(ẋ)⟩ is
M r (⟨u ẋ⟩ − ⟨u⟩⟨ẋ⟩ − a b); from ∂r = −r² x̂ / M and ∂a = r P(u) / M, ∂b = r P(ẋ) / M:

    dx = r P(γ̇ dẏ) − r² [x̂ (⟨u ẋ⟩ − ⟨u⟩⟨ẋ⟩ − a b) + b P(u) + a P(ẋ)]               (NM.6)
    dγ = Σ dẏ r P(ẋ),   dβ = 0                                                    (NM.7)
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.typing import Array

Axes = tuple[int, ...]


class Standard(NamedTuple):
    """Sets of mean 0 and variance 1, and what was divided by to make them so."""

    x_hat: Array
    rstd: Array  # r, one number a set
    axes: Axes  # of a set


class NormCache(NamedTuple):
    """What backward needs."""

    sets: Standard  # in the shape in which a set has axes of its own
    gamma: Array


def measure(x: Array, axes: Axes, eps: float) -> tuple[Array, Array, Standard]:
    """Return (mean, var, x̂) of the sets that span the axes, which stay with length 1."""
    mean = _mean(x, axes)
    centred = x - mean
    var = _mean(centred * centred, axes)
    rstd = 1.0 / np.sqrt(var + eps)  # (NM.1)
    return mean, var, Standard(centred * rstd, rstd, axes)  # (NM.2)


def standardize(x: Array, axes: Axes, eps: float) -> Standard:
    """Return x̂ of the sets that span the axes: what every norm of refgen begins with."""
    return measure(x, axes, eps)[2]


def standardize_backward(g: Array, sets: Standard) -> Array:
    """Return r P(g): the gradient and, since r P is symmetric, the tangent of standardize."""
    dx: Array = sets.rstd * _project(g, sets)
    return dx


def standardize_curvature(u: Array, x_dot: Array, sets: Standard) -> Array:
    """Return the gradient in x of ⟨u, r P(ẋ)⟩."""
    x_hat, rstd, axes = sets
    a, b = _mean(u * x_hat, axes), _mean(x_dot * x_hat, axes)
    inner = _mean(u * x_dot, axes) - _mean(u, axes) * _mean(x_dot, axes) - a * b
    bent = x_hat * inner + b * _project(u, sets) + a * _project(x_dot, sets)
    dx: Array = -rstd * rstd * bent  # (NM.6)
    return dx


def normalize(
    x: Array, gamma: Array, beta: Array, axes: Axes, eps: float
) -> tuple[Array, NormCache]:
    """Return (γ x̂ + β, cache) for sets that span any axes; γ and β have the last axes of x."""
    sets = standardize(x, axes, eps)
    return gamma * sets.x_hat + beta, NormCache(sets, gamma)


def normalize_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    sets, gamma = cache
    dx = standardize_backward(gamma * dy, sets)
    return dx, _sum_as(gamma, dy * sets.x_hat), _sum_as(gamma, dy)  # (NM.4)


def normalize_tangent(x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache) -> Array:
    """Return y_dot."""
    sets, gamma = cache
    moved = standardize_backward(x_dot, sets)
    y_dot: Array = gamma * moved + gamma_dot * sets.x_hat + beta_dot  # (NM.5)
    return y_dot


def normalize_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta); beta has none."""
    sets, gamma = cache
    direct = standardize_backward(gamma_dot * dy_dot, sets)
    bent = standardize_curvature(gamma * dy_dot, x_dot, sets)
    dgamma = _sum_as(gamma, dy_dot * standardize_backward(x_dot, sets))
    return direct + bent, dgamma, np.zeros_like(beta_dot)  # (NM.7)


def group_norm_forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """Return (y, cache). Raises ValueError unless groups divide the channels and γ, β are (C,).

    >>> x = np.array([[1.0, 3.0, 10.0, 30.0]])
    >>> y, _ = group_norm_forward(x, np.ones(4), np.zeros(4), groups=2, eps=0.0)
    >>> y
    array([[-1.,  1., -1.,  1.]])
    """
    check_groups("group_norm", x.shape[-1], groups)
    check_affine("group_norm", x, gamma=gamma, beta=beta)
    scale, shift = by_group(gamma, groups), by_group(beta, groups)
    y, cache = normalize(grouped(x, groups), scale, shift, (1, 3), eps)
    return np.reshape(y, x.shape), cache


def group_norm_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    groups = cache.gamma.shape[0]
    dx, dgamma, dbeta = normalize_backward(grouped(dy, groups), cache)
    return np.reshape(dx, dy.shape), np.reshape(dgamma, (-1,)), np.reshape(dbeta, (-1,))


def group_norm_tangent(x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache) -> Array:
    """Return y_dot."""
    groups = cache.gamma.shape[0]
    scale_dot, shift_dot = by_group(gamma_dot, groups), by_group(beta_dot, groups)
    y_dot = normalize_tangent(grouped(x_dot, groups), scale_dot, shift_dot, cache)
    return np.reshape(y_dot, x_dot.shape)


def group_norm_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta); beta has none."""
    groups = cache.gamma.shape[0]
    dx, dgamma, dbeta = normalize_curvature(
        grouped(dy_dot, groups),
        grouped(x_dot, groups),
        by_group(gamma_dot, groups),
        by_group(beta_dot, groups),
        cache,
    )
    return np.reshape(dx, x_dot.shape), np.reshape(dgamma, (-1,)), np.reshape(dbeta, (-1,))


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """Return (y, cache). Raises ValueError unless γ and β are (C,)."""
    check_affine("layer_norm", x, gamma=gamma, beta=beta)
    return normalize(x, gamma, beta, (-1,), eps)


def layer_norm_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    return normalize_backward(dy, cache)


def layer_norm_tangent(x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache) -> Array:
    """Return y_dot."""
    return normalize_tangent(x_dot, gamma_dot, beta_dot, cache)


def layer_norm_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta); beta has none."""
    return normalize_curvature(dy_dot, x_dot, gamma_dot, beta_dot, cache)


def check_affine(name: str, x: Array, **given: Array) -> None:
    """Raise ValueError unless each array has one number for every channel of x."""
    wanted = (x.shape[-1],)
    for what, a in given.items():
        if a.shape != wanted:
            raise ValueError(
                f"{name}: {what} is one number for each channel, {wanted} for x of shape "
                f"{x.shape}, not {a.shape}"
            )


def check_groups(name: str, channels: int, groups: int) -> None:
    """Raise ValueError unless groups divide channels."""
    if groups < 1 or channels % groups:
        raise ValueError(
            f"{name}: {channels} channels cannot be cut into {groups} groups: channels must be a "
            f"multiple of {max(groups, 1)}"
        )


def grouped(a: Array, groups: int) -> Array:
    """Return (N, *S, C) as (N, S, G, C/G)."""
    places = math.prod(a.shape[1:-1])
    return np.reshape(a, (a.shape[0], places, groups, a.shape[-1] // groups))


def by_group(a: Array, groups: int) -> Array:
    """Return (C,) as (G, C/G)."""
    return np.reshape(a, (groups, a.shape[0] // groups))


def _sum_as(gamma: Array, a: Array) -> Array:
    """Return the sum of a over the axes that gamma does not have."""
    total: Array = np.sum(a, axis=tuple(range(a.ndim - gamma.ndim)))
    return total


def _project(g: Array, sets: Standard) -> Array:
    axes = sets.axes
    free: Array = g - _mean(g, axes) - sets.x_hat * _mean(g * sets.x_hat, axes)  # (NM.3)
    return free


def _mean(a: Array, axes: Axes) -> Array:
    """Return the mean over axes, one after another: all sets are equally large.

    At once, NumPy adds up the few channels of a group in its inner loop, which takes several
    times as long; and a whole batch in one running sum, far off in float32 where the mean is large.
    """
    for axis in axes:
        a = np.mean(a, axis=axis, keepdims=True)
    return a
