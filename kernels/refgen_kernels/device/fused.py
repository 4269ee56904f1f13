"""Norms with their SiLU on the device. Mirrors refgen/ops/fused.py."""

from refgen.ops import fused as page
from refgen.ops.fused import GroupNormFilmSiluCache, GroupNormSiluCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.moments import (
    Sizes,
    added,
    bundles,
    in_groups,
    measured,
    parts_of,
    start_groups,
    start_parts,
)

__all__ = [
    "group_norm_film_silu_backward",
    "group_norm_film_silu_forward",
    "group_norm_silu_backward",
    "group_norm_silu_forward",
]

MOST, MOST_BACKWARD = 1024, 512  # threads of a block


def group_norm_silu_forward(
    cu: Launcher, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, GroupNormSiluCache]:
    """Device twin of refgen.ops.group_norm_silu_forward; the rest goes to that page."""
    if not in_groups(x, groups, gamma, beta):
        return page.group_norm_silu_forward(x, gamma, beta, groups=groups, eps=eps)
    y, mean, rstd = _bent(cu, x, (gamma, beta, None, None), groups, eps)
    return y, GroupNormSiluCache(x, gamma, beta, mean, rstd)


def group_norm_silu_backward(
    cu: Launcher, dy: Array, cache: GroupNormSiluCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.group_norm_silu_backward; the rest goes to that page."""
    x, gamma, beta, mean, rstd = cache
    if not _returns(dy, x, gamma, beta, mean, rstd):
        return page.group_norm_silu_backward(dy, cache)
    dx, sums, _ = _gradients(cu, dy, x, (gamma, beta, None, None), mean, rstd)
    dbeta, dgamma = added(cu, sums)
    return dx, dgamma, dbeta


def group_norm_film_silu_forward(
    cu: Launcher,
    x: Array,
    gamma: Array,
    beta: Array,
    scale: Array,
    shift: Array,
    *,
    groups: int,
    eps: float = 1e-5,
) -> tuple[Array, GroupNormFilmSiluCache]:
    """Device twin of refgen.ops.group_norm_film_silu_forward; the rest goes to that page."""
    if not (in_groups(x, groups, gamma, beta) and suits(_steering(x), scale, shift)):
        return page.group_norm_film_silu_forward(
            x, gamma, beta, scale, shift, groups=groups, eps=eps
        )
    y, mean, rstd = _bent(cu, x, (gamma, beta, scale, shift), groups, eps)
    return y, GroupNormFilmSiluCache(x, gamma, beta, scale, shift, mean, rstd)


def group_norm_film_silu_backward(
    cu: Launcher, dy: Array, cache: GroupNormFilmSiluCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Device twin of refgen.ops.group_norm_film_silu_backward; the rest goes to that page."""
    x, gamma, beta, scale, shift, mean, rstd = cache
    fits = _returns(dy, x, gamma, beta, mean, rstd) and suits(_steering(x), scale, shift)
    if not fits:
        return page.group_norm_film_silu_backward(dy, cache)
    dx, sums, steering = _gradients(cu, dy, x, (gamma, beta, scale, shift), mean, rstd)
    (dscale, dshift), (dbeta, dgamma) = steering, added(cu, sums)
    return dx, dgamma, dbeta, dscale, dshift


Weights = tuple[Array, Array, Array | None, Array | None]  # gamma, beta, scale and shift


def _bent(
    cu: Launcher, x: Array, weights: Weights, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """Return (y, mean, rstd)."""
    sizes, y = Sizes.of(x, groups), empty(x.shape)
    way = bundles(cu, sizes, arrays=1, room=4, most=MOST)
    if way is None:
        apart, mean, _, rstd = measured(cu, x, sizes, eps)
        start_parts(cu, "bend_part", sizes, x, apart, rstd, *weights, y)
        return y, mean, rstd
    mean, rstd = empty((len(x), groups)), empty((len(x), groups))
    rest = *sizes[1:], way.groups, way.held, eps
    cu.launch("bend_bundle", (way.blocks,), (way.threads,), x, *weights, y, mean, rstd, *rest,
              shared=way.shared)  # fmt: skip
    return y, mean, rstd


def _gradients(
    cu: Launcher, dy: Array, x: Array, weights: Weights, mean: Array, rstd: Array
) -> tuple[Array, Array, tuple[Array, ...]]:
    """Return dx, shares of dbeta and dgamma (N, 2, C), and dscale and dshift if there are any."""
    sizes = Sizes.of(x, mean.shape[1])
    dx, sums = empty(x.shape), empty((len(x), 2, sizes.channels))
    steering = () if weights[2] is None else (empty(_steering(x)), empty(_steering(x)))
    left = sums, *(steering or (None, None))
    given = dy, x, *weights, mean, rstd
    way = bundles(cu, sizes, arrays=2, room=32, most=MOST_BACKWARD)
    if way is not None:
        rest = *sizes[1:], way.groups, way.held
        cu.launch("unbend_bundle", (way.blocks,), (way.threads,), *given, dx, *left, *rest,
                  shared=way.shared)  # fmt: skip
        return dx, sums, steering
    shares = empty((len(x), parts_of(sizes).each, 2, sizes.channels))
    d, b = empty(mean.shape), empty(mean.shape)
    start_parts(cu, "sum_part", sizes, *given, shares)
    start_groups(cu, "join_sums", sizes, shares, *weights[:3], d, b, *left)
    start_parts(cu, "unbend_part", sizes, *given, d, b, dx)
    return dx, sums, steering


def _steering(x: Array) -> tuple[int, int]:
    return x.shape[0], x.shape[-1]


def _returns(dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, rstd: Array) -> bool:
    """Tell whether there is a kernel for a gradient and what forward kept."""
    fits = mean.ndim == 2 and in_groups(x, mean.shape[1], gamma, beta) and suits(x.shape, dy)
    return fits and suits((len(x), mean.shape[1]), mean, rstd)
