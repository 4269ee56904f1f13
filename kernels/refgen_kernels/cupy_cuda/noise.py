"""Binds the page of noise to noise.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import noise as page

CU = Source(__name__)
normals = CU.twin(page.normals)
words = CU.twin(page.words)
