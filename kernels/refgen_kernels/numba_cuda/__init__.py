"""Numba CUDA twins: the same kernels as in CUDA C++, written in Python."""

from refgen_kernels.device import status as status
from refgen_kernels.device.home import fetch, put
from refgen_kernels.numba_cuda.activation import (
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
)
from refgen_kernels.numba_cuda.adam import adam_ema_step
from refgen_kernels.numba_cuda.attention import attention_backward, attention_forward
from refgen_kernels.numba_cuda.batch_norm import batch_norm_backward, batch_norm_forward
from refgen_kernels.numba_cuda.conv import (
    conv2d_backward,
    conv2d_forward,
    conv_transpose2d_backward,
    conv_transpose2d_forward,
)
from refgen_kernels.numba_cuda.coupling import (
    affine_coupling_backward,
    affine_coupling_forward,
    affine_coupling_inverse,
)
from refgen_kernels.numba_cuda.dense import dense_backward, dense_forward
from refgen_kernels.numba_cuda.dense_act import dense_act_backward, dense_act_forward
from refgen_kernels.numba_cuda.fused import (
    group_norm_film_silu_backward,
    group_norm_film_silu_forward,
    group_norm_silu_backward,
    group_norm_silu_forward,
)
from refgen_kernels.numba_cuda.gaussian import (
    reparameterize_forward,
    reparameterize_kl_backward,
    reparameterize_kl_drawn,
    reparameterize_kl_forward,
)
from refgen_kernels.numba_cuda.join import (
    add,
    concat_backward,
    concat_forward,
    shift_backward,
    shift_forward,
)
from refgen_kernels.numba_cuda.likelihood import (
    bernoulli_nll_backward,
    bernoulli_nll_forward,
    squared_error_backward,
    squared_error_forward,
)
from refgen_kernels.numba_cuda.noise import normals, words
from refgen_kernels.numba_cuda.noising import noising_drawn, noising_forward
from refgen_kernels.numba_cuda.normalization import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from refgen_kernels.numba_cuda.solver import (
    euler_step_forward,
    heun_step_forward,
    langevin_step_drawn,
    langevin_step_forward,
)
from refgen_kernels.numba_cuda.step import (
    ddim_step_drawn,
    ddim_step_forward,
    ddpm_step_drawn,
    ddpm_step_forward,
    guided_ddim_step_drawn,
    guided_ddim_step_forward,
    guided_ddpm_step_drawn,
    guided_ddpm_step_forward,
)
from refgen_kernels.numba_cuda.upsample_conv import (
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
    "fetch",
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
    "put",
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
    "words",
]
