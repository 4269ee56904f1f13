r"""What keeps a training honest: dropout, batches that are told apart, rounding with a gradient.

Shapes     N batch, *S axes in between, C channels.
           dropout             x, uniform, y : any one shape, uniform in (0, 1)
           minibatch_std       x : (N, *S, C)    y : (N, *S, C + 1)
           straight_through    x, y : any one shape
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


class StepCache(NamedTuple):
    """Nothing: the gradient passes as it is."""

    step: float


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


def straight_through_round_forward(x: Array, *, step: float = 1.0) -> tuple[Array, StepCache]:
    """Return x rounded to a multiple of step. Raises ValueError unless step > 0.

    >>> straight_through_round_forward(np.array([0.2, 0.9]), step=0.5)[0]
    array([0., 1.])
    """
    if not step > 0:
        raise ValueError(f"straight_through_round: step must be positive, not {step}")
    return step * np.round(x / step), StepCache(step)  # (RG.3)


def straight_through_round_backward(dy: Array, cache: StepCache) -> Array:
    """Return dx, by choice."""
    return dy  # (RG.5)
