"""The variational autoencoder: encode, draw, decode; see refgen.objectives.elbo.

Lectures   0, 1, 2 (equations), 4 (named)          Source  kingma2014-vae
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen.layers import Sequence
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives import Elbo
from refgen.objectives.elbo import LIKELIHOODS
from refgen.ops.protocol import Ops
from refgen.systems.system import Turn, refuse_sampler, refuse_unknown
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class VAE:
    """A diagonal Gaussian encoder and a Gaussian or Bernoulli decoder, both MLPs.

    depth 0 makes both affine: the linear VAE. var is the variance of the Gaussian decoder. The
    Bernoulli decoder reads an image's [-1, 1] as gray values [0, 1].
    """

    shape: tuple[int, ...]
    latent: int = 8
    hidden: int = 256
    depth: int = 2
    likelihood: str = "gaussian"
    var: float = 0.05
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        refuse_unknown("likelihood", self.likelihood, LIKELIHOODS)
        _ = self.objective  # refuses settings that cannot be
        if self.depth < 0:
            raise ValueError(f"depth counts hidden layers, 0 for none, not {self.depth}")

    @property
    def encoder(self) -> Sequence:
        """The map (N, X) -> (N, 2 latent): means, then log-variances."""
        inner = [self.hidden] * self.depth
        return mlp((math.prod(self.shape), *inner, 2 * self.latent), ops=self.ops)

    @property
    def decoder(self) -> Sequence:
        """The map (N, latent) -> (N, X): means, or logits."""
        inner = [self.hidden] * self.depth
        return mlp((self.latent, *inner, math.prod(self.shape)), ops=self.ops)

    @property
    def objective(self) -> Elbo:
        """The loss that training descends: −ELBO in nats."""
        return Elbo(self.encoder, self.decoder, self.likelihood, self.var, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": {"encoder", "decoder"}}."""
        encoder = self.encoder.init(noise.at("encoder"))
        return {"model": {"encoder": encoder, "decoder": self.decoder.init(noise.at("decoder"))}}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient, unit="nats"),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss, recon and kl of each example in nats, gradient of the mean loss)."""
        terms, cache = self.objective.forward(params["model"], self.observed(batch), noise)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, self.objective.backward(mean, cache)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Decode draws of the prior; what is shown is the decoder's mean."""
        refuse_sampler("vae", self.samplers, sampler, steps)
        theta = params["model"]["decoder"]
        dtype = theta["dense0"]["w"].dtype
        z = noise.normal((count, self.latent), dtype=dtype, normals=self.ops.normals)
        decoded, _ = self.decoder.forward(theta, z)
        if self.likelihood == "bernoulli":
            decoded = 2.0 * reference.sigmoid(decoded) - 1.0
        return decoded.reshape(count, *self.shape)

    def observed(self, batch: Array) -> Array:
        """Return the batch as the decoder's likelihood sees it, (N, X)."""
        flat = batch.reshape(len(batch), -1)
        return 0.5 * (flat + 1.0) if self.likelihood == "bernoulli" else flat
