"""Binds the page of its name to fused.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import fused as page

CU = Source(__name__)
group_norm_silu_forward = CU.twin(page.group_norm_silu_forward)
group_norm_silu_backward = CU.twin(page.group_norm_silu_backward)
group_norm_film_silu_forward = CU.twin(page.group_norm_film_silu_forward)
group_norm_film_silu_backward = CU.twin(page.group_norm_film_silu_backward)
