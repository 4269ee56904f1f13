"""Binds the page of conv to the kernels of products."""

from refgen_kernels.cupy_cuda import products
from refgen_kernels.device import conv as page

KERNELS = products.CU.of(__name__)
conv2d_forward = KERNELS.twin(page.conv2d_forward)
conv2d_backward = KERNELS.twin(page.conv2d_backward)
conv_transpose2d_forward = KERNELS.twin(page.conv_transpose2d_forward)
conv_transpose2d_backward = KERNELS.twin(page.conv_transpose2d_backward)
