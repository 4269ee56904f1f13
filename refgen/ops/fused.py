r"""Ops in a row that kernels run in one pass over memory; here they are their parts.

Shapes     x, y, dx, dy : (N, *S, C)    gamma, beta : (C,)    scale, shift : (N, C)
Sources    wu2018-group-norm;  elfwing2018-silu;  perez2018-film

    group_norm_silu:        y = silu(group_norm(x))                               (FU.1)
    group_norm_film_silu:   y = silu((1 + scale) group_norm(x) + shift)           (FU.2)

They stand before nearly every convolution of a UNet. Each part is cheap and as large as the
image, so on a fast machine the time goes into reading and writing x, not into arithmetic.

Adjoint. An image is cheaper to compute twice than to keep: the caches hold x and two numbers of
each group, from which backward makes the image before silu again,

    group_norm(x) = γ r (x − μ) + β                                               (FU.3)

and goes through the parts backwards; each is derived on its own page. Tangents go through the
parts in turn; the curvature of a chain h = f(x), y = g(h) is that of g at h, pulled back, and
that of f:

    dx = Jᵀ ∇_h ⟨dẏ, ẏ⟩ + ∇_x ⟨dḣ, J ẋ⟩,   dḣ = g'(h) dẏ                           (FU.4)

A convolution with its bias is refgen.ops.conv, a dense layer with its activation
refgen.ops.dense_act.
"""

from typing import NamedTuple

import numpy as np

from refgen.ops.activation import (
    silu_backward,
    silu_curvature,
    silu_forward,
    silu_tangent,
)
from refgen.ops.modulation import film_backward, film_forward
from refgen.ops.normalization import (
    NormCache,
    Standard,
    by_group,
    check_affine,
    check_groups,
    group_norm_backward,
    group_norm_curvature,
    group_norm_tangent,
    grouped,
    measure,
)
from refgen.typing import Array


class GroupNormSiluCache(NamedTuple):
    """What backward needs: nothing as large as x but x."""

    x: Array
    gamma: Array
    beta: Array
    mean: Array  # (N, G)
    rstd: Array  # (N, G)


class GroupNormFilmSiluCache(NamedTuple):
    """What backward needs: nothing as large as x but x."""

    x: Array
    gamma: Array
    beta: Array
    scale: Array
    shift: Array
    mean: Array  # (N, G)
    rstd: Array  # (N, G)


def group_norm_silu_forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, GroupNormSiluCache]:
    """Return (y, cache). Raises ValueError unless groups divide the channels and γ, β are (C,)."""
    check_groups("group_norm_silu", x.shape[-1], groups)
    check_affine("group_norm_silu", x, gamma=gamma, beta=beta)
    mean, rstd, sets = _measured(x, groups, eps)
    y, _ = silu_forward(_scaled(sets, gamma, beta, x.shape))  # (FU.1)
    return y, GroupNormSiluCache(x, gamma, beta, mean, rstd)


def group_norm_silu_backward(dy: Array, cache: GroupNormSiluCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    h, norm = _normalized(*cache)
    _, silu = silu_forward(h)
    return group_norm_backward(silu_backward(dy, silu), norm)


def group_norm_silu_tangent(
    x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: GroupNormSiluCache
) -> Array:
    """Return y_dot."""
    h, norm = _normalized(*cache)
    _, silu = silu_forward(h)
    return silu_tangent(group_norm_tangent(x_dot, gamma_dot, beta_dot, norm), silu)


def group_norm_silu_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: GroupNormSiluCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta)."""
    h, norm = _normalized(*cache)
    _, silu = silu_forward(h)
    h_dot = group_norm_tangent(x_dot, gamma_dot, beta_dot, norm)
    pulled = group_norm_backward(silu_curvature(dy_dot, h_dot, silu), norm)
    dh_dot = silu_backward(dy_dot, silu)
    bent = group_norm_curvature(dh_dot, x_dot, gamma_dot, beta_dot, norm)
    dx, dgamma, dbeta = (a + b for a, b in zip(pulled, bent, strict=True))  # (FU.4)
    return dx, dgamma, dbeta


def group_norm_film_silu_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    scale: Array,
    shift: Array,
    *,
    groups: int,
    eps: float = 1e-5,
) -> tuple[Array, GroupNormFilmSiluCache]:
    """Return (y, cache).

    Raises ValueError unless groups divide the channels, γ and β are (C,), scale and shift (N, C).
    """
    check_groups("group_norm_film_silu", x.shape[-1], groups)
    check_affine("group_norm_film_silu", x, gamma=gamma, beta=beta)
    mean, rstd, sets = _measured(x, groups, eps)
    h, _ = film_forward(_scaled(sets, gamma, beta, x.shape), scale, shift)
    y, _ = silu_forward(h)  # (FU.2)
    return y, GroupNormFilmSiluCache(x, gamma, beta, scale, shift, mean, rstd)


def group_norm_film_silu_backward(
    dy: Array, cache: GroupNormFilmSiluCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dx, dgamma, dbeta, dscale, dshift)."""
    x, gamma, beta, scale, shift, mean, rstd = cache
    h, norm = _normalized(x, gamma, beta, mean, rstd)
    h, film = film_forward(h, scale, shift)
    _, silu = silu_forward(h)
    dh, dscale, dshift = film_backward(silu_backward(dy, silu), film)
    return (*group_norm_backward(dh, norm), dscale, dshift)


def _measured(x: Array, groups: int, eps: float) -> tuple[Array, Array, Standard]:
    """Return mean and rstd, each (N, G), and x̂."""
    mean, _, sets = measure(grouped(x, groups), (1, 3), eps)
    shape = (x.shape[0], groups)
    return np.reshape(mean, shape), np.reshape(sets.rstd, shape), sets


def _scaled(sets: Standard, gamma: Array, beta: Array, shape: tuple[int, ...]) -> Array:
    """Return the group norm of x, of its shape."""
    groups = sets.rstd.shape[2]
    return np.reshape(by_group(gamma, groups) * sets.x_hat + by_group(beta, groups), shape)


def _normalized(
    x: Array, gamma: Array, beta: Array, mean: Array, rstd: Array
) -> tuple[Array, NormCache]:
    """Return what group_norm_forward would, from what was measured."""
    groups = mean.shape[1]
    shape = (x.shape[0], 1, groups, 1)
    centred, r = grouped(x, groups) - np.reshape(mean, shape), np.reshape(rstd, shape)
    sets = Standard(centred * r, r, (1, 3))
    h = _scaled(sets, gamma, beta, x.shape)  # (FU.3)
    return h, NormCache(sets, by_group(gamma, groups))
