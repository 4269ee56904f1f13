"""Binds the page of its name to normalization.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import normalization as page

CU = Source(__name__)
group_norm_forward = CU.twin(page.group_norm_forward)
group_norm_backward = CU.twin(page.group_norm_backward)
layer_norm_forward = CU.twin(page.layer_norm_forward)
layer_norm_backward = CU.twin(page.layer_norm_backward)
