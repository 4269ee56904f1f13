r"""One step of a diffusion sampler, from noise level t down to s < t.

Shapes     N batch, S any axes.   x, noise_hat, noise_hat_null, noise, their gradients : (N, *S)
           α, ᾱ = ᾱ_t, ᾱ_s, σ : floats of this step, alpha, alpha_bar, alpha_bar_next, sigma
           γ : a float, guidance
Sources    ho2020-ddpm  algorithm 2;  song2021-ddim  eq. 12;  ho2022-cfg  eq. 6

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

Guided by a label. The network answers twice, with the label ε̂ and without it ε̂_∅, and either
step is taken along

    ε̃ = ε̂_∅ + γ (ε̂ − ε̂_∅)                                       (ST.5)

γ = 0 forgets the label, γ = 1 believes the network, γ > 1 exaggerates what the label changes.
The paper counts from 1: its w is γ − 1. Put into a step, q ε̃ has a part for each answer:

    x' = p x + q γ ε̂ + q (1 − γ) ε̂_∅ + σ z                        (ST.6)

and so have the gradients; dx and dz are those of (ST.4).

    dε̂ = q γ dx',   dε̂_∅ = q (1 − γ) dx'                          (ST.7)
"""

import math
import sys
from typing import NamedTuple

from refgen.noise import Stream, normals_like
from refgen.typing import Array

ROUNDING = 4 * sys.float_info.epsilon  # of a variance that was a product of quotients and roots


class StepCache(NamedTuple):
    """The three coefficients of a linear step."""

    of_x: float  # p
    of_noise_hat: float  # q
    sigma: float


class GuidedStepCache(NamedTuple):
    """The four coefficients of a guided step."""

    of_x: float  # p
    of_noise_hat: float  # q γ
    of_noise_hat_null: float  # q (1 − γ)
    sigma: float


def ddpm_coefficients(alpha: float, alpha_bar: float, sigma: float) -> StepCache:
    """Return what the ancestral step multiplies x, ε̂ and z by."""
    p, q = 1 / math.sqrt(alpha), -(1 - alpha) / math.sqrt(alpha * (1 - alpha_bar))
    return StepCache(p, q, sigma)  # (ST.1)


def ddim_coefficients(alpha_bar: float, alpha_bar_next: float, sigma: float) -> StepCache:
    """Return what the DDIM step multiplies x, ε̂ and z by.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
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
    return StepCache(p, q, sigma)  # (ST.3)


def guide(step: StepCache, guidance: float) -> GuidedStepCache:
    """Return the coefficients of the same step along both answers."""
    p, q, sigma = step
    return GuidedStepCache(p, q * guidance, q * (1 - guidance), sigma)  # (ST.5) put into the step


def ddpm_step_forward(
    x: Array, noise_hat: Array, noise: Array, *, alpha: float, alpha_bar: float, sigma: float
) -> tuple[Array, StepCache]:
    """Return the ancestral step's x'. At the last step sigma is 0."""
    cache = ddpm_coefficients(alpha, alpha_bar, sigma)
    return _step(x, noise_hat, noise, cache), cache  # (ST.1)


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

    >>> import numpy as np
    >>> data, noise = np.array([[2.0]]), np.array([[1.0]])
    >>> x = 0.6 * data + 0.8 * noise
    >>> ddim_step_forward(x, noise, noise, alpha_bar=0.36, alpha_bar_next=1.0, sigma=0.0)[0]
    array([[2.]])
    """
    cache = ddim_coefficients(alpha_bar, alpha_bar_next, sigma)
    return _step(x, noise_hat, noise, cache), cache  # (ST.3)


def guided_ddpm_step_forward(
    x: Array,
    noise_hat: Array,
    noise_hat_null: Array,
    noise: Array,
    *,
    guidance: float,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> tuple[Array, GuidedStepCache]:
    """Return the ancestral step's x' along ε̃. At the last step sigma is 0."""
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return _guided_step(x, noise_hat, noise_hat_null, noise, cache), cache


def guided_ddim_step_forward(
    x: Array,
    noise_hat: Array,
    noise_hat_null: Array,
    noise: Array,
    *,
    guidance: float,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> tuple[Array, GuidedStepCache]:
    """Return the DDIM step's x' along ε̃; sigma = 0 makes it deterministic.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.

    >>> import numpy as np
    >>> data, noise, null = np.array([[2.0]]), np.array([[1.0]]), np.array([[0.5]])
    >>> x = 0.6 * data + 0.8 * (null + 3 * (noise - null))
    >>> levels = {"alpha_bar": 0.36, "alpha_bar_next": 1.0, "sigma": 0.0}
    >>> guided_ddim_step_forward(x, noise, null, noise, guidance=3.0, **levels)[0]
    array([[2.]])
    """
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return _guided_step(x, noise_hat, noise_hat_null, noise, cache), cache


def ddpm_step_backward(dx_next: Array, cache: StepCache) -> tuple[Array, Array, Array]:
    """Return (dx, dnoise_hat, dnoise)."""
    p, q, sigma = cache
    return p * dx_next, q * dx_next, sigma * dx_next  # (ST.4)


ddim_step_backward = ddpm_step_backward  # the same adjoint with its own coefficients


def guided_ddpm_step_backward(
    dx_next: Array, cache: GuidedStepCache
) -> tuple[Array, Array, Array, Array]:
    """Return (dx, dnoise_hat, dnoise_hat_null, dnoise)."""
    p, q, q_null, sigma = cache
    return p * dx_next, q * dx_next, q_null * dx_next, sigma * dx_next  # (ST.4), (ST.7)


guided_ddim_step_backward = guided_ddpm_step_backward


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
    noise = normals_like(x, stream, start)
    return _step(x, noise_hat, noise, ddpm_coefficients(alpha, alpha_bar, sigma))


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
    noise = normals_like(x, stream, start)
    return _step(x, noise_hat, noise, ddim_coefficients(alpha_bar, alpha_bar_next, sigma))


def guided_ddpm_step_drawn(
    x: Array,
    noise_hat: Array,
    noise_hat_null: Array,
    stream: Stream,
    start: int = 0,
    *,
    guidance: float,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> Array:
    """Return the guided ancestral step's x' with the noise of a stream."""
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return _guided_step(x, noise_hat, noise_hat_null, normals_like(x, stream, start), cache)


def guided_ddim_step_drawn(
    x: Array,
    noise_hat: Array,
    noise_hat_null: Array,
    stream: Stream,
    start: int = 0,
    *,
    guidance: float,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> Array:
    """Return the guided DDIM step's x' with the noise of a stream."""
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return _guided_step(x, noise_hat, noise_hat_null, normals_like(x, stream, start), cache)


def _step(x: Array, noise_hat: Array, noise: Array, cache: StepCache) -> Array:
    p, q, sigma = cache
    return p * x + q * noise_hat + sigma * noise


def _guided_step(
    x: Array, noise_hat: Array, noise_hat_null: Array, noise: Array, cache: GuidedStepCache
) -> Array:
    p, q, q_null, sigma = cache
    return p * x + q * noise_hat + q_null * noise_hat_null + sigma * noise  # (ST.6)
