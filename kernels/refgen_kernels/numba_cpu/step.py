"""Sampler steps, one pass over memory. Mirrors the page of its name, bit for bit.

Every step is p x + q ε̂ + σ z, with one array more where it is guided: the loops are those of
`linear`. At σ = 0 nothing is drawn.
"""

from refgen.noise import Stream
from refgen.ops import step as page
from refgen.ops.step import (
    GuidedStepCache,
    StepCache,
    ddim_coefficients,
    ddpm_coefficients,
    guide,
)
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import suits
from refgen_kernels.numba_cpu.linear import combine, combine_drawn
from refgen_kernels.numba_cpu.noise import reachable


def ddpm_step_forward(
    x: Array, noise_hat: Array, noise: Array, *, alpha: float, alpha_bar: float, sigma: float
) -> tuple[Array, StepCache]:
    """CPU twin of refgen.ops.ddpm_step_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, noise_hat, noise):
        return page.ddpm_step_forward(
            x, noise_hat, noise, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )
    cache = ddpm_coefficients(alpha, alpha_bar, sigma)
    return combine((x, noise_hat, noise), cache), cache  # (ST.1)


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
    """CPU twin of refgen.ops.ddpm_step_drawn; arrays that are not float32 go to that page."""
    if not (suits(x.shape, x, noise_hat) and reachable(start, x.size)):
        return page.ddpm_step_drawn(
            x, noise_hat, stream, start, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
        )
    cache = ddpm_coefficients(alpha, alpha_bar, sigma)
    return combine_drawn((x, noise_hat), cache, stream, start)  # (ST.1)


def ddim_step_forward(
    x: Array,
    noise_hat: Array,
    noise: Array,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> tuple[Array, StepCache]:
    """CPU twin of refgen.ops.ddim_step_forward; arrays that are not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not suits(x.shape, x, noise_hat, noise):
        return page.ddim_step_forward(
            x,
            noise_hat,
            noise,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    cache = ddim_coefficients(alpha_bar, alpha_bar_next, sigma)
    return combine((x, noise_hat, noise), cache), cache  # (ST.3)


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
    """CPU twin of refgen.ops.ddim_step_drawn; arrays that are not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not (suits(x.shape, x, noise_hat) and reachable(start, x.size)):
        return page.ddim_step_drawn(
            x,
            noise_hat,
            stream,
            start,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    cache = ddim_coefficients(alpha_bar, alpha_bar_next, sigma)
    return combine_drawn((x, noise_hat), cache, stream, start)  # (ST.3)


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
    """CPU twin of refgen.ops.guided_ddpm_step_forward; arrays not float32 go to that page."""
    if not suits(x.shape, x, noise_hat, noise_hat_null, noise):
        return page.guided_ddpm_step_forward(
            x,
            noise_hat,
            noise_hat_null,
            noise,
            guidance=guidance,
            alpha=alpha,
            alpha_bar=alpha_bar,
            sigma=sigma,
        )
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return combine((x, noise_hat, noise_hat_null, noise), cache), cache  # (ST.6)


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
    """CPU twin of refgen.ops.guided_ddpm_step_drawn; arrays not float32 go to that page."""
    if not (suits(x.shape, x, noise_hat, noise_hat_null) and reachable(start, x.size)):
        return page.guided_ddpm_step_drawn(
            x,
            noise_hat,
            noise_hat_null,
            stream,
            start,
            guidance=guidance,
            alpha=alpha,
            alpha_bar=alpha_bar,
            sigma=sigma,
        )
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return combine_drawn((x, noise_hat, noise_hat_null), cache, stream, start)  # (ST.6)


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
    """CPU twin of refgen.ops.guided_ddim_step_forward; arrays not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not suits(x.shape, x, noise_hat, noise_hat_null, noise):
        return page.guided_ddim_step_forward(
            x,
            noise_hat,
            noise_hat_null,
            noise,
            guidance=guidance,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return combine((x, noise_hat, noise_hat_null, noise), cache), cache  # (ST.6)


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
    """CPU twin of refgen.ops.guided_ddim_step_drawn; arrays not float32 go to that page.

    Raises ValueError where sigma² exceeds the variance 1 − ᾱ_s of the level it goes to.
    """
    if not (suits(x.shape, x, noise_hat, noise_hat_null) and reachable(start, x.size)):
        return page.guided_ddim_step_drawn(
            x,
            noise_hat,
            noise_hat_null,
            stream,
            start,
            guidance=guidance,
            alpha_bar=alpha_bar,
            alpha_bar_next=alpha_bar_next,
            sigma=sigma,
        )
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return combine_drawn((x, noise_hat, noise_hat_null), cache, stream, start)  # (ST.6)
