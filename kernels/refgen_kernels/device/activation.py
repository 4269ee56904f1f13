"""SiLU and ReLU on the device. Mirrors refgen/ops/activation.py."""

from refgen.ops import activation as page
from refgen.ops.activation import InputCache, SiluCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits


def silu_forward(cu: Launcher, x: Array) -> tuple[Array, SiluCache]:
    """Device twin of refgen.ops.silu_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x):
        return page.silu_forward(x)
    y, sigmoid = empty(x.shape), empty(x.shape)
    cu.each("weigh_by_sigmoid", x.size, x, y, sigmoid, x.size)
    return y, SiluCache(x, sigmoid)


def silu_backward(cu: Launcher, dy: Array, cache: SiluCache) -> Array:
    """Device twin of refgen.ops.silu_backward; arrays that are not float32 go to that page."""
    if not suits(dy.shape, dy, *cache):
        return page.silu_backward(dy, cache)
    dx = empty(dy.shape)
    cu.each("weigh_by_slope", dx.size, dy, *cache, dx, dx.size)
    return dx


def relu_forward(cu: Launcher, x: Array) -> tuple[Array, InputCache]:
    """Device twin of refgen.ops.relu_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x):
        return page.relu_forward(x)
    y = empty(x.shape)
    cu.each("cut_at_zero", x.size, x, y, x.size)
    return y, InputCache(x)


def relu_backward(cu: Launcher, dy: Array, cache: InputCache) -> Array:
    """Device twin of refgen.ops.relu_backward; arrays that are not float32 go to that page."""
    if not suits(dy.shape, dy, *cache):
        return page.relu_backward(dy, cache)
    dx = empty(dy.shape)
    cu.each("keep_where_positive", dx.size, dy, *cache, dx, dx.size)
    return dx
