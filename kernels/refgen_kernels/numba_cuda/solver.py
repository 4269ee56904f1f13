"""Solver steps: their kernels are sums of arrays. Mirrors refgen/ops/solver.py."""

from refgen_kernels.device import solver as page
from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.linear import add_sums

CU = Kernels(__name__)
add_sums(CU)
euler_step_forward = CU.twin(page.euler_step_forward)
heun_step_forward = CU.twin(page.heun_step_forward)
langevin_step_forward = CU.twin(page.langevin_step_forward)
langevin_step_drawn = CU.twin(page.langevin_step_drawn)
