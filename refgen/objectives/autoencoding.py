r"""The bound of an autoencoder whose codes have a fixed length and a fixed uncertainty.

Shapes     N batch, D numbers of a code.   x : (N, H, W, C)    z, u : codes, D numbers each
           loss, recon, kl : (N,), in nats
Sources    kingma2014-vae  eq. 3;  rombach2022-latent  section 3.1 (an autoencoder before diffusion)

    z = encode(x),   u = z + s ε,   ε ~ N(0, I)                                        (AO.1)
    recon = −log N(x; decode(u), var I)                                                (AO.2)
    kl = KL[N(z, s² I) ‖ N(0, I)] = ½ D (s² − log s²)                                  (AO.3)
    loss = recon + kl ≥ −log p(x) in expectation over ε

It is the bound of a VAE whose encoder answers N(z, s² I). kl, ½ (‖z‖² + D s² − D − D log s²), is a
constant because ‖z‖² = D for every code (models/autoencoder.py; the stabiliser of its norm makes
some a little shorter, which costs less). So all that is learnt is to read the image from a code
that was shaken. s says how far a code may be off, and the decoder learns to bear as much;
diffusion's own errors are of that kind. s = 0 is a plain autoencoder: nothing bounds how finely it
writes, kl would be infinite and is left out.

Adjoint. The shaking is added, so a gradient passes it unchanged; kl has none:

    dz = du = (∂decode/∂u)ᵀ (∂recon/∂decode)ᵀ dloss                                    (AO.4)
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.models.autoencoder import Autoencoder
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads


@dataclass(frozen=True)
class Autoencoding:
    """−ELBO of an autoencoder; std is s. Raises ValueError unless var > 0 and std ≥ 0."""

    model: Autoencoder
    std: float = 0.1
    var: float = 0.01  # of the Gaussian likelihood
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.var > 0 or self.std < 0:
            raise ValueError(f"var > 0 and std ≥ 0, not {self.var} and {self.std}")

    @property
    def kl(self) -> float:
        """The price of a code in nats, the same for all; 0 for a plain autoencoder."""
        if self.std == 0:
            return 0.0
        var = self.std**2
        return 0.5 * math.prod(self.model.code) * (var - math.log(var))  # (AO.3)

    def forward(self, params: Any, x: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "recon", "kl"}, cache), each (N,) in nats."""
        z, encoder_cache = self.model.encoder.forward(params["encoder"], x)
        one = np.ones_like(x, shape=(x.shape[0],))
        u, _ = self.ops.noising_drawn(z, one, self.std * one, noise.stream)  # (AO.1)
        decoded, decoder_cache = self.model.decoder.forward(params["decoder"], u)
        flat = np.reshape(decoded, (len(x), -1))
        logvar = np.full_like(flat[0], math.log(self.var))
        recon, recon_cache = reference.gaussian_nll_forward(
            np.reshape(x, flat.shape), flat, logvar
        )  # (AO.2)
        kl = np.full_like(recon, self.kl)
        cache = (encoder_cache, decoder_cache, recon_cache, decoded.shape)
        return {"loss": recon + kl, "recon": recon, "kl": kl}, cache

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, {"encoder", "decoder"}."""
        encoder_cache, decoder_cache, recon_cache, shape = cache
        _, ddecoded, _ = reference.gaussian_nll_backward(dloss, recon_cache)
        du, of_decoder = self.model.decoder.backward(np.reshape(ddecoded, shape), decoder_cache)
        _, of_encoder = self.model.encoder.backward(du, encoder_cache)  # (AO.4)
        return {"encoder": of_encoder, "decoder": of_decoder}
