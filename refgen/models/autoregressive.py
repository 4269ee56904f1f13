r"""What every autoregressive model has in common: a likelihood, and a sampler that takes turns.

Shapes     N batch, *S the axes of one x, K levels.   x : (N, *S) of integers 0 .. K − 1
           logits, dlogits : (N, *S, K)    nll, dnll : (N,), in nats
Sources    bengio2003-language  section 2 (the product of conditionals)

    −log p(x | label) = −Σ_j log p(x_j | x_<j, label),   p(x_j | ...) = softmax(logits_j)   (AR.1)

All conditionals of a given x come from one pass. A sample needs one pass for each variable, as
each is drawn before the next can be asked for: the smallest k with F(k) ≥ u, for a uniform u
and F the sum of the probabilities up to k.                                             (AR.2)
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from refgen import ops
from refgen.noise import Noise
from refgen.typing import Array, Cache


class Autoregressive(Protocol):
    """A model of p(x | label) by conditionals."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one x."""

    @property
    def sequence(self) -> tuple[int, ...]:
        """The variables of a flattened x as they come."""

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (logits, cache)."""


class SequenceNLLCache(NamedTuple):
    """What backward needs."""

    rows: Cache  # of the categorical likelihood, one row a variable
    shape: tuple[int, ...]


def sequence_nll_forward(logits: Array, x: Array) -> tuple[Array, SequenceNLLCache]:
    """Return −log p(x | label) of each example, in nats. Raises ValueError for shapes that differ.

    >>> nll, _ = sequence_nll_forward(np.zeros((1, 3, 2)), np.array([[0, 1, 1]]))
    >>> float(nll[0] / np.log(2))  # three fair coins
    3.0
    """
    if logits.shape[:-1] != x.shape:
        raise ValueError(f"logits {logits.shape} are not those of x {x.shape}: one row for each")
    rows = np.reshape(logits, (-1, logits.shape[-1]))
    terms, cache = ops.categorical_nll_forward(np.reshape(x, -1), rows)
    nll = np.sum(np.reshape(terms, (len(x), -1)), axis=1)  # (AR.1)
    return nll, SequenceNLLCache(cache, logits.shape)


def sequence_nll_backward(dnll: Array, cache: SequenceNLLCache) -> Array:
    """Return dlogits."""
    each = int(np.prod(cache.shape[1:-1]))  # one likelihood, shared by its variables
    drows = ops.categorical_nll_backward(np.repeat(dnll, each), cache.rows)
    return np.reshape(drows, cache.shape)


def sample_in_turn(
    model: Autoregressive, params: Any, noise: Noise, count: int, labels: Array | None = None
) -> Array:
    """Return `count` samples of p(x | label), (count, *shape) integers."""
    x = np.zeros((count, *model.shape), int)
    flat = np.reshape(x, (count, -1))  # a view
    for j in model.sequence:
        logits, _ = model.forward(params, x, labels)
        weights, _ = ops.softmax_forward(np.reshape(logits, (*flat.shape, -1))[:, j])
        below = np.cumsum(weights, axis=1)[:, :-1]
        u = noise.at("variable", j).uniform(count)
        flat[:, j] = np.sum(below < u[:, None], axis=1)  # (AR.2)
    return x
