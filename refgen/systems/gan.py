"""The generative adversarial network: one network forges, one tells apart.

Lectures   1, 2, 4          Source  goodfellow2014-gan;  radford2016-dcgan;  brock2019-biggan

Batch norm, in a DCGAN. While training, latents, data and samples are three batches, each with its
own statistics. Sampling uses averaged parameters, to which nothing that was collected on the way
belongs. So the generator's statistics are taken anew from STANDING latents, with the parameters
that sample (the standing statistics of BigGAN), and then hold for all: a sample does not
depend on those drawn beside it.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models import dcgan_discriminator, dcgan_generator, mlp
from refgen.models.convnet import halvings
from refgen.models.dcgan import ByBatch, Chain, Reshape
from refgen.noise import Noise
from refgen.objectives import Game
from refgen.ops.protocol import Ops
from refgen.systems.system import Turn, refuse_sampler, refuse_unknown
from refgen.typing import Array, Grads, Params

MODELS = ("mlp", "dcgan")
STANDING = 256  # latents from which the statistics for sampling are taken


@dataclass(frozen=True)
class GAN:
    """Two networks; each step gives the discriminator k turns, then the generator one.

    model is mlp, with depth layers of hidden units, or dcgan for images, where hidden is the
    channels of the smallest image, halved wherever the image is doubled; its depth follows from
    the image.
    """

    shape: tuple[int, ...]
    model: str = "mlp"
    latent: int = 16
    hidden: int = 256
    depth: int = 2
    k: int = 1
    generator_loss: str = "nonsaturating"
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, MODELS)
        _ = self.game  # refuses settings that cannot be
        if self.depth < 0:
            raise ValueError(f"depth counts hidden layers, 0 for none, not {self.depth}")
        if self.k < 1:
            raise ValueError(f"the discriminator takes k ≥ 1 turns a step, not {self.k}")

    @property
    def game(self) -> Game:
        """Both networks and both losses."""
        if self.model == "dcgan":
            networks = ByBatch(self._generator), ByBatch(self._discriminator)
            return Game(*networks, self.latent, self.generator_loss, self.ops.normals)
        data, inner = math.prod(self.shape), [self.hidden] * self.depth
        generator = mlp((self.latent, *inner, data), "relu", ops=self.ops)
        discriminator = mlp((data, *inner, 1), "leaky_relu", ops=self.ops)
        return Game(generator, discriminator, self.latent, self.generator_loss, self.ops.normals)

    def init(self, noise: Noise) -> Params:
        """Draw {"discriminator": ..., "generator": ...}."""
        return {
            "discriminator": self.game.discriminator.init(noise.at("discriminator")),
            "generator": self.game.generator.init(noise.at("generator")),
        }

    def turns(self) -> tuple[Turn, ...]:
        """Algorithm 1: the discriminator k times, then the generator."""
        return (
            Turn("discriminator", self.discriminator_gradient, repeat=self.k, unit="nats"),
            Turn("generator", self.generator_gradient, unit="nats"),
        )

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
        theta = params["generator"]
        dtype = next(tree.leaves(theta)).dtype
        if self.model == "dcgan":
            normals, standing = self.ops.normals, noise.at("standing")
            many = standing.normal((STANDING, self.latent), dtype=dtype, normals=normals)
            z = noise.normal((count, self.latent), dtype=dtype, normals=normals)
            statistics = self._generator.standing(theta, many)
            samples, _ = self._generator.forward(theta, z, statistics)
        else:
            samples, _ = self.game.generate(params, count, noise, dtype)
        return samples.reshape(count, *self.shape)

    @property
    def _generator(self) -> Chain:
        """The generator of a DCGAN, (N, latent) -> (N, D): its images as rows."""
        images = dcgan_generator(self._image, self.latent, self._channels, self.ops)
        return Chain((*images.layers, ("row", Reshape((math.prod(self.shape),)))))

    @property
    def _discriminator(self) -> Chain:
        """The discriminator of a DCGAN, (N, D) -> (N, 1)."""
        images = dcgan_discriminator(self._image, self._channels, self.ops)
        return Chain((("image", Reshape(self.shape)), *images.layers))

    @property
    def _image(self) -> tuple[int, int, int]:
        if len(self.shape) != 3:
            raise ValueError(
                f"a dcgan takes images, not examples of shape {self.shape}: use model=mlp"
            )
        height, width, channels = self.shape
        return height, width, channels

    @property
    def _channels(self) -> int:
        """The channels of the largest hidden image."""
        height, width, _ = self._image
        times: int = 2 ** max(halvings(height, width) - 1, 0)
        if self.hidden < times or self.hidden % times:
            raise ValueError(
                f"a dcgan on {height} x {width} halves its channels to 1/{times}, so hidden must "
                f"be a multiple of {times}, not {self.hidden}"
            )
        return self.hidden // times
