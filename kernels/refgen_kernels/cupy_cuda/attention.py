"""Binds the page of attention to attention.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import attention as page

THREADS = {name.upper(): threads for name, threads in page.THREADS.items()}
CU = Source(__name__, TILE=page.TILE, **THREADS)
attention_forward = CU.twin(page.attention_forward)
attention_backward = CU.twin(page.attention_backward)
