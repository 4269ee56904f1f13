"""Binds the page of dense to the kernels of products."""

from refgen_kernels.cupy_cuda import products
from refgen_kernels.device import dense as page

KERNELS = products.CU.of(__name__)
dense_forward = KERNELS.twin(page.dense_forward)
dense_backward = KERNELS.twin(page.dense_backward)
