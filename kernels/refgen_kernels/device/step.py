"""Sampler steps on the device. Mirrors refgen/ops/step.py.

Every step is p x + q ε̂ + σ z, with one array more where it is guided: see `linear`. The page gives
the coefficients, and refuses those that no step has. At σ = 0 nothing is drawn.
"""

from refgen.noise import Stream
from refgen.ops.step import (
    GuidedStepCache,
    StepCache,
    ddim_coefficients,
    ddpm_coefficients,
    guide,
)
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.linear import combine, combine_drawn


def ddpm_step_forward(
    cu: Launcher,
    x: Array,
    noise_hat: Array,
    noise: Array,
    *,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> tuple[Array, StepCache]:
    """Device twin of refgen.ops.ddpm_step_forward."""
    cache = ddpm_coefficients(alpha, alpha_bar, sigma)
    return combine(cu, (x, noise_hat, noise), cache), cache  # (ST.1)


def ddpm_step_drawn(
    cu: Launcher,
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha: float,
    alpha_bar: float,
    sigma: float,
) -> Array:
    """Device twin of refgen.ops.ddpm_step_drawn."""
    cache = ddpm_coefficients(alpha, alpha_bar, sigma)
    return combine_drawn(cu, (x, noise_hat), cache, stream, start)  # (ST.1)


def ddim_step_forward(
    cu: Launcher,
    x: Array,
    noise_hat: Array,
    noise: Array,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> tuple[Array, StepCache]:
    """Device twin of refgen.ops.ddim_step_forward."""
    cache = ddim_coefficients(alpha_bar, alpha_bar_next, sigma)
    return combine(cu, (x, noise_hat, noise), cache), cache  # (ST.3)


def ddim_step_drawn(
    cu: Launcher,
    x: Array,
    noise_hat: Array,
    stream: Stream,
    start: int = 0,
    *,
    alpha_bar: float,
    alpha_bar_next: float,
    sigma: float,
) -> Array:
    """Device twin of refgen.ops.ddim_step_drawn."""
    cache = ddim_coefficients(alpha_bar, alpha_bar_next, sigma)
    return combine_drawn(cu, (x, noise_hat), cache, stream, start)  # (ST.3)


def guided_ddpm_step_forward(
    cu: Launcher,
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
    """Device twin of refgen.ops.guided_ddpm_step_forward."""
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return combine(cu, (x, noise_hat, noise_hat_null, noise), cache), cache  # (ST.6)


def guided_ddpm_step_drawn(
    cu: Launcher,
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
    """Device twin of refgen.ops.guided_ddpm_step_drawn."""
    cache = guide(ddpm_coefficients(alpha, alpha_bar, sigma), guidance)
    return combine_drawn(cu, (x, noise_hat, noise_hat_null), cache, stream, start)  # (ST.6)


def guided_ddim_step_forward(
    cu: Launcher,
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
    """Device twin of refgen.ops.guided_ddim_step_forward."""
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return combine(cu, (x, noise_hat, noise_hat_null, noise), cache), cache  # (ST.6)


def guided_ddim_step_drawn(
    cu: Launcher,
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
    """Device twin of refgen.ops.guided_ddim_step_drawn."""
    cache = guide(ddim_coefficients(alpha_bar, alpha_bar_next, sigma), guidance)
    return combine_drawn(cu, (x, noise_hat, noise_hat_null), cache, stream, start)  # (ST.6)
