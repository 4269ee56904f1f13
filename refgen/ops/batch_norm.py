r"""Batch norm: every channel is normalized over the whole batch, so examples see each other.

Shapes     N batch, *S image axes, C channels, M = N S numbers a channel.
           x, y, dx, dy : (N, *S, C)    gamma, beta, mean, var and their gradients : (C,)
Sources    ioffe2015-batch-norm  algorithm 1 and section 3.1;  salimans2016-improved  (in GANs)

In training a channel takes the statistics of the batch, and hands them out:

    mean = ⟨x⟩,   var = ⟨(x − mean)²⟩,   r = 1 / √(var + ε)                       (BN.1)
    y = γ r (x − mean) + β                                                        (BN.2)

Afterwards it takes those that it is given, and an example no longer depends on its neighbours:
(BN.2) with mean and var as arguments. They are collected while training, with momentum m,

    running ← (1 − m) running + m statistic,   of var: var M / (M − 1)             (BN.3)

since var of a sample falls short of the variance by (M − 1) / M on average.

Adjoint in training. As for any norm, dx = r P(γ dy); a loss that looks at the statistics adds

    dx += dmean / M + 2 dvar (x − mean) / M                                       (BN.4)

Adjoint afterwards. Nothing but x, γ, β and the given numbers moves:

    dx = γ r dy,   dmean = −Σ dx,   dvar = −½ r² Σ dx (x − mean)                   (BN.5)

Tangent and curvature of y in training are those of the norm page, over other sets. Afterwards,
with c = x − mean, ċ its tangent and ṙ = −½ r³ v̇ that of r,

    ẏ = γ̇ r c + γ (r ċ + ṙ c) + β̇                                                 (BN.6)

and from ∂r = −½ r³, ∂ṙ = −3/2 r² ṙ in var, the gradients of ⟨dẏ, ẏ⟩ are

    dx = (γ̇ r + γ ṙ) dẏ,   dmean = −Σ dx,   dγ = Σ dẏ (r ċ + ṙ c),   dβ = 0        (BN.7)
    dvar = −½ r² Σ dẏ [γ̇ r c + γ (r ċ + 3 ṙ c)]                                   (BN.8)
"""

from typing import NamedTuple

import numpy as np

from refgen.ops.normalization import (
    NormCache,
    check_affine,
    measure,
    normalize_backward,
    normalize_curvature,
    normalize_tangent,
)
from refgen.typing import Array


class FixedNormCache(NamedTuple):
    """What backward needs where the statistics were given."""

    centred: Array  # x − mean
    rstd: Array
    gamma: Array


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Array, Array, NormCache]:
    """Return (y, mean, var, cache) with the statistics of this batch; var is over M.

    Raises ValueError unless γ and β are (C,); those of a class are film's, after the norm.

    >>> y, mean, var, _ = batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))
    >>> y.round(3).ravel(), float(mean[0]), float(var[0])
    (array([-1.,  1.]), 2.0, 1.0)
    """
    check_affine("batch_norm", x, gamma=gamma, beta=beta)
    axes = tuple(range(x.ndim - 1))
    mean, var, sets = measure(x, axes, eps)  # (BN.1)
    y = gamma * sets.x_hat + beta
    return y, np.reshape(mean, (-1,)), np.reshape(var, (-1,)), NormCache(sets, gamma)


def batch_norm_backward(
    dy: Array, dmean: Array, dvar: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta)."""
    dx, dgamma, dbeta = normalize_backward(dy, cache)
    count, centred = dy.size // dy.shape[-1], cache.sets.x_hat / cache.sets.rstd
    return dx + (dmean + 2.0 * dvar * centred) / count, dgamma, dbeta  # (BN.4)


def batch_norm_tangent(x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache) -> Array:
    """Return y_dot."""
    return normalize_tangent(x_dot, gamma_dot, beta_dot, cache)


def batch_norm_curvature(
    dy_dot: Array, x_dot: Array, gamma_dot: Array, beta_dot: Array, cache: NormCache
) -> tuple[Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta); beta has none."""
    return normalize_curvature(dy_dot, x_dot, gamma_dot, beta_dot, cache)


