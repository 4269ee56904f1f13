r"""Ops in a row that kernels run in one pass over memory; here they are their parts.

Shapes     x, y, dx, dy : (N, *S, C)    gamma, beta : (C,)    scale, shift : (N, C)
Sources    wu2018-group-norm;  elfwing2018-silu;  perez2018-film

    group_norm_silu:        y = silu(group_norm(x))                               (FU.1)
    group_norm_film_silu:   y = silu((1 + scale) group_norm(x) + shift)           (FU.2)

They stand before nearly every convolution of a UNet. Each part is cheap and as large as the
image, so on a fast machine the time goes into reading and writing x, not into arithmetic.

Adjoint. The parts backwards; each is derived on its own page.

A convolution with its bias is refgen.ops.conv, a dense layer with its activation
refgen.ops.dense_act.
"""

from typing import NamedTuple

from refgen.ops.activation import SiluCache, silu_backward, silu_forward
from refgen.ops.modulation import FilmCache, film_backward, film_forward
from refgen.ops.normalization import NormCache, group_norm_backward, group_norm_forward
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
