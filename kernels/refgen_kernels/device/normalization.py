"""Group and layer norm on the device. Mirrors refgen/ops/normalization.py."""

from refgen.ops import normalization as page
from refgen.ops.normalization import NormCache, Standard, by_group
from refgen.typing import Array
from refgen_kernels.device.launcher import FOUR, Launcher
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.moments import (
    Sizes,
    added,
    bundles,
    countable,
    in_groups,
    measured,
    parts_of,
    power,
    start_groups,
    start_parts,
)

__all__ = ["group_norm_backward", "group_norm_forward", "layer_norm_backward", "layer_norm_forward"]

MOST, MOST_BACKWARD = 1024, 512  # threads of a block
WARP = 32  # threads
ROWS = 128  # threads of a block that takes several rows
MOST_ROW = 512  # threads of a block that takes one row
KEPT, KEPT_BACKWARD = 8, 4  # vectors of a row that a thread keeps
SHARES = 512  # blocks, at most, that add up rows


def group_norm_forward(
    cu: Launcher, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """Device twin of refgen.ops.group_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, groups, gamma, beta):
        return page.group_norm_forward(x, gamma, beta, groups=groups, eps=eps)
    sizes = Sizes.of(x, groups)
    y, x_hat, rstd = empty(x.shape), empty(x.shape), empty((len(x), groups))
    way = bundles(cu, sizes, arrays=1, room=4, most=MOST)
    if way is None:
        centre, _, _, rstd = measured(cu, x, sizes, eps)
        start_parts(cu, "standardize_part", sizes, x, centre, rstd, gamma, beta, y, x_hat)
    else:
        rest = *sizes[1:], way.groups, way.held, eps
        cu.launch("standardize_bundle", (way.blocks,), (way.threads,), x, gamma, beta, y, x_hat,
                  rstd, *rest, shared=way.shared)  # fmt: skip
    apart = x_hat.reshape(len(x), sizes.places, groups, -1)
    sets = Standard(apart, rstd.reshape(len(x), 1, groups, 1), (1, 3))
    return y, NormCache(sets, by_group(gamma, groups))


def group_norm_backward(cu: Launcher, dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.group_norm_backward; what no kernel is for goes to that page."""
    (x_hat, rstd, _), gamma = cache
    if not (_same_sets(dy, x_hat, rstd, gamma) and countable(dy)):
        return page.group_norm_backward(dy, cache)
    sizes = Sizes.of(dy, x_hat.shape[2])
    dx, sums = empty(dy.shape), empty((len(dy), 2, sizes.channels))
    way = bundles(cu, sizes, arrays=2, room=32, most=MOST_BACKWARD)
    if way is None:
        parts = parts_of(sizes)
        shares = empty((len(dy), parts.each, 2, sizes.channels))
        d, b = empty(rstd.shape), empty(rstd.shape)
        start_parts(cu, "sum_part", sizes, dy, x_hat, shares)
        start_groups(cu, "join_sums", sizes, shares, gamma, d, b, sums)
        start_parts(cu, "combine_part", sizes, dy, x_hat, gamma, rstd, d, b, dx)
    else:
        rest = *sizes[1:], way.groups, way.held
        cu.launch("gradients_of_bundle", (way.blocks,), (way.threads,), dy, x_hat, gamma, rstd, dx,
                  sums, *rest, shared=way.shared)  # fmt: skip
    dbeta, dgamma = added(cu, sums)
    return dx, dgamma, dbeta


def layer_norm_forward(
    cu: Launcher, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """Device twin of refgen.ops.layer_norm_forward; what no kernel is for goes to that page."""
    if not in_groups(x, 1, gamma, beta):
        return page.layer_norm_forward(x, gamma, beta, eps=eps)
    rows, channels = x.size // x.shape[-1], x.shape[-1]
    y, x_hat, rstd = empty(x.shape), empty(x.shape), empty((*x.shape[:-1], 1))
    team = min(power(-(-_vectors(channels) // FOUR)), WARP)
    team = min(max(team, power(-(-_vectors(channels) // KEPT))), MOST_ROW)
    threads = ROWS if team <= WARP else team
    blocks = -(-rows // (threads // team))
    cu.launch("standardize_rows", (blocks,), (threads,), x, gamma, beta, y, x_hat, rstd, rows,
              channels, team, eps, shared=FOUR * threads)  # fmt: skip
    return y, NormCache(Standard(x_hat, rstd, (-1,)), gamma)


def layer_norm_backward(cu: Launcher, dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.layer_norm_backward; rows too long for a block go to that page."""
    (x_hat, rstd, _), gamma = cache
    fits = dy.ndim > 1 and dy.size > 0 and suits(dy.shape, dy, x_hat)
    if not (fits and suits((*dy.shape[:-1], 1), rstd) and suits(dy.shape[-1:], gamma)):
        return page.layer_norm_backward(dy, cache)
    rows, channels = dy.size // dy.shape[-1], dy.shape[-1]
    team = power(-(-_vectors(channels) // KEPT_BACKWARD))
    if team > MOST_ROW:
        return page.layer_norm_backward(dy, cache)
    threads = ROWS if team <= WARP else team
    blocks = min(-(-rows // (threads // team)), SHARES)
    dx, shares = empty(dy.shape), empty((blocks, 2, channels))
    cu.launch("gradients_of_rows", (blocks,), (threads,), dy, x_hat, gamma, rstd, dx, shares, rows,
              channels, team, shared=2 * FOUR * FOUR * threads)  # fmt: skip
    dbeta, dgamma = added(cu, shares)
    return dx, dgamma, dbeta


def _vectors(channels: int) -> int:
    return channels // FOUR if channels % FOUR == 0 else channels


def _same_sets(dy: Array, x_hat: Array, rstd: Array, gamma: Array) -> bool:
    """Tell whether a gradient and what forward kept are of one batch that is not empty."""
    if not (dy.ndim > 1 and x_hat.ndim == 4 and dy.size == x_hat.size > 0):
        return False
    n, _, groups, each = x_hat.shape
    fits = (len(dy), dy.shape[-1]) == (n, groups * each) and suits(dy.shape, dy)
    fits = fits and suits(x_hat.shape, x_hat) and suits((n, 1, groups, 1), rstd)
    return fits and suits((groups, each), gamma)
