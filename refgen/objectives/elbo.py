r"""The negative evidence lower bound of a variational autoencoder, in nats.

Shapes     N batch, X data, D latent.   x : (N, X)    loss, recon, kl : (N,)
Sources    kingma2014-vae  eq. 3 and 10, with one draw per sample

    (μ, logvar) = encode(x),   z = μ + σ ε,   decoded = decode(z)      (E.1)
    recon = −log p(x | decoded),   kl = KL[N(μ, σ²) ‖ N(0, I)]         (E.2)
    loss = recon + kl   ≥   −log p(x)  in expectation over ε           (E.3)

The gap of (E.3) is KL[N(μ, σ²) ‖ p(z | x)]. The likelihood is N(decoded, var I), with var a number
that is stated and all constants kept, or Bernoulli with logits = decoded; the two differ in
nothing else.

Adjoint. Two gradients meet at (μ, logvar): one has come through the decoder and the draw, one
directly from the KL.

    d(μ, logvar) = (∂z/∂(μ, logvar))ᵀ dz + dloss ∂kl/∂(μ, logvar)      (E.4)
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Layer
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads

LIKELIHOODS = ("gaussian", "bernoulli")


@dataclass(frozen=True)
class Elbo:
    """−ELBO of an encoder (N, X) -> (N, 2D) and a decoder (N, D) -> (N, X).

    Raises ValueError for an unknown likelihood or a variance that is not positive.
    """

    encoder: Layer
    decoder: Layer
    likelihood: str = "gaussian"
    var: float = 1.0  # of the Gaussian likelihood
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood {self.likelihood!r} is not one of {LIKELIHOODS}")
        if not self.var > 0:
            raise ValueError(f"the decoder's variance must be positive, not {self.var}")

    def forward(self, params: Any, x: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "recon", "kl"}, cache), each (N,) in nats."""
        stats, encoder_cache = self.encoder.forward(params["encoder"], x)  # (N, 2D)
        mu, logvar = np.split(stats, 2, axis=1)
        z, kl, draw_cache = self.ops.reparameterize_kl_drawn(mu, logvar, noise.stream)
        decoded, decoder_cache = self.decoder.forward(params["decoder"], z)  # (E.1)
        recon, recon_cache = self._likelihood(x, decoded)  # (E.2)
        loss = recon + kl  # (E.3)
        cache = (encoder_cache, draw_cache, decoder_cache, recon_cache)
        return {"loss": loss, "recon": recon, "kl": kl}, cache

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        encoder_cache, draw_cache, decoder_cache, recon_cache = cache
        ddecoded = self._likelihood_backward(dloss, recon_cache)
        dz, decoder_grads = self.decoder.backward(ddecoded, decoder_cache)
        dmu, dlogvar = self.ops.reparameterize_kl_backward(dz, dloss, draw_cache)  # (E.4)
        dstats = np.concatenate([dmu, dlogvar], axis=1)
        _, encoder_grads = self.encoder.backward(dstats, encoder_cache)
        return {"encoder": encoder_grads, "decoder": decoder_grads}

    def _likelihood(self, x: Array, decoded: Array) -> tuple[Array, Cache]:
        if self.likelihood == "bernoulli":
            return self.ops.bernoulli_nll_forward(x, decoded)
        logvar = np.full_like(decoded[0], math.log(self.var))  # (X,)
        return reference.gaussian_nll_forward(x, decoded, logvar)

    def _likelihood_backward(self, dnll: Array, cache: Cache) -> Array:
        if self.likelihood == "bernoulli":
            return self.ops.bernoulli_nll_backward(dnll, cache)[1]
        return reference.gaussian_nll_backward(dnll, cache)[1]
