r"""Noising: a mixture of data and noise, each sample in its own proportion.

Shapes     N batch, S any axes after it.   data, noise, x, dx : (N, *S)    a, b, da, db : (N,)
Sources    ho2020-ddpm  eq. 4 (a = √ᾱ_t, b = √(1 − ᾱ_t));  song2021-sde  (any a, b)

    x = a data + b noise                                          (X.1)

Adjoint. The map is linear in data and noise and linear in a and b; a sample has one a and
one b for all its entries, so their gradients are inner products over the sample.

    ddata = a dx,   dnoise = b dx                                 (X.2)
    da = Σ_s dx data,   db = Σ_s dx noise                         (X.3)
"""

from typing import NamedTuple

import numpy as np

from refgen.noise import Stream, normals_like
from refgen.typing import Array


class NoisingCache(NamedTuple):
    """What backward needs."""

    data: Array  # (N, *S)
    noise: Array  # (N, *S)
    a: Array  # (N,)
    b: Array  # (N,)


def noising_forward(data: Array, noise: Array, a: Array, b: Array) -> tuple[Array, NoisingCache]:
    """Return x = a data + b noise, a and b one per sample.

    >>> one = np.ones((1, 1))
    >>> x, _ = noising_forward(10 * one, one, np.array([0.6]), np.array([0.8]))
    >>> x
    array([[6.8]])
    """
    x = _per_sample(a, data) * data + _per_sample(b, data) * noise  # (X.1)
    return x, NoisingCache(data, noise, a, b)


def noising_backward(dx: Array, cache: NoisingCache) -> tuple[Array, Array, Array, Array]:
    """Return (ddata, dnoise, da, db)."""
    data, noise, a, b = cache
    sample = tuple(range(1, dx.ndim))
    ddata, dnoise = _per_sample(a, dx) * dx, _per_sample(b, dx) * dx  # (X.2)
    return ddata, dnoise, np.sum(dx * data, axis=sample), np.sum(dx * noise, axis=sample)  # (X.3)


def noising_drawn(
    data: Array, a: Array, b: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array]:
    """Return (x, noise) with the noise of a stream; the loss needs the noise too."""
    noise = normals_like(data, stream, start)
    return noising_forward(data, noise, a, b)[0], noise


def _per_sample(a: Array, like: Array) -> Array:
    """(N,) -> (N, 1, ..., 1), so that it broadcasts over each sample."""
    return np.reshape(a, (-1,) + (1,) * (like.ndim - 1))
