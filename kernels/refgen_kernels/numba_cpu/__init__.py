"""Numba twins for CPUs: explicit vectors, fixed chunks, every core.

The number of threads changes no bit of any result. Nor does the instruction set, except where a
product and its sum are rounded once on CPUs that can: in products of
matrices, normalizations, SiLU and attention.
"""

from refgen_kernels.numba_cpu import arrays, build, threads
from refgen_kernels.numba_cpu.activation import (
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
)
from refgen_kernels.numba_cpu.adam import adam_ema_step
from refgen_kernels.numba_cpu.attention import (
    attention_backward,
    attention_forward,
)
from refgen_kernels.numba_cpu.batch_norm import batch_norm_backward, batch_norm_forward
from refgen_kernels.numba_cpu.conv import (
    conv2d_backward,
    conv2d_forward,
    conv_transpose2d_backward,
    conv_transpose2d_forward,
)
from refgen_kernels.numba_cpu.coupling import (
    affine_coupling_backward,
    affine_coupling_forward,
    affine_coupling_inverse,
)
from refgen_kernels.numba_cpu.dense import (
    dense_backward,
    dense_forward,
)
from refgen_kernels.numba_cpu.dense_act import (
    dense_act_backward,
    dense_act_forward,
)
from refgen_kernels.numba_cpu.fused import (
    group_norm_film_silu_backward,
    group_norm_film_silu_forward,
    group_norm_silu_backward,
    group_norm_silu_forward,
)
from refgen_kernels.numba_cpu.gaussian import (
    reparameterize_forward,
    reparameterize_kl_backward,
    reparameterize_kl_drawn,
    reparameterize_kl_forward,
)
from refgen_kernels.numba_cpu.join import (
    add,
    concat_backward,
    concat_forward,
    shift_backward,
    shift_forward,
)
from refgen_kernels.numba_cpu.likelihood import (
    bernoulli_nll_backward,
    bernoulli_nll_forward,
    squared_error_backward,
    squared_error_forward,
)
from refgen_kernels.numba_cpu.noise import normals
from refgen_kernels.numba_cpu.noising import noising_drawn, noising_forward
from refgen_kernels.numba_cpu.normalization import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
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
from refgen_kernels.numba_cpu.upsample_conv import (
    upsample_conv2d_backward,
    upsample_conv2d_forward,
)

__all__ = [
    "adam_ema_step",
    "add",
    "affine_coupling_backward",
    "affine_coupling_forward",
    "affine_coupling_inverse",
    "attention_backward",
    "attention_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "bernoulli_nll_backward",
    "bernoulli_nll_forward",
    "concat_backward",
    "concat_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_transpose2d_backward",
    "conv_transpose2d_forward",
    "ddim_step_drawn",
    "ddim_step_forward",
    "ddpm_step_drawn",
    "ddpm_step_forward",
    "dense_act_backward",
    "dense_act_forward",
    "dense_backward",
    "dense_forward",
    "euler_step_forward",
    "group_norm_backward",
    "group_norm_film_silu_backward",
    "group_norm_film_silu_forward",
    "group_norm_forward",
    "group_norm_silu_backward",
    "group_norm_silu_forward",
    "guided_ddim_step_drawn",
    "guided_ddim_step_forward",
    "guided_ddpm_step_drawn",
    "guided_ddpm_step_forward",
    "heun_step_forward",
    "langevin_step_drawn",
    "langevin_step_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "noising_drawn",
    "noising_forward",
    "normals",
    "relu_backward",
    "relu_forward",
    "reparameterize_forward",
    "reparameterize_kl_backward",
    "reparameterize_kl_drawn",
    "reparameterize_kl_forward",
    "shift_backward",
    "shift_forward",
    "silu_backward",
    "silu_forward",
    "squared_error_backward",
    "squared_error_forward",
    "upsample_conv2d_backward",
    "upsample_conv2d_forward",
]


def status() -> str:
    """Return "ok": whoever could import this can run it, on any CPU."""
    return "ok"


def hold_blas() -> int:
    """Let NumPy's BLAS keep to one thread; return 0 where it cannot be told (see threads.py)."""
    return threads.hold_blas()


def peak() -> int:
    """Return how many bytes of results and scratch memory were in use together, at most."""
    return arrays.memory.peak


def warm() -> bool:
    """Whether kernels have been compiled before, for this target and these sources."""
    return any(build.CACHE.rglob("*.nbi"))
