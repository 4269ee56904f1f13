"""Binds the page of join to join.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import join as page

CU = Source(__name__, THREADS=page.THREADS)
add = CU.twin(page.add)
shift_forward = CU.twin(page.shift_forward)
shift_backward = CU.twin(page.shift_backward)
concat_forward = CU.twin(page.concat_forward)
concat_backward = CU.twin(page.concat_backward)
