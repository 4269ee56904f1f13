"""Binds the page of dense_act to the kernels of products."""

from refgen_kernels.device import dense_act as page
from refgen_kernels.numba_cuda import products

KERNELS = products.CU.of(__name__)
dense_act_forward = KERNELS.twin(page.dense_act_forward)
dense_act_backward = KERNELS.twin(page.dense_act_backward)
