r"""Activations: one number in, one number out, so each adjoint is dx = dy f'(x).

Shapes     x, y, dy, dx : any one shape
Sources    nair2010-relu;  maas2013-leaky-relu;  elfwing2018-silu;  hendrycks2016-gelu

    relu(x) = max(x, 0),                       f' = [x > 0]                       (A.1)
    leaky_relu(x) = max(x, λx),  0 ≤ λ < 1,    f' = 1 where x > 0, λ elsewhere    (A.2)
    sigmoid(x) = 1 / (1 + e⁻ˣ),                f' = y (1 − y)                     (A.3)
    tanh(x),                                   f' = 1 − y²                        (A.4)
    silu(x) = x σ(x),                          f' = σ (1 + x (1 − σ))             (A.5)
    softplus(x) = log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|),   f' = σ(x)          (A.6)
    gelu(x) = x Φ(x),                          f' = Φ(x) + x φ(x)                 (A.7)

Tangents go by the same factor, ẏ = f'(x) ẋ, so each tangent is backward by another name. What
the tangent owes to the point is dx = f''(x) ẋ dẏ:

    rectifiers 0;   sigmoid y (1 − y)(1 − 2y);   tanh −2 y (1 − y²);   softplus σ (1 − σ);
    silu σ (1 − σ)(2 + x (1 − 2σ));   gelu φ(x)(2 − x²)                           (A.8)

σ is the sigmoid, Φ and φ the standard normal's distribution function and density. For x < 0 the
sigmoid is computed as eˣ / (1 + eˣ), which is the same: no exponential overflows, and small values
keep all their digits, which ½ (1 + tanh ½x) would not. At a kink, x = 0, the two
rectifiers take the left derivative.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from refgen.typing import Array


class InputCache(NamedTuple):
    """For activations whose derivative is written in x."""

    x: Array


class OutputCache(NamedTuple):
    """For activations whose derivative is written in y."""

    y: Array


class LeakyReluCache(NamedTuple):
    """The input and the slope below zero."""

    x: Array
    slope: float  # λ


class GeluCache(NamedTuple):
    """Both factors of y = x Φ(x)."""

    x: Array
    cdf: Array  # Φ(x), dear to compute


class SiluCache(NamedTuple):
    """Both factors of y = x σ(x)."""

    x: Array
    sigmoid: Array  # σ(x)


def relu_forward(x: Array) -> tuple[Array, InputCache]:
    """Return max(x, 0)."""
    return np.maximum(x, 0), InputCache(x)  # (A.1)


def relu_backward(dy: Array, cache: InputCache) -> Array:
    """Return dx."""
    return np.where(cache.x > 0, dy, 0)


def leaky_relu_forward(x: Array, *, slope: float = 0.2) -> tuple[Array, LeakyReluCache]:
    """Return x where it is positive, slope·x elsewhere. Raises ValueError unless 0 ≤ slope < 1."""
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope must lie in [0, 1), not {slope}")
    return np.maximum(x, slope * x), LeakyReluCache(x, slope)  # (A.2)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """Return dx."""
    return np.where(cache.x > 0, dy, cache.slope * dy)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e⁻ˣ) without overflow: what the losses on logits use too.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(x - 2 * np.maximum(x, 0))  # e^−|x|
    y: Array = np.where(x > 0, 1.0, small) / (1.0 + small)  # (A.3)
    return y


def sigmoid_forward(x: Array) -> tuple[Array, OutputCache]:
    """Return σ(x), in (0, 1)."""
    y = sigmoid(x)
    return y, OutputCache(y)


def sigmoid_backward(dy: Array, cache: OutputCache) -> Array:
    """Return dx."""
    return dy * cache.y * (1.0 - cache.y)


def tanh_forward(x: Array) -> tuple[Array, OutputCache]:
    """Return tanh x, in (−1, 1)."""
    y = np.tanh(x)
    return y, OutputCache(y)


def tanh_backward(dy: Array, cache: OutputCache) -> Array:
    """Return dx."""
    return dy * (1.0 - cache.y * cache.y)  # (A.4)


def silu_forward(x: Array) -> tuple[Array, SiluCache]:
    """Return x σ(x), also called swish."""
    s = sigmoid(x)
    return x * s, SiluCache(x, s)


def silu_backward(dy: Array, cache: SiluCache) -> Array:
    """Return dx."""
    x, s = cache
    return dy * s * (1.0 + x * (1.0 - s))  # (A.5)


def softplus(x: Array) -> Array:
    """Return log(1 + eˣ) without overflow: what the losses on logits use too.

    >>> softplus(np.array([-1000.0, 1000.0]))
    array([   0., 1000.])
    """
    positive = np.maximum(x, 0)
    y: Array = positive + np.log1p(np.exp(x - 2 * positive))  # (A.6)
    return y


def softplus_forward(x: Array) -> tuple[Array, InputCache]:
    """Return log(1 + eˣ)."""
    return softplus(x), InputCache(x)


def softplus_backward(dy: Array, cache: InputCache) -> Array:
    """Return dx."""
    return dy * sigmoid(cache.x)


def gelu_forward(x: Array) -> tuple[Array, GeluCache]:
    """Return x Φ(x), the exact form (not the tanh approximation)."""
    cdf = _normal_cdf(x)
    return x * cdf, GeluCache(x, cdf)


def gelu_backward(dy: Array, cache: GeluCache) -> Array:
    """Return dx."""
    x, cdf = cache
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return dy * (cdf + x * density)  # (A.7)


def relu_tangent(x_dot: Array, cache: InputCache) -> Array:
    """Return y_dot."""
    return relu_backward(x_dot, cache)


def relu_curvature(dy_dot: Array, x_dot: Array, cache: InputCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    return np.zeros_like(dy_dot)


def leaky_relu_tangent(x_dot: Array, cache: LeakyReluCache) -> Array:
    """Return y_dot."""
    return leaky_relu_backward(x_dot, cache)


def leaky_relu_curvature(dy_dot: Array, x_dot: Array, cache: LeakyReluCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    return np.zeros_like(dy_dot)


def sigmoid_tangent(x_dot: Array, cache: OutputCache) -> Array:
    """Return y_dot."""
    return sigmoid_backward(x_dot, cache)


def sigmoid_curvature(dy_dot: Array, x_dot: Array, cache: OutputCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    return dy_dot * x_dot * cache.y * (1.0 - cache.y) * (1.0 - 2.0 * cache.y)


def tanh_tangent(x_dot: Array, cache: OutputCache) -> Array:
    """Return y_dot."""
    return tanh_backward(x_dot, cache)


def tanh_curvature(dy_dot: Array, x_dot: Array, cache: OutputCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    return -2.0 * dy_dot * x_dot * cache.y * (1.0 - cache.y * cache.y)


def softplus_tangent(x_dot: Array, cache: InputCache) -> Array:
    """Return y_dot."""
    return softplus_backward(x_dot, cache)


def softplus_curvature(dy_dot: Array, x_dot: Array, cache: InputCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    s = sigmoid(cache.x)
    return dy_dot * x_dot * s * (1.0 - s)


def silu_tangent(x_dot: Array, cache: SiluCache) -> Array:
    """Return y_dot."""
    return silu_backward(x_dot, cache)


def silu_curvature(dy_dot: Array, x_dot: Array, cache: SiluCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    x, s = cache
    return dy_dot * x_dot * s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


def gelu_tangent(x_dot: Array, cache: GeluCache) -> Array:
    """Return y_dot."""
    return gelu_backward(x_dot, cache)


def gelu_curvature(dy_dot: Array, x_dot: Array, cache: GeluCache) -> Array:
    """Return the gradient of ⟨dy_dot, y_dot⟩ in x."""
    x = cache.x
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return dy_dot * x_dot * density * (2.0 - x * x)  # (A.8)


def _normal_cdf(x: Array) -> Array:
    cdf: Array = 0.5 * (1.0 + erf(x / math.sqrt(2.0)))
    return cdf
