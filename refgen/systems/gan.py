"""The generative adversarial network: one network forges, one tells apart.

Lectures   1, 2, 4          Source  goodfellow2014-gan
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives import Game
from refgen.ops.protocol import Ops
from refgen.systems.system import Turn, refuse_sampler
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class GAN:
    """Two MLPs; each step gives the discriminator k turns, then the generator one."""

    shape: tuple[int, ...]
    latent: int = 16
    hidden: int = 256
    depth: int = 2
    k: int = 1
    generator_loss: str = "nonsaturating"
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _ = self.game  # refuses settings that cannot be
        if self.depth < 0:
            raise ValueError(f"depth counts hidden layers, 0 for none, not {self.depth}")
        if self.k < 1:
            raise ValueError(f"the discriminator takes k ≥ 1 turns a step, not {self.k}")

    @property
    def game(self) -> Game:
        """Both networks and both losses."""
        data, inner = math.prod(self.shape), [self.hidden] * self.depth
        generator = mlp((self.latent, *inner, data), "relu", ops=self.ops)
        discriminator = mlp((data, *inner, 1), "leaky_relu", ops=self.ops)
        return Game(generator, discriminator, self.latent, self.generator_loss)

    def init(self, noise: Noise) -> Params:
        """Draw {"discriminator": ..., "generator": ...}."""
        return {
            "discriminator": self.game.discriminator.init(noise.at("discriminator")),
            "generator": self.game.generator.init(noise.at("generator")),
        }

    def turns(self) -> tuple[Turn, ...]:
        """Algorithm 1: the discriminator k times, then the generator."""
        discriminator = Turn("discriminator", self.discriminator_gradient, repeat=self.k)
        return (discriminator, Turn("generator", self.generator_gradient))

    def discriminator_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss and logits of each example, gradient of the mean loss)."""
        flat = batch.reshape(len(batch), -1)
        terms, cache = self.game.discriminator_forward(params, flat, noise)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, self.game.discriminator_backward(mean, cache)

    def generator_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each sample, gradient of the mean loss); of the batch only the size."""
        terms, cache = self.game.generator_forward(params, len(batch), noise, batch.dtype)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, self.game.generator_backward(mean, cache)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Generate from latents drawn at this place."""
        refuse_sampler("gan", self.samplers, sampler, steps)
        dtype = params["generator"]["dense0"]["w"].dtype
        samples, _ = self.game.generate(params, count, noise, dtype)
        return samples.reshape(count, *self.shape)
