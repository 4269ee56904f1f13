"""Binds the page of dense_act to the kernels of products."""

from refgen_kernels.cupy_cuda import products
from refgen_kernels.device import dense_act as page

KERNELS = products.CU.of(__name__)
dense_act_forward = KERNELS.twin(page.dense_act_forward)
dense_act_backward = KERNELS.twin(page.dense_act_backward)
