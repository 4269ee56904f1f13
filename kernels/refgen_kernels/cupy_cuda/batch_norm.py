"""Binds the page of its name to batch_norm.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import batch_norm as page

CU = Source(__name__)
batch_norm_forward = CU.twin(page.batch_norm_forward)
batch_norm_backward = CU.twin(page.batch_norm_backward)
