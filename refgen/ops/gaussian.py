r"""Diagonal Gaussians: draw by reparameterisation, and KL to the standard normal.

Shapes     N batch, D latent.   mu, logvar, noise, z, dz : (N, D)    kl, dkl : (N,), in nats
Sources    kingma2014-vae  section 2.4 (the draw), appendix B (the KL)

    σ = exp(½ logvar)                                             (G.1)
    z = μ + σ ε,   ε ~ N(0, I)                                    (G.2)
    KL[N(μ, σ²) ‖ N(0, I)] = ½ Σ_d (μ² + σ² − 1 − logvar)         (G.3)

Adjoints. z is affine in μ and in ε and exponential in ½ logvar; each term of the KL touches
one coordinate. Where draw and KL are both wanted, their gradients add.

    ∂z/∂μ = 1,     ∂z/∂logvar = ½ σ ε,     ∂z/∂ε = σ              (G.4)
    ∂KL/∂μ = μ,    ∂KL/∂logvar = ½ (σ² − 1)                       (G.5)
"""

from typing import NamedTuple

import numpy as np

from refgen.noise import Stream, normals_like
from refgen.typing import Array


class ReparameterizeCache(NamedTuple):
    """What backward needs."""

    std: Array  # (N, D)  σ
    displacement: Array  # (N, D)  σ ε: how far each draw moved from its mean


def reparameterize_forward(
    mu: Array, logvar: Array, noise: Array
) -> tuple[Array, ReparameterizeCache]:
    """Return z = μ + σ ε. The noise is an argument: ops draw nothing.

    >>> z, _ = reparameterize_forward(np.array([[1.0]]), np.log([[4.0]]), np.array([[-1.0]]))
    >>> float(z[0, 0])  # variance 4, so one standard deviation below the mean is 1 - 2
    -1.0
    """
    std = np.exp(0.5 * logvar)  # (G.1)
    displacement = std * noise
    return mu + displacement, ReparameterizeCache(std, displacement)  # (G.2)


def reparameterize_backward(dz: Array, cache: ReparameterizeCache) -> tuple[Array, Array, Array]:
    """Return (dmu, dlogvar, dnoise)."""
    return dz, dz * 0.5 * cache.displacement, dz * cache.std  # (G.4)


class GaussianKLCache(NamedTuple):
    """What backward needs; forward has already paid for the exponential."""

    mu: Array  # (N, D)
    var: Array  # (N, D)  σ²


def gaussian_kl_forward(mu: Array, logvar: Array) -> tuple[Array, GaussianKLCache]:
    """Return KL[N(μ, σ²) ‖ N(0, I)] of each sample, in nats.

    >>> kl, _ = gaussian_kl_forward(np.array([[3.0, 0.0]]), np.zeros((1, 2)))
    >>> float(kl[0])  # two unit Gaussians three apart: 3²/2
    4.5
    """
    var = np.exp(logvar)
    kl = 0.5 * np.sum(mu * mu + var - 1.0 - logvar, axis=1)  # (G.3)
    return kl, GaussianKLCache(mu, var)


def gaussian_kl_backward(dkl: Array, cache: GaussianKLCache) -> tuple[Array, Array]:
    """Return (dmu, dlogvar)."""
    dkl = dkl[:, None]  # (N, 1): one KL per sample, shared by its D terms
    return dkl * cache.mu, dkl * 0.5 * (cache.var - 1.0)  # (G.5)


class ReparameterizeKLCache(NamedTuple):
    """What backward needs when the draw and the KL are taken in one pass."""

    mu: Array  # (N, D)
    displacement: Array  # (N, D)  σ ε
    var: Array  # (N, D)  σ²


def reparameterize_kl_forward(
    mu: Array, logvar: Array, noise: Array
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """Return (z, kl, cache): the encoder's draw and its price, in one pass."""
    z, draw = reparameterize_forward(mu, logvar, noise)
    kl, cost = gaussian_kl_forward(mu, logvar)
    return z, kl, ReparameterizeKLCache(mu, draw.displacement, cost.var)


def reparameterize_kl_backward(
    dz: Array, dkl: Array, cache: ReparameterizeKLCache
) -> tuple[Array, Array]:
    """Return (dmu, dlogvar): what came through the draw plus what the KL adds."""
    mu, displacement, var = cache
    dmu_kl, dlogvar_kl = gaussian_kl_backward(dkl, GaussianKLCache(mu, var))
    return dz + dmu_kl, 0.5 * dz * displacement + dlogvar_kl  # (G.4) + (G.5)


def reparameterize_kl_drawn(
    mu: Array, logvar: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array, ReparameterizeKLCache]:
    """Return reparameterize_kl_forward with the noise of a stream."""
    noise = normals_like(mu, stream, start)
    return reparameterize_kl_forward(mu, logvar, noise)
