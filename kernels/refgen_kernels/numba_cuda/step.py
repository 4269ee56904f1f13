"""Sampler steps: their kernels are sums of arrays. Mirrors refgen/ops/step.py."""

from refgen_kernels.device import step as page
from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.linear import add_sums

CU = Kernels(__name__)
add_sums(CU)
ddpm_step_forward = CU.twin(page.ddpm_step_forward)
ddpm_step_drawn = CU.twin(page.ddpm_step_drawn)
ddim_step_forward = CU.twin(page.ddim_step_forward)
ddim_step_drawn = CU.twin(page.ddim_step_drawn)
guided_ddpm_step_forward = CU.twin(page.guided_ddpm_step_forward)
guided_ddpm_step_drawn = CU.twin(page.guided_ddpm_step_drawn)
guided_ddim_step_forward = CU.twin(page.guided_ddim_step_forward)
guided_ddim_step_drawn = CU.twin(page.guided_ddim_step_drawn)
