"""Affine coupling on the device. Mirrors refgen/ops/coupling.py."""

from refgen.ops import coupling as page
from refgen.ops.coupling import AffineCouplingCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.sums import sums

__all__ = ["affine_coupling_backward", "affine_coupling_forward", "affine_coupling_inverse"]


def affine_coupling_forward(
    cu: Launcher, x: Array, shift: Array, log_scale: Array
) -> tuple[Array, Array, AffineCouplingCache]:
    """Device twin of refgen.ops.affine_coupling_forward; arrays not float32 go to that page."""
    if not (x.ndim == 2 and suits(x.shape, x, shift, log_scale)):
        return page.affine_coupling_forward(x, shift, log_scale)
    y, scale = empty(x.shape), empty(x.shape)
    logdet = sums(cu, "scale_and_shift", x.shape, x, shift, log_scale, y, scale)
    return y, logdet, AffineCouplingCache(x, scale)


def affine_coupling_inverse(cu: Launcher, y: Array, shift: Array, log_scale: Array) -> Array:
    """Device twin of refgen.ops.affine_coupling_inverse; arrays not float32 go to that page."""
    if not suits(y.shape, y, shift, log_scale):
        return page.affine_coupling_inverse(y, shift, log_scale)
    x = empty(y.shape)
    cu.each("undo", y.size, y, shift, log_scale, x, y.size)
    return x


def affine_coupling_backward(
    cu: Launcher, dy: Array, dlogdet: Array, cache: AffineCouplingCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.affine_coupling_backward; arrays not float32 go to that page."""
    if not (dy.ndim == 2 and suits(dy.shape, dy, *cache) and suits(dy.shape[:1], dlogdet)):
        return page.affine_coupling_backward(dy, dlogdet, cache)
    dx, dlog_scale = empty(dy.shape), empty(dy.shape)
    each = dy.size // max(len(dy), 1)
    cu.each("pull_back", dy.size, dy, dlogdet, *cache, dx, dlog_scale, each, dy.size)
    return dx, dy, dlog_scale
