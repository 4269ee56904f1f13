"""Binds the page of noising to noising.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import noising as page

CU = Source(__name__)
noising_forward = CU.twin(page.noising_forward)
noising_drawn = CU.twin(page.noising_drawn)
