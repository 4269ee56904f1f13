"""Binds the page of affine coupling to coupling.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import coupling as page
from refgen_kernels.device.sums import THREADS, TILE

CU = Source(__name__, THREADS=THREADS, TILE=TILE)
affine_coupling_forward = CU.twin(page.affine_coupling_forward)
affine_coupling_inverse = CU.twin(page.affine_coupling_inverse)
affine_coupling_backward = CU.twin(page.affine_coupling_backward)
