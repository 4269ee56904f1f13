r"""Instance norm: every channel of every image by itself, and the style that can be put on after.

Shapes     N batch, *S image axes, C channels, M = S numbers a channel of an image.
           x, content, y : (N, *S, C)    style : (N, *S', C)    gamma, beta : (C,)
Sources    ulyanov2016-instance-norm  eq. 5;  huang2017-adain  eq. 8

    instance:   y = γ x̂ + β,   x̂ of mean 0 and variance 1 over *S                 (IN.1)
    adain:      y = σ(style) x̂(content) + μ(style),   σ = √(var + ε)              (IN.2)

It is group norm with one channel a group. What it takes away, the contrast and the tint of each
feature map, is much of what is called style; adain puts another's in its place. Where scale and
shift are computed by a network instead, film after instance norm does it.

Adjoint. content is normalized, its gradient is that of a norm. style is felt through its mean
and its spread; from σ = √(var + ε) comes ∂σ/∂s = x̂(s) / M:

    dstyle = (Σ dy + x̂(style) Σ dy x̂(content)) / M                                (IN.3)
"""

from typing import NamedTuple

import numpy as np

from refgen.ops.normalization import (
    NormCache,
    Standard,
    check_affine,
    measure,
    normalize,
    normalize_backward,
    normalize_curvature,
    normalize_tangent,
    standardize,
    standardize_backward,
)
from refgen.typing import Array


class AdainCache(NamedTuple):
    """What backward needs."""

    content: Standard
    style: Standard


def instance_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    """Return (y, cache).

    Raises ValueError for an array without image axes, and unless γ and β are (C,).
    """
    axes = _image_axes("instance_norm", x)
    check_affine("instance_norm", x, gamma=gamma, beta=beta)
    return normalize(x, gamma, beta, axes, eps)  # (IN.1)


def instance_norm_backward(dy: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    return normalize_backward(dy, cache)


def instance_norm_tangent(
    x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> Array:
    """Return y_dot."""
    return normalize_tangent(x_dot, gamma_dot, beta_dot, cache)


def instance_norm_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta); beta has none."""
    return normalize_curvature(dy_dot, x_dot, gamma_dot, beta_dot, cache)


def adain_forward(content: Array, style: Array, *, eps: float = 1e-5) -> tuple[Array, AdainCache]:
    """Return content with the mean and the spread of style, channel by channel.

    Raises ValueError unless both are images of the same batch and channels; sizes may differ.
    """
    if content.shape[0] != style.shape[0] or content.shape[-1] != style.shape[-1]:
        raise ValueError(
            f"adain: content and style must agree in batch and channels, not {content.shape} and "
            f"{style.shape}"
        )
    bare = standardize(content, _image_axes("adain", content), eps)
    mean, _, worn = measure(style, _image_axes("adain", style), eps)
    shaped = (content.shape[0], *[1] * (content.ndim - 2), content.shape[-1])
    spread, shift = np.reshape(1.0 / worn.rstd, shaped), np.reshape(mean, shaped)
    return spread * bare.x_hat + shift, AdainCache(bare, worn)  # (IN.2)


def adain_backward(dy: Array, cache: AdainCache) -> tuple[Array, Array]:
    """Return (dcontent, dstyle)."""
    bare, worn = cache
    places = worn.x_hat.size // worn.rstd.size  # M of style
    inner = np.reshape(1.0 / worn.rstd, bare.rstd.shape)
    dshift = np.reshape(np.sum(dy, axis=bare.axes), worn.rstd.shape)
    dspread = np.reshape(np.sum(dy * bare.x_hat, axis=bare.axes), worn.rstd.shape)
    dstyle = (dshift + worn.x_hat * dspread) / places  # (IN.3)
    return standardize_backward(inner * dy, bare), dstyle


def _image_axes(name: str, x: Array) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ValueError(
            f"{name}: x has axes (N, *S, C) with places to average over, not {x.shape}"
        )
    return tuple(range(1, x.ndim - 1))
