"""Likelihoods on the device. Mirrors refgen/ops/likelihood.py."""

from refgen.ops import likelihood as page
from refgen.ops.likelihood import BernoulliNLLCache, SquaredErrorCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits
from refgen_kernels.device.sums import sums

__all__ = [
    "bernoulli_nll_backward",
    "bernoulli_nll_forward",
    "squared_error_backward",
    "squared_error_forward",
]


def bernoulli_nll_forward(cu: Launcher, x: Array, logits: Array) -> tuple[Array, BernoulliNLLCache]:
    """Device twin of refgen.ops.bernoulli_nll_forward; arrays not float32 go to that page."""
    if not (x.ndim == 2 and suits(x.shape, x, logits)):
        return page.bernoulli_nll_forward(x, logits)
    return sums(cu, "add_surprises", x.shape, x, logits), BernoulliNLLCache(x, logits)


def bernoulli_nll_backward(
    cu: Launcher, dnll: Array, cache: BernoulliNLLCache
) -> tuple[Array, Array]:
    """Device twin of refgen.ops.bernoulli_nll_backward; arrays not float32 go to that page."""
    x, logits = cache
    if not (x.ndim == 2 and suits(x.shape, x, logits) and suits(x.shape[:1], dnll)):
        return page.bernoulli_nll_backward(dnll, cache)
    dx, dlogits = empty(x.shape), empty(x.shape)
    each = x.size // max(len(x), 1)
    cu.each("price_logits", x.size, x, logits, dnll, dx, dlogits, each, x.size)
    return dx, dlogits


def squared_error_forward(cu: Launcher, x: Array, target: Array) -> tuple[Array, SquaredErrorCache]:
    """Device twin of refgen.ops.squared_error_forward; arrays not float32 go to that page."""
    if not (x.ndim > 0 and suits(x.shape, x, target)):
        return page.squared_error_forward(x, target)
    return sums(cu, "add_squares", x.shape, x, target), SquaredErrorCache(x, target)


def squared_error_backward(
    cu: Launcher, dloss: Array, cache: SquaredErrorCache
) -> tuple[Array, Array]:
    """Device twin of refgen.ops.squared_error_backward; arrays not float32 go to that page."""
    x, target = cache
    if not (x.ndim > 0 and suits(x.shape, x, target) and suits(x.shape[:1], dloss)):
        return page.squared_error_backward(dloss, cache)
    dx, dtarget = empty(x.shape), empty(x.shape)
    each = x.size // max(len(x), 1)
    cu.each("pull_together", x.size, x, target, dloss, dx, dtarget, each, x.size)
    return dx, dtarget
