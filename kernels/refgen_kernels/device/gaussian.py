"""Diagonal Gaussians on the device. Mirrors refgen/ops/gaussian.py."""

from refgen.noise import Stream
from refgen.ops import gaussian as page
from refgen.ops.gaussian import ReparameterizeCache, ReparameterizeKLCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher, drawn_from
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.sums import sums

__all__ = [
    "reparameterize_forward",
    "reparameterize_kl_backward",
    "reparameterize_kl_drawn",
    "reparameterize_kl_forward",
]


def reparameterize_forward(
    cu: Launcher, mu: Array, logvar: Array, noise: Array
) -> tuple[Array, ReparameterizeCache]:
    """Device twin of refgen.ops.reparameterize_forward; arrays not float32 go to that page."""
    if not suits(mu.shape, mu, logvar, noise):
        return page.reparameterize_forward(mu, logvar, noise)
    z, std, displacement = (empty(mu.shape) for _ in range(3))
    cu.each("move", mu.size, mu, logvar, noise, z, std, displacement, mu.size)
    return z, ReparameterizeCache(std, displacement)


def reparameterize_kl_forward(
    cu: Launcher, mu: Array, logvar: Array, noise: Array
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """Device twin of refgen.ops.reparameterize_kl_forward; arrays not float32 go to that page."""
    if not (mu.ndim == 2 and suits(mu.shape, mu, logvar, noise)):
        return page.reparameterize_kl_forward(mu, logvar, noise)
    z, displacement, var = (empty(mu.shape) for _ in range(3))
    kl = sums(cu, "move_and_price", mu.shape, mu, logvar, noise, z, displacement, var)
    return z, kl, ReparameterizeKLCache(mu, displacement, var)


def reparameterize_kl_drawn(
    cu: Launcher, mu: Array, logvar: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """Device twin of refgen.ops.reparameterize_kl_drawn; arrays not float32 go to that page."""
    if not (mu.ndim == 2 and suits(mu.shape, mu, logvar)):
        return page.reparameterize_kl_drawn(mu, logvar, stream, start)
    z, displacement, var = (empty(mu.shape) for _ in range(3))
    where = drawn_from(stream, start)
    kl = sums(cu, "draw_and_price", mu.shape, mu, logvar, *where, z, displacement, var)
    return z, kl, ReparameterizeKLCache(mu, displacement, var)


def reparameterize_kl_backward(
    cu: Launcher, dz: Array, dkl: Array, cache: ReparameterizeKLCache
) -> tuple[Array, Array]:
    """Device twin of refgen.ops.reparameterize_kl_backward; arrays not float32 go to that page."""
    if not (dz.ndim == 2 and suits(dz.shape, dz, *cache) and suits(dz.shape[:1], dkl)):
        return page.reparameterize_kl_backward(dz, dkl, cache)
    dmu, dlogvar = empty(dz.shape), empty(dz.shape)
    each = dz.size // max(len(dz), 1)
    cu.each("pull", dz.size, dz, dkl, *cache, dmu, dlogvar, each, dz.size)
    return dmu, dlogvar
