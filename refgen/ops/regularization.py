r"""What keeps a training honest: dropout, batches told apart, gradients where there are none.

Shapes     N batch, *S axes in between, C channels.
           dropout             x, uniform, y : any one shape, uniform in (0, 1)
           minibatch_std       x : (N, *S, C)    y : (N, *S, C + 1)
           straight_through    x, y : any one shape
           safe_norm           x : (N, *S)    y : (N,)
Sources    srivastava2014-dropout  section 4;  karras2018-progressive  section 3;
           bengio2013-straight-through  section 4

    dropout:   y = x [uniform ≥ rate] / (1 − rate)                                (RG.1)

The uniforms have an address like all noise, so the same place always drops the same entries.
What is kept is made larger, so that the mean is x and nothing changes when training is over.

    minibatch_std:   s = mean over *S, C of √(var over N + ε),   y = [x, s]        (RG.2)

A generator that always draws the same makes batches without spread; a discriminator that is
told s sees it at once. s is one number for the whole batch, in a channel of its own.

    straight_through:   y = step · round(x / step)                                (RG.3)

Adjoints. Dropout is linear; s is felt by every example of the batch:

    dx = dy[.. C] + (Σ ds / S C) (x − ⟨x⟩) / (N √(var + ε)),   ds = dy[C]          (RG.4)

Rounding has the derivative 0 wherever it has one, with which nothing could be learned. Its
backward is therefore a choice and no derivative, that of the identity, which rounding follows
on average over a step:   dx = dy                                                  (RG.5)

The length of each example, as a gradient penalty takes it of gradients, has no derivative where
it is 0: a critic that is flat there would turn the whole sum to nan. Of the slopes that fit
under the cone, the unit ball, 0 is the one without a direction, so it is the derivative there:

    safe_norm:   y = √(Σ x²)                                                      (RG.6)
    dx = dy x / y where y > 0,   0 where y = 0                                    (RG.7)
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class DropoutCache(NamedTuple):
    """What backward needs."""

    factor: Array  # 0, or 1 / (1 − rate)


class MinibatchCache(NamedTuple):
    """What backward needs."""

    direction: Array  # ∂s/∂x, the shape of x


class SafeNormCache(NamedTuple):
    """What backward needs."""

    direction: Array  # (N, *S)  x / y, or 0


def dropout_forward(x: Array, uniform: Array, *, rate: float = 0.5) -> tuple[Array, DropoutCache]:
    """Return (y, cache). Raises ValueError unless 0 ≤ rate < 1.

    >>> dropout_forward(np.ones(4), np.array([0.1, 0.4, 0.6, 0.9]), rate=0.5)[0]
    array([0., 0., 2., 2.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate is the share of entries dropped, in [0, 1), not {rate}")
    if uniform.shape != x.shape:
        raise ValueError(
            f"dropout: one uniform number an entry is needed, {x.shape}, not {uniform.shape}"
        )
    factor = (uniform >= rate).astype(x.dtype) / (1.0 - rate)
    return x * factor, DropoutCache(factor)  # (RG.1)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Return dx."""
    return dy * cache.factor


def minibatch_std_forward(x: Array, *, eps: float = 1e-8) -> tuple[Array, MinibatchCache]:
    """Return (y, cache).

    >>> y, _ = minibatch_std_forward(np.array([[1.0], [5.0]]), eps=0.0)
    >>> y
    array([[1., 2.],
           [5., 2.]])
    """
    centred = x - np.mean(x, axis=0)
    std = np.sqrt(np.mean(centred * centred, axis=0) + eps)
    s = np.mean(std)
    y = np.concatenate([x, np.zeros_like(x[..., :1]) + s], axis=-1)  # (RG.2)
    each = math.prod(x.shape[1:]) * x.shape[0]
    return y, MinibatchCache(centred / (std * each))


def minibatch_std_backward(dy: Array, cache: MinibatchCache) -> Array:
    """Return dx."""
    dx: Array = dy[..., :-1] + np.sum(dy[..., -1]) * cache.direction  # (RG.4)
    return dx


def straight_through_round_forward(x: Array, *, step: float = 1.0) -> tuple[Array, None]:
    """Return (x rounded to a multiple of step, nothing to keep). Raises ValueError unless step > 0.

    >>> straight_through_round_forward(np.array([0.2, 0.9]), step=0.5)[0]
    array([0., 1.])
    """
    if not step > 0:
        raise ValueError(f"straight_through_round: step must be positive, not {step}")
    return step * np.round(x / step), None  # (RG.3)


def straight_through_round_backward(dy: Array, cache: None) -> Array:
    """Return dx, by choice."""
    return dy  # (RG.5)


def safe_norm_forward(x: Array) -> tuple[Array, SafeNormCache]:
    """Return the length of each example, (N,). Entries whose squares underflow count as 0.

    >>> y, cache = safe_norm_forward(np.array([[3.0, 4.0], [0.0, 0.0]]))
    >>> y
    array([5., 0.])
    >>> safe_norm_backward(np.ones(2), cache)
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    y = np.sqrt(np.sum(x * x, axis=tuple(range(1, x.ndim))))  # (RG.6)
    return y, SafeNormCache(x / _beside(np.where(y == 0, 1.0, y), x))  # (RG.7)


def safe_norm_backward(dy: Array, cache: SafeNormCache) -> Array:
    """Return dx."""
    return _beside(dy, cache.direction) * cache.direction


def _beside(a: Array, x: Array) -> Array:
    """Return a : (N,) with axes of length 1, so that it broadcasts over x : (N, *S)."""
    return np.reshape(a, (-1,) + (1,) * (x.ndim - 1))
