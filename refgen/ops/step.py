r"""One step of a diffusion sampler, from noise level t down to s < t.

Shapes     N batch, S any axes.   x, noise_hat, noise and their gradients : (N, *S)
           α, ᾱ = ᾱ_t, ᾱ_s, σ : floats of this step, alpha, alpha_bar, alpha_bar_next, sigma
Sources    ho2020-ddpm  algorithm 2;  song2021-ddim  eq. 12

ε̂ is the network's noise for x, z a fresh draw. The ancestral step moves to the mean of the
reverse Gaussian and adds its noise (ᾱ stands under the inner root only; α = ᾱ_t / ᾱ_s is
the signal kept between the two levels, which is α_t when s = t − 1):

    x' = (x − (1 − α) / √(1 − ᾱ) ε̂) / √α + σ z                   (ST.1)

DDIM estimates the data, then goes back up to level s along the same noise:

    x̂ = (x − √(1 − ᾱ) ε̂) / √ᾱ                                    (ST.2)
    x' = √ᾱ_s x̂ + √(1 − ᾱ_s − σ²) ε̂ + σ z                        (ST.3)

Adjoints. Both steps are linear in (x, ε̂, z) with numbers for coefficients: x' = p x + q ε̂ + σ z,
so each gradient is dx' times its coefficient.

    dx = p dx',   dε̂ = q dx',   dz = σ dx'                        (ST.4)
"""

import math
import sys
from typing import NamedTuple

import numpy as np

from refgen.noise import Stream, normals
from refgen.typing import Array

ROUNDING = 4 * sys.float_info.epsilon  # of a variance that was a product of quotients and roots


class StepCache(NamedTuple):
    """The three coefficients of a linear step."""

    of_x: float  # p
    of_noise_hat: float  # q
    sigma: float


def ddpm_step_forward(
    x: Array, noise_hat: Array, noise: Array, *, alpha: float, alpha_bar: float, sigma: float
) -> tuple[Array, StepCache]:
    """Return the ancestral step's x'. At the last step sigma is 0."""
    p, q = 1 / math.sqrt(alpha), -(1 - alpha) / math.sqrt(alpha * (1 - alpha_bar))
    return p * x + q * noise_hat + sigma * noise, StepCache(p, q, sigma)  # (ST.1)


def ddim_step_forward(
    x: Array,
    noise_hat: Array,
    noise: Array,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> tuple[Array, StepCache]:
    """Return the DDIM step's x'; sigma = 0 makes it deterministic.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.

    >>> data, noise = np.array([[2.0]]), np.array([[1.0]])
    >>> x = 0.6 * data + 0.8 * noise
    >>> ddim_step_forward(x, noise, noise, alpha_bar=0.36, alpha_bar_next=1.0, sigma=0.0)[0]
    array([[2.]])
    """
    level, var = 1 - alpha_bar_next, sigma * sigma
    if var > level * (1 + ROUNDING):
        raise ValueError(
            f"ddim_step: sigma² = {var:.6g} exceeds 1 − ᾱ_next = {level:.6g}; "
            "lower eta to at most 1"
        )
    direction = max(level - var, 0.0)  # from pure noise at η = 1 rounding alone decides its sign
    p = math.sqrt(alpha_bar_next / alpha_bar)  # (ST.2) put into (ST.3): x enters through x̂ only
    q = math.sqrt(direction) - p * math.sqrt(1 - alpha_bar)
    return p * x + q * noise_hat + sigma * noise, StepCache(p, q, sigma)  # (ST.3)


def ddpm_step_backward(dx_next: Array, cache: StepCache) -> tuple[Array, Array, Array]:
    """Return (dx, dnoise_hat, dnoise)."""
    p, q, sigma = cache
    return p * dx_next, q * dx_next, sigma * dx_next  # (ST.4)


ddim_step_backward = ddpm_step_backward  # the same adjoint with its own coefficients


def ddpm_step_drawn(
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> Array:
    """Return the ancestral step's x' with the noise of a stream."""
    noise = np.reshape(normals(stream, start, x.size), x.shape).astype(x.dtype)
    return ddpm_step_forward(x, noise_hat, noise, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma)[0]


def ddim_step_drawn(
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> Array:
    """Return the DDIM step's x' with the noise of a stream."""
    noise = np.reshape(normals(stream, start, x.size), x.shape).astype(x.dtype)
    return ddim_step_forward(
        x, noise_hat, noise, alpha_bar=alpha_bar, alpha_bar_next=alpha_bar_next, sigma=sigma
    )[0]
