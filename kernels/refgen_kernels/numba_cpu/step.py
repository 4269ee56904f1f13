"""Sampler steps, one pass over memory. Mirrors the page of its name, bit for bit.

Both steps are p x + q ε̂ + σ z, so both run the same loop. Where z is drawn here it lies, for the
moment between drawing and adding, in the place of the result. At σ = 0 nothing is drawn.
"""

import math

import numpy as np
from numba import prange

from refgen.noise import Stream
from refgen.ops import step as page
from refgen.ops.step import StepCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.noise import draw, reachable
from refgen_kernels.numba_cpu.simd import load, store

F = np.float32


def ddpm_step_forward(
    x: Array, noise_hat: Array, noise: Array, *, alpha: float, alpha_bar: float, sigma: float
) -> tuple[Array, StepCache]:
    """CPU twin of refgen.ops.ddpm_step_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, noise_hat, noise):
        return page.ddpm_step_forward(
            x, noise_hat, noise, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )
    cache = _ddpm(alpha, alpha_bar, sigma)
    return _with_noise(x, noise_hat, noise, cache), cache


def ddpm_step_drawn(
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> Array:
    """CPU twin of refgen.ops.ddpm_step_drawn; arrays that are not float32 go to that page."""
    if not (suits(x.shape, x, noise_hat) and reachable(start, x.size)):
        return page.ddpm_step_drawn(
            x, noise_hat, stream, start, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )
    return _with_stream(x, noise_hat, stream, start, _ddpm(alpha, alpha_bar, sigma))


def ddim_step_forward(
    x: Array,
    noise_hat: Array,
    noise: Array,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> tuple[Array, StepCache]:
    """CPU twin of refgen.ops.ddim_step_forward; arrays that are not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not suits(x.shape, x, noise_hat, noise):
        return page.ddim_step_forward(
            x,
            noise_hat,
            noise,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    cache = _ddim(alpha_bar, alpha_bar_next, sigma)
    return _with_noise(x, noise_hat, noise, cache), cache


def ddim_step_drawn(
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> Array:
    """CPU twin of refgen.ops.ddim_step_drawn; arrays that are not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not (suits(x.shape, x, noise_hat) and reachable(start, x.size)):
        return page.ddim_step_drawn(
            x,
            noise_hat,
            stream,
            start,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    return _with_stream(x, noise_hat, stream, start, _ddim(alpha_bar, alpha_bar_next, sigma))


def _ddpm(alpha: float, alpha_bar: float, sigma: float) -> StepCache:
    p, q = 1 / math.sqrt(alpha), -(1 - alpha) / math.sqrt(alpha * (1 - alpha_bar))  # (ST.1)
    return StepCache(p, q, sigma)


def _ddim(alpha_bar: float, alpha_bar_next: float, sigma: float) -> StepCache:
    """Return the coefficients, as the page forms them; it also refuses a sigma too large."""
    nothing = np.empty(0, F)
    return page.ddim_step_forward(
        nothing,
        nothing,
        nothing,
        alpha_bar=alpha_bar,
        alpha_bar_next=alpha_bar_next,
        sigma=sigma,
    )[1]


def _with_noise(x: Array, noise_hat: Array, noise: Array, cache: StepCache) -> Array:
    p, q, sigma = (F(c) for c in cache)
    out = empty(x.shape)
    _given(x.size, flat(x), flat(noise_hat), flat(noise), p, q, sigma, flat(out))
    return out


def _with_stream(x: Array, noise_hat: Array, stream: Stream, start: int, cache: StepCache) -> Array:
    p, q, sigma = (F(c) for c in cache)
    out = empty(x.shape)
    if sigma == 0:
        _noiseless(x.size, flat(x), flat(noise_hat), p, q, flat(out))
    else:
        _drawn(x.size, flat(x), flat(noise_hat), stream, int(start), p, q, sigma, flat(out))
    return out


@kernel
def _given(x, noise_hat, noise, p, q, sigma, out):  # type: ignore[no-untyped-def]
    for i in prange(chunks(out.size)):
        lo, hi = chunk_of(out.size, i)
        _combine(x, noise_hat, noise, p, q, sigma, out, lo, hi)


@kernel
def _drawn(x, noise_hat, stream, start, p, q, sigma, out):  # type: ignore[no-untyped-def]
    for i in prange(chunks(out.size)):
        lo, hi = chunk_of(out.size, i)
        draw(out, lo, hi, stream, start)
        _combine(x, noise_hat, out, p, q, sigma, out, lo, hi)


@kernel
def _noiseless(x, noise_hat, p, q, out):  # type: ignore[no-untyped-def]
    for i in prange(chunks(out.size)):
        lo, hi = chunk_of(out.size, i)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            store(out, j, load(x, j) * p + load(noise_hat, j) * q)
        for j in range(whole, hi):
            out[j] = p * x[j] + q * noise_hat[j]


@inlined
def _combine(x, noise_hat, noise, p, q, sigma, out, lo, hi):  # type: ignore[no-untyped-def]
    whole = hi - (hi - lo) % 16
    for i in range(lo, whole, 16):
        store(out, i, load(x, i) * p + load(noise_hat, i) * q + load(noise, i) * sigma)
    for i in range(whole, hi):
        out[i] = p * x[i] + q * noise_hat[i] + sigma * noise[i]
