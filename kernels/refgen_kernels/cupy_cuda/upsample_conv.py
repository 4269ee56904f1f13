"""Binds the page of upsample_conv to the kernels of products."""

from refgen_kernels.cupy_cuda import products
from refgen_kernels.device import upsample_conv as page

KERNELS = products.CU.of(__name__)
upsample_conv2d_forward = KERNELS.twin(page.upsample_conv2d_forward)
upsample_conv2d_backward = KERNELS.twin(page.upsample_conv2d_backward)
