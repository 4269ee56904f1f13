r"""The losses of the two players, on logits: D(x) = σ(a), the probability that x is real.

Shapes     N batch.   real, fake (logits a), losses and their gradients : (N,), losses in nats
Sources    goodfellow2014-gan  algorithm 1, eq. 1 and section 3

The discriminator climbs V = log D(x) + log(1 − D(G(z))); as a loss to descend,

    L_D = −log σ(real) − log(1 − σ(fake)) = softplus(−real) + softplus(fake)     (GAN.1)

The generator descends the same V, without log D(x), which it cannot move (minimax), or climbs
log D(G(z)) (non-saturating):

    L_G = log(1 − σ(fake)) = −softplus(fake)                                     (GAN.2)
    L_G = −log σ(fake) = softplus(−fake)                                         (GAN.3)

Adjoints. softplus' = σ. While the generator still loses, D = σ(fake) ≈ 0: the minimax slope
−D vanishes, the non-saturating slope −(1 − D) does not.

    dreal = −dL (1 − σ(real)),   dfake = dL σ(fake)                              (GAN.4)
    minimax: dfake = −dL σ(fake),   non-saturating: dfake = −dL (1 − σ(fake))    (GAN.5)
"""

from typing import NamedTuple

from refgen.ops.activation import sigmoid, softplus
from refgen.typing import Array


class DiscriminatorLossCache(NamedTuple):
    """What backward needs."""

    real: Array  # (N,) logits of data
    fake: Array  # (N,) logits of samples


class GeneratorLossCache(NamedTuple):
    """What backward needs."""

    fake: Array  # (N,) logits of samples


def discriminator_loss_forward(real: Array, fake: Array) -> tuple[Array, DiscriminatorLossCache]:
    """Return −V of each pair of one real and one generated example, in nats.

    >>> import numpy as np
    >>> loss, _ = discriminator_loss_forward(np.zeros(1), np.zeros(1))
    >>> bool(loss[0] == 2 * np.log(2))  # undecided, D = ½ on both
    True
    """
    return softplus(-real) + softplus(fake), DiscriminatorLossCache(real, fake)  # (GAN.1)


def discriminator_loss_backward(dloss: Array, cache: DiscriminatorLossCache) -> tuple[Array, Array]:
    """Return (dreal, dfake)."""
    return -dloss * sigmoid(-cache.real), dloss * sigmoid(cache.fake)  # (GAN.4)


def minimax_loss_forward(fake: Array) -> tuple[Array, GeneratorLossCache]:
    """Return log(1 − D) of each generated example, in nats (never positive)."""
    return -softplus(fake), GeneratorLossCache(fake)  # (GAN.2)


def minimax_loss_backward(dloss: Array, cache: GeneratorLossCache) -> Array:
    """Return dfake."""
    return -dloss * sigmoid(cache.fake)  # (GAN.5)


def nonsaturating_loss_forward(fake: Array) -> tuple[Array, GeneratorLossCache]:
    """Return −log D of each generated example, in nats."""
    return softplus(-fake), GeneratorLossCache(fake)  # (GAN.3)


def nonsaturating_loss_backward(dloss: Array, cache: GeneratorLossCache) -> Array:
    """Return dfake."""
    return -dloss * sigmoid(-cache.fake)  # (GAN.5)
