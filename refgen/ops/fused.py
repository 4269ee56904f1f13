r"""Ops in a row that kernels run in one pass over memory; here they are their parts.

Shapes     x, y, dx, dy : (N, *S, C)    gamma, beta : (C,)    scale, shift : (N, C)
Sources    wu2018-group-norm;  elfwing2018-silu;  perez2018-film

    group_norm_silu:        y = silu(group_norm(x))                               (FU.1)
    group_norm_film_silu:   y = silu((1 + scale) group_norm(x) + shift)           (FU.2)

They stand before nearly every convolution of a UNet. Each part is cheap and as large as the
image, so on a fast machine the time goes into reading and writing x, not into arithmetic.

Adjoint. The parts backwards; each is derived on its own page. Tangents go through the parts in
turn; the curvature of a chain h = f(x), y = g(h) is that of g at h, pulled back, and that of f:

    dx = Jᵀ ∇_h ⟨dẏ, ẏ⟩ + ∇_x ⟨dḣ, J ẋ⟩,   dḣ = g'(h) dẏ                           (FU.3)

A convolution with its bias is refgen.ops.conv, a dense layer with its activation
refgen.ops.dense_act.
"""

from typing import NamedTuple

from refgen.ops.activation import (
    SiluCache,
    silu_backward,
    silu_curvature,
    silu_forward,
    silu_tangent,
)
from refgen.ops.modulation import FilmCache, film_backward, film_forward
from refgen.ops.normalization import (
    NormCache,
    group_norm_backward,
    group_norm_curvature,
    group_norm_forward,
    group_norm_tangent,
)
from refgen.typing import Array


class GroupNormSiluCache(NamedTuple):
    """The caches of the parts."""

    norm: NormCache
    silu: SiluCache


class GroupNormFilmSiluCache(NamedTuple):
    """The caches of the parts."""

    norm: NormCache
    film: FilmCache
    silu: SiluCache


def group_norm_silu_forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, GroupNormSiluCache]:
    """Return (y, cache). Raises ValueError unless groups divide the channels."""
    h, norm = group_norm_forward(x, gamma, beta, groups=groups, eps=eps)
    y, silu = silu_forward(h)  # (FU.1)
    return y, GroupNormSiluCache(norm, silu)


def group_norm_silu_backward(dy: Array, cache: GroupNormSiluCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    return group_norm_backward(silu_backward(dy, cache.silu), cache.norm)


def group_norm_silu_tangent(
    x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: GroupNormSiluCache
) -> Array:
    """Return y_dot."""
    h_dot = group_norm_tangent(x_dot, gamma_dot, beta_dot, cache.norm)
    return silu_tangent(h_dot, cache.silu)


def group_norm_silu_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: GroupNormSiluCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta)."""
    h_dot = group_norm_tangent(x_dot, gamma_dot, beta_dot, cache.norm)
    pulled = group_norm_backward(silu_curvature(dy_dot, h_dot, cache.silu), cache.norm)
    dh_dot = silu_backward(dy_dot, cache.silu)
    bent = group_norm_curvature(dh_dot, x_dot, gamma_dot, beta_dot, cache.norm)
    dx, dgamma, dbeta = (a + b for a, b in zip(pulled, bent, strict=True))  # (FU.3)
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

    Raises ValueError unless groups divide the channels and scale and shift are (N, C).
    """
    h, norm = group_norm_forward(x, gamma, beta, groups=groups, eps=eps)
    h, film = film_forward(h, scale, shift)
    y, silu = silu_forward(h)  # (FU.2)
    return y, GroupNormFilmSiluCache(norm, film, silu)


def group_norm_film_silu_backward(
    dy: Array, cache: GroupNormFilmSiluCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dx, dgamma, dbeta, dscale, dshift)."""
    dh, dscale, dshift = film_backward(silu_backward(dy, cache.silu), cache.film)
    return (*group_norm_backward(dh, cache.norm), dscale, dshift)
