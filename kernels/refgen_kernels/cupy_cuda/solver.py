"""Binds the page of solver to solver.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import solver as page

CU = Source(__name__)
euler_step_forward = CU.twin(page.euler_step_forward)
heun_step_forward = CU.twin(page.heun_step_forward)
langevin_step_forward = CU.twin(page.langevin_step_forward)
langevin_step_drawn = CU.twin(page.langevin_step_drawn)
