"""Binds the page of adam to adam.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import adam as page

CU = Source(__name__)
adam_ema_step = CU.twin(page.adam_ema_step)
