r"""The game of two networks: each player's loss, and the gradient that reaches its parameters.

Shapes     N batch, D data, Z latent.   data : (N, D)    z : (N, Z)    losses : (N,), in nats
Sources    goodfellow2014-gan  algorithm 1

    discriminator:  −log D(data) − log(1 − D(G(z)))                            (GM.1)
    generator:      log(1 − D(G(z)))  or  −log D(G(z))                         (GM.2)

Adjoints. The discriminator is applied twice before either backward, once to data and once to
samples, so its gradient is the sum of two; it stops at the samples. The generator's gradient
passes through the discriminator, whose own parameters then hold still. dreal and dfake are the
losses' gradients in the logits a, D = σ(a).

    dθ_D = (∂a(data)/∂θ_D)ᵀ dreal + (∂a(G(z))/∂θ_D)ᵀ dfake                     (GM.3)
    dθ_G = (∂G(z)/∂θ_G)ᵀ dx,   dx = (∂a/∂x)ᵀ dfake  at x = G(z)                (GM.4)
"""

from dataclasses import dataclass
from typing import Any

from refgen import ops, tree
from refgen.layers import Layer
from refgen.noise import Draw, Noise, normals
from refgen.typing import Array, Cache, Grads

GENERATOR_LOSSES = ("nonsaturating", "minimax")


@dataclass(frozen=True)
class Game:
    """A generator (N, latent) -> (N, D), a discriminator (N, D) -> (N, 1), and their losses.

    params holds {"generator": ..., "discriminator": ...}; `normals` draws where they live. Raises
    ValueError for an unknown generator loss.
    """

    generator: Layer
    discriminator: Layer
    latent: int
    generator_loss: str = "nonsaturating"
    normals: Draw = normals

    def __post_init__(self) -> None:
        if self.generator_loss not in GENERATOR_LOSSES:
            names = ", ".join(GENERATOR_LOSSES)
            raise ValueError(f"generator_loss {self.generator_loss!r} is not one of {names}")

    def generate(self, params: Any, count: int, noise: Noise, dtype: Any) -> tuple[Array, Cache]:
        """Return (samples (count, D), cache) from latents drawn at this place."""
        z = noise.normal((count, self.latent), dtype=dtype, normals=self.normals)
        return self.generator.forward(params["generator"], z)

    def discriminator_forward(
        self, params: Any, data: Array, noise: Noise
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "real", "fake"}, cache); real and fake are the logits, (N,)."""
        samples, _ = self.generate(params, len(data), noise, data.dtype)
        theta = params["discriminator"]
        real, real_cache = self.discriminator.forward(theta, data)
        fake, fake_cache = self.discriminator.forward(theta, samples)
        loss, loss_cache = ops.discriminator_loss_forward(real[:, 0], fake[:, 0])  # (GM.1)
        terms = {"loss": loss, "real": real[:, 0], "fake": fake[:, 0]}
        return terms, (real_cache, fake_cache, loss_cache)

    def discriminator_backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return the gradient of the discriminator's parameters."""
        real_cache, fake_cache, loss_cache = cache
        dreal, dfake = ops.discriminator_loss_backward(dloss, loss_cache)
        _, from_real = self.discriminator.backward(dreal[:, None], real_cache)
        _, from_fake = self.discriminator.backward(dfake[:, None], fake_cache)
        grads: Grads = tree.map(lambda a, b: a + b, from_real, from_fake)  # (GM.3)
        return grads

    def generator_forward(
        self, params: Any, count: int, noise: Noise, dtype: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (count,)."""
        samples, generator_cache = self.generate(params, count, noise, dtype)
        fake, fake_cache = self.discriminator.forward(params["discriminator"], samples)
        forward = getattr(ops, f"{self.generator_loss}_loss_forward")
        loss, loss_cache = forward(fake[:, 0])  # (GM.2)
        return {"loss": loss}, (generator_cache, fake_cache, loss_cache)

    def generator_backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return the gradient of the generator's parameters."""
        generator_cache, fake_cache, loss_cache = cache
        dfake = getattr(ops, f"{self.generator_loss}_loss_backward")(dloss, loss_cache)
        dx, _ = self.discriminator.backward(dfake[:, None], fake_cache)
        _, grads = self.generator.backward(dx, generator_cache)  # (GM.4)
        return grads
