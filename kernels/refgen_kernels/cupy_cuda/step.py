"""Binds the page of step to step.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import step as page

CU = Source(__name__)
ddpm_step_forward = CU.twin(page.ddpm_step_forward)
ddpm_step_drawn = CU.twin(page.ddpm_step_drawn)
ddim_step_forward = CU.twin(page.ddim_step_forward)
ddim_step_drawn = CU.twin(page.ddim_step_drawn)
guided_ddpm_step_forward = CU.twin(page.guided_ddpm_step_forward)
guided_ddpm_step_drawn = CU.twin(page.guided_ddpm_step_drawn)
guided_ddim_step_forward = CU.twin(page.guided_ddim_step_forward)
guided_ddim_step_drawn = CU.twin(page.guided_ddim_step_drawn)
