"""Batch norm on the device: a group norm of one example. Mirrors refgen/ops/batch_norm.py."""

from refgen.ops import batch_norm as page
from refgen.ops.normalization import NormCache, Standard
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.moments import (
    Sizes,
    in_groups,
    measured,
    parts_of,
    start_groups,
    start_parts,
)

__all__ = ["batch_norm_backward", "batch_norm_forward"]


def batch_norm_forward(
    cu: Launcher, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Array, Array, NormCache]:
    """Device twin of refgen.ops.batch_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, 1, gamma, beta):
        return page.batch_norm_forward(x, gamma, beta, eps=eps)
    sizes, y, x_hat = _one_example(x), empty(x.shape), empty(x.shape)
    apart, mean, var, rstd = measured(cu, x, sizes, eps)
    start_parts(cu, "standardize_part", sizes, x, apart, rstd, gamma, beta, y, x_hat)
    axes = tuple(range(x.ndim - 1))
    sets = Standard(x_hat, rstd.reshape(*[1] * len(axes), -1), axes)
    return y, mean.reshape(-1), var.reshape(-1), NormCache(sets, gamma)


def batch_norm_backward(
    cu: Launcher, dy: Array, dmean: Array, dvar: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.batch_norm_backward; what no kernel is for goes to that page."""
    (x_hat, rstd, _), gamma = cache
    fits = in_groups(dy, 1, dmean, dvar, gamma) and suits(dy.shape, x_hat)
    if not (fits and suits((*[1] * (dy.ndim - 1), dy.shape[-1]), rstd)):
        return page.batch_norm_backward(dy, dmean, dvar, cache)
    sizes, dx = _one_example(dy), empty(dy.shape)
    parts = parts_of(sizes)
    shares, sums = empty((parts.each, 2, sizes.channels)), empty((2, sizes.channels))
    d, b = empty(gamma.shape), empty(gamma.shape)
    start_parts(cu, "sum_part", sizes, dy, x_hat, shares)
    given = shares, gamma, dmean, dvar, rstd
    start_groups(cu, "join_sums", sizes, *given, d, b, sums)
    start_parts(cu, "combine_part", sizes, dy, x_hat, gamma, rstd, d, b, dx)
    return dx, sums[1], sums[0]


def _one_example(x: Array) -> Sizes:
    """Return the sizes of a batch as those of one example, with a channel to a group."""
    channels = x.shape[-1]
    return Sizes(1, x.size // channels, channels, channels)
