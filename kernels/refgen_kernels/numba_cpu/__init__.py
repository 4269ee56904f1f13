"""Numba twins for CPUs: explicit vectors, fixed chunks, every core.

Neither the instruction set nor the number of threads changes a bit of any result.
"""

from refgen_kernels.numba_cpu import build
from refgen_kernels.numba_cpu.adam import adam_ema_step
from refgen_kernels.numba_cpu.gaussian import (
    reparameterize_forward,
    reparameterize_kl_backward,
    reparameterize_kl_drawn,
    reparameterize_kl_forward,
)
from refgen_kernels.numba_cpu.noise import normals
from refgen_kernels.numba_cpu.noising import noising_drawn, noising_forward
from refgen_kernels.numba_cpu.solver import (
    euler_step_forward,
    heun_step_forward,
    langevin_step_drawn,
    langevin_step_forward,
)
from refgen_kernels.numba_cpu.step import (
    ddim_step_drawn,
    ddim_step_forward,
    ddpm_step_drawn,
    ddpm_step_forward,
    guided_ddim_step_drawn,
    guided_ddim_step_forward,
    guided_ddpm_step_drawn,
    guided_ddpm_step_forward,
)

__all__ = [
    "adam_ema_step",
    "ddim_step_drawn",
    "ddim_step_forward",
    "ddpm_step_drawn",
    "ddpm_step_forward",
    "euler_step_forward",
    "guided_ddim_step_drawn",
    "guided_ddim_step_forward",
    "guided_ddpm_step_drawn",
    "guided_ddpm_step_forward",
    "heun_step_forward",
    "langevin_step_drawn",
    "langevin_step_forward",
    "noising_drawn",
    "noising_forward",
    "normals",
    "reparameterize_forward",
    "reparameterize_kl_backward",
    "reparameterize_kl_drawn",
    "reparameterize_kl_forward",
]


def status() -> str:
    """Return "ok": whoever could import this can run it, on any CPU."""
    return "ok"


def warm() -> bool:
    """Whether kernels have been compiled before, for this target and these sources."""
    return any(build.CACHE.rglob("*.nbi"))
