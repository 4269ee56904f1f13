"""Binds the page of likelihoods to likelihood.cu."""

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device import likelihood as page
from refgen_kernels.device.sums import THREADS, TILE

CU = Source(__name__, THREADS=THREADS, TILE=TILE)
bernoulli_nll_forward = CU.twin(page.bernoulli_nll_forward)
bernoulli_nll_backward = CU.twin(page.bernoulli_nll_backward)
squared_error_forward = CU.twin(page.squared_error_forward)
squared_error_backward = CU.twin(page.squared_error_backward)
