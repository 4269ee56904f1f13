r"""The logistic loss and the squared error with their gradients, each one pass over memory.

With e = exp(−|a|), which cannot overflow, the loss of a logit a and its gradient are short:

    softplus(a) = max(a, 0) + 2 artanh(r),   r = e / (2 + e) ≤ ⅓                   (LK.1)
    artanh(r) = r (1 + r²/3 + r⁴/5 + ... + r¹⁴/15)                                 (LK.2)
    σ(a) = 1 / (1 + e) for a ≥ 0,   e / (1 + e) for a < 0                          (LK.3)

log(1 + e) would first round 1 + e to 1 where e is small, and lose the whole loss of a logit that is
certain; what (LK.2) leaves out is below 2e-9 of the sum.
"""

import numpy as np
from numba import prange

from refgen.ops import likelihood as page
from refgen.ops.likelihood import BernoulliNLLCache, SquaredErrorCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, load_part, store, store_part
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.elementary import exponential
from refgen_kernels.numba_cpu.samples import (
    add_shares,
    each_sample,
    places,
    share,
    task_of,
    tasks,
)
from refgen_kernels.numba_cpu.simd import bits_of, floats, maximum, shift_signed, where
from refgen_kernels.numba_cpu.writing import scratch

F, U = np.float32, np.uint32
ZERO, ONE, TWO = F(0), F(1), F(2)
SIGN = U(31)
ARTANH = tuple(F(1 / k) for k in (15, 13, 11, 9, 7, 5, 3))


def bernoulli_nll_forward(x: Array, logits: Array) -> tuple[Array, BernoulliNLLCache]:
    """CPU twin of refgen.ops.bernoulli_nll_forward; arrays not float32 go to that page."""
    if not (x.ndim == 2 and suits(x.shape, x, logits)):
        return page.bernoulli_nll_forward(x, logits)
    nll = empty(x.shape[:1])
    _logistic(x.size, flat(x), flat(logits), nll)
    return nll, BernoulliNLLCache(x, logits)


def bernoulli_nll_backward(dnll: Array, cache: BernoulliNLLCache) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.bernoulli_nll_backward; arrays not float32 go to that page."""
    x, logits = cache
    if not (x.ndim == 2 and suits(x.shape, x, logits) and suits(x.shape[:1], dnll)):
        return page.bernoulli_nll_backward(dnll, cache)
    dx, dlogits = empty(x.shape), empty(x.shape)
    _logistic_gradients(x.size, flat(x), flat(logits), flat(dnll), flat(dx), flat(dlogits))
    return dx, dlogits


def squared_error_forward(x: Array, target: Array) -> tuple[Array, SquaredErrorCache]:
    """CPU twin of refgen.ops.squared_error_forward; arrays not float32 go to that page."""
    if not (x.ndim > 0 and suits(x.shape, x, target)):
        return page.squared_error_forward(x, target)
    loss = empty(x.shape[:1])
    _squares(x.size, flat(x), flat(target), loss)
    return loss, SquaredErrorCache(x, target)


def squared_error_backward(dloss: Array, cache: SquaredErrorCache) -> tuple[Array, Array]:
    """CPU twin of refgen.ops.squared_error_backward; arrays not float32 go to that page."""
    x, target = cache
    if not (x.ndim > 0 and suits(x.shape, x, target) and suits(x.shape[:1], dloss)):
        return page.squared_error_backward(dloss, cache)
    dx, dtarget = empty(x.shape), empty(x.shape)
    _square_gradients(x.size, flat(x), flat(target), flat(dloss), flat(dx), flat(dtarget))
    return dx, dtarget


@kernel
def _logistic(x, logits, nll):  # type: ignore[no-untyped-def]
    shares = places(x.size, nll.size)
    for task in prange(tasks(x.size, shares)):
        lo, hi = task_of(x.size, shares, task)
        terms = scratch()
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            a = load(logits, j)
            store(terms, j - lo, _softplus(a) - load(x, j) * a)  # (L.2)
        if whole < hi:
            a = load_part(logits, whole, hi)
            store(terms, whole - lo, _softplus(a) - load_part(x, whole, hi) * a)
        share(terms, 0, shares, x.size, lo, hi)
    add_shares(shares, nll)


@kernel
def _logistic_gradients(x, logits, dnll, dx, dlogits):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        arrays = x, logits, dnll, dx, dlogits
        each_sample(_logistic_gradient, arrays, x.size // dnll.size, lo, hi)


@inlined
def _logistic_gradient(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    x, logits, dnll, dx, dlogits = arrays
    d = dnll[sample]
    whole = hi - (hi - lo) % 16
    for j in range(lo, whole, 16):
        a = load(logits, j)
        store(dx, j, a * -d)
        store(dlogits, j, (_sigmoid(a) - load(x, j)) * d)  # (L.5)
    if whole < hi:
        a = load_part(logits, whole, hi)
        store_part(dx, whole, a * -d, whole, hi)
        store_part(dlogits, whole, (_sigmoid(a) - load_part(x, whole, hi)) * d, whole, hi)


@kernel
def _squares(x, target, loss):  # type: ignore[no-untyped-def]
    shares = places(x.size, loss.size)
    for task in prange(tasks(x.size, shares)):
        lo, hi = task_of(x.size, shares, task)
        terms = scratch()
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            residual = load(x, j) - load(target, j)
            store(terms, j - lo, residual * residual)  # (L.7)
        if whole < hi:
            residual = load_part(x, whole, hi) - load_part(target, whole, hi)
            store(terms, whole - lo, residual * residual)
        share(terms, 0, shares, x.size, lo, hi)
    add_shares(shares, loss)


@kernel
def _square_gradients(x, target, dloss, dx, dtarget):  # type: ignore[no-untyped-def]
    for i in prange(chunks(x.size)):
        lo, hi = chunk_of(x.size, i)
        arrays = x, target, dloss, dx, dtarget
        each_sample(_square_gradient, arrays, x.size // dloss.size, lo, hi)


@inlined
def _square_gradient(arrays, sample, lo, hi):  # type: ignore[no-untyped-def]
    x, target, dloss, dx, dtarget = arrays
    d = TWO * dloss[sample]
    whole = hi - (hi - lo) % 16
    for j in range(lo, whole, 16):
        gradient = (load(x, j) - load(target, j)) * d
        store(dx, j, gradient)
        store(dtarget, j, gradient * -ONE)  # (L.8)
    for j in range(whole, hi):
        dx[j] = d * (x[j] - target[j])
        dtarget[j] = -dx[j]


@inlined
def _softplus(a):  # type: ignore[no-untyped-def]
    e = _tail(a)
    r = e / (e + TWO)
    r2 = r * r
    p = r2 * ARTANH[0] + ARTANH[1]
    p = p * r2 + ARTANH[2]
    p = p * r2 + ARTANH[3]
    p = p * r2 + ARTANH[4]
    p = p * r2 + ARTANH[5]
    p = p * r2 + ARTANH[6]
    half = p * r2 * r + r  # (LK.2)
    return maximum(a, floats(ZERO)) + half * TWO  # (LK.1)


@inlined
def _sigmoid(a):  # type: ignore[no-untyped-def]
    e = _tail(a)
    negative = shift_signed(bits_of(a), SIGN)
    return where(negative, e, floats(ONE)) / (e + ONE)  # (LK.3)


@inlined
def _tail(a):  # type: ignore[no-untyped-def]
    """Return exp(−|a|)."""
    return exponential(maximum(a, a * -ONE) * -ONE)
