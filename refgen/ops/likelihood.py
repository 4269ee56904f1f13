r"""Negative log-likelihoods of a decoder: what "reconstruction" means, constants included.

Shapes     N batch, D data, K classes.   x, mean, logits : (N, D)    logvar : (D,)
           labels : (N,) int    class logits : (N, K)    nll, dnll : (N,), in nats
           S any axes.   squared error: x, target and gradients : (N, *S)    loss, dloss : (N,)
Sources    kingma2014-vae  appendix C (Gaussian and Bernoulli);  bishop2006-prml  section 4.3

Gaussian, one variance per dimension, shared by the batch; r = x − mean, v = exp(logvar):

    −log p = ½ Σ_d (r² / v + logvar + log 2π)                     (L.1)

Bernoulli with logit a, p(x = 1) = σ(a), so −log p(0) = softplus(a), −log p(1) = softplus(a) − a:

    −log p = Σ_d (softplus(a) − x a)                              (L.2)

A gray x in [0, 1] is read as the mean of coins: (L.2) is then their expected −log p, not a
density's.

Categorical with logits a, p(k) = softmax(a)_k (softmax cross-entropy):

    −log p = log Σ_k exp(a_k) − a_label                           (L.3)

Adjoints. The Gaussian's residual is measured in units of its variance; the two others have
in common that the gradient in a logit is (probability − observation).

    dx = dnll r / v,   dmean = −dx,   dlogvar = Σ_n dnll ½ (1 − r²/v)     (L.4)
    da = dnll (σ(a) − x),   dx = −dnll a                                  (L.5)
    da = dnll (softmax(a) − onehot(label))                                (L.6)

Squared error, the Gaussian's −log p at logvar = −log 2 but for its constant; a target may be
learnt as well, so it has a gradient too:

    loss = Σ_s (x − target)²                                      (L.7)
    dx = 2 dloss (x − target),   dtarget = −dx                    (L.8)
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.ops.activation import sigmoid, softplus
from refgen.typing import Array


class GaussianNLLCache(NamedTuple):
    """What backward needs."""

    residual: Array  # (N, D)  x − mean
    precision: Array  # (D,)  1 / v


def gaussian_nll_forward(x: Array, mean: Array, logvar: Array) -> tuple[Array, GaussianNLLCache]:
    """Return −log N(x; mean, exp(logvar)) of each sample, in nats.

    >>> nll, _ = gaussian_nll_forward(np.array([[2.0]]), np.zeros((1, 1)), np.log([4.0]))
    >>> round(float(nll[0] - 0.5 * np.log(2 * np.pi * 4)), 12)  # one std away: ½
    0.5
    """
    residual, precision = x - mean, np.exp(-logvar)
    terms = residual * residual * precision + logvar + math.log(2 * math.pi)
    return 0.5 * np.sum(terms, axis=1), GaussianNLLCache(residual, precision)  # (L.1)


def gaussian_nll_backward(dnll: Array, cache: GaussianNLLCache) -> tuple[Array, Array, Array]:
    """Return (dx, dmean, dlogvar)."""
    residual, precision = cache
    dx = dnll[:, None] * residual * precision
    dlogvar = np.sum(dnll[:, None] * 0.5 * (1 - residual * residual * precision), axis=0)
    return dx, -dx, dlogvar  # (L.4)


class BernoulliNLLCache(NamedTuple):
    """What backward needs."""

    x: Array  # (N, D)
    logits: Array  # (N, D)


def bernoulli_nll_forward(x: Array, logits: Array) -> tuple[Array, BernoulliNLLCache]:
    """Return the binary cross-entropy of each sample, in nats.

    >>> nll, _ = bernoulli_nll_forward(np.array([[1.0, 0.0]]), np.array([[0.0, -1000.0]]))
    >>> bool(nll[0] == np.log(2))  # a coin, and a certainty
    True
    """
    nll = np.sum(softplus(logits) - x * logits, axis=1)  # (L.2)
    return nll, BernoulliNLLCache(x, logits)


def bernoulli_nll_backward(dnll: Array, cache: BernoulliNLLCache) -> tuple[Array, Array]:
    """Return (dx, dlogits)."""
    x, logits = cache
    return -dnll[:, None] * logits, dnll[:, None] * (sigmoid(logits) - x)  # (L.5)


class CategoricalNLLCache(NamedTuple):
    """What backward needs."""

    labels: Array  # (N,)
    probabilities: Array  # (N, K)  softmax(a)


def categorical_nll_forward(labels: Array, logits: Array) -> tuple[Array, CategoricalNLLCache]:
    """Return the softmax cross-entropy of each sample, in nats. Labels are 0 .. K − 1."""
    shift = np.max(np.real(logits), axis=1, keepdims=True)  # the same number added and removed
    weights = np.exp(logits - shift)
    total = np.sum(weights, axis=1, keepdims=True)
    chosen = np.take_along_axis(logits - shift, labels[:, None], axis=1)
    nll = (np.log(total) - chosen)[:, 0]  # (L.3)
    return nll, CategoricalNLLCache(labels, weights / total)


def categorical_nll_backward(dnll: Array, cache: CategoricalNLLCache) -> Array:
    """Return dlogits."""
    labels, probabilities = cache
    onehot = np.arange(probabilities.shape[1], like=labels) == labels[:, None]
    dlogits: Array = dnll[:, None] * (probabilities - onehot)  # (L.6)
    return dlogits


class SquaredErrorCache(NamedTuple):
    """What backward needs."""

    x: Array  # (N, *S)
    target: Array  # (N, *S)


def squared_error_forward(x: Array, target: Array) -> tuple[Array, SquaredErrorCache]:
    """Return |x − target|² of each sample: a sum over its entries, no mean.

    >>> loss, _ = squared_error_forward(np.array([[3.0, 1.0]]), np.array([[0.0, 5.0]]))
    >>> float(loss[0])  # 3² + 4²
    25.0
    """
    residual = x - target
    loss = np.sum(residual * residual, axis=tuple(range(1, x.ndim)))  # (L.7)
    return loss, SquaredErrorCache(x, target)


def squared_error_backward(dloss: Array, cache: SquaredErrorCache) -> tuple[Array, Array]:
    """Return (dx, dtarget)."""
    x, target = cache
    dx = np.reshape(2 * dloss, (-1,) + (1,) * (x.ndim - 1)) * (x - target)
    return dx, -dx  # (L.8)