def fixed_norm_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[Array, FixedNormCache]:
    """Return (y, cache) with statistics that are given: batch norm when training is over.

    Raises ValueError unless γ, β, mean and var are (C,).
    """
    check_affine("fixed_norm", x, gamma=gamma, beta=beta, mean=mean, var=var)
    centred, rstd = x - mean, 1.0 / np.sqrt(var + eps)
    return gamma * rstd * centred + beta, FixedNormCache(centred, rstd, gamma)  # (BN.2)


def fixed_norm_backward(
    dy: Array, cache: FixedNormCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dx, dgamma, dbeta, dmean, dvar)."""
    centred, rstd, gamma = cache
    dx = gamma * rstd * dy
    dvar = -0.5 * rstd * rstd * _channel_sum(dx * centred)
    return (
        dx,
        _channel_sum(dy * rstd * centred),
        _channel_sum(dy),
        -_channel_sum(dx),
        dvar,
    )  # (BN.5)


def fixed_norm_tangent(
    x_dot: Array,
    gamma_dot: Array,
    beta_dot: Array,
    mean_dot: Array,
    var_dot: Array,
    cache: FixedNormCache,
) -> Array:
    """Return y_dot."""
    centred, rstd, gamma = cache
    moved = _standard_dot(x_dot - mean_dot, var_dot, cache)
    y_dot: Array = gamma_dot * rstd * centred + gamma * moved + beta_dot  # (BN.6)
    return y_dot


def fixed_norm_curvature(
    dy_dot: Array,
    x_dot: Array,
    gamma_dot: Array,
    beta_dot: Array,
    mean_dot: Array,
    var_dot: Array,
    cache: FixedNormCache,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients of ⟨dy_dot, y_dot⟩ in (x, gamma, beta, mean, var)."""
    centred, rstd, gamma = cache
    rstd_dot = _rstd_dot(var_dot, rstd)
    moved = _standard_dot(x_dot - mean_dot, var_dot, cache)
    dx = (gamma_dot * rstd + gamma * rstd_dot) * dy_dot
    dgamma = _channel_sum(dy_dot * moved)
    bent = gamma_dot * rstd * centred + gamma * (moved + 2.0 * rstd_dot * centred)
    dvar = -0.5 * rstd * rstd * _channel_sum(dy_dot * bent)  # (BN.8)
    return dx, dgamma, np.zeros_like(beta_dot), -_channel_sum(dx), dvar  # (BN.7)


def running_step(
    mean: Array,
    var: Array,
    batch_mean: Array,
    batch_var: Array,
    *,
    count: int,
    momentum: float = 0.1,
) -> tuple[Array, Array]:
    """Return the running (mean, var) after a batch of `count` numbers a channel.

    Raises ValueError for count < 2, which has no variance, and momentum outside (0, 1].
    """
    if count < 2:
        raise ValueError(
            f"running_step: {count} numbers a channel have no variance; take 2 or more"
        )
    if not 0 < momentum <= 1:
        raise ValueError(f"running_step: momentum must lie in (0, 1], not {momentum}")
    unbiased = batch_var * (count / (count - 1))
    kept = 1 - momentum
    return kept * mean + momentum * batch_mean, kept * var + momentum * unbiased  # (BN.3)


def _rstd_dot(var_dot: Array, rstd: Array) -> Array:
    moved: Array = -0.5 * rstd * rstd * rstd * var_dot
    return moved


def _standard_dot(centred_dot: Array, var_dot: Array, cache: FixedNormCache) -> Array:
    """Return the tangent of r (x − mean)."""
    moved: Array = cache.rstd * centred_dot + _rstd_dot(var_dot, cache.rstd) * cache.centred
    return moved


def _channel_sum(a: Array) -> Array:
    total: Array = np.sum(a, axis=tuple(range(a.ndim - 1)))
    return total
