"""Binds the page of activation to activation.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import activation as page

CU = Source(__name__)
silu_forward = CU.twin(page.silu_forward)
silu_backward = CU.twin(page.silu_backward)
relu_forward = CU.twin(page.relu_forward)
relu_backward = CU.twin(page.relu_backward)
