"""Binds the page of diagonal Gaussians to gaussian.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import gaussian as page
from refgen_kernels.device.sums import THREADS, TILE

CU = Source(__name__, THREADS=THREADS, TILE=TILE)
reparameterize_forward = CU.twin(page.reparameterize_forward)
reparameterize_kl_forward = CU.twin(page.reparameterize_kl_forward)
reparameterize_kl_drawn = CU.twin(page.reparameterize_kl_drawn)
reparameterize_kl_backward = CU.twin(page.reparameterize_kl_backward)
