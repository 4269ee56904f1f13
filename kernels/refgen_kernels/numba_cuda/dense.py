"""Binds the page of dense to the kernels of products."""

from refgen_kernels.device import dense as page
from refgen_kernels.numba_cuda import products

KERNELS = products.CU.of(__name__)
dense_forward = KERNELS.twin(page.dense_forward)
dense_backward = KERNELS.twin(page.dense_backward)
