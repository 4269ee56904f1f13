"""Numba CUDA twins: the same kernels as in CUDA C++, written in Python."""

from refgen_kernels.device import status as status
from refgen_kernels.device.home import fetch, put
from refgen_kernels.numba_cuda.noise import normals, words
from refgen_kernels.numba_cuda.noising import noising_drawn, noising_forward

__all__ = ["fetch", "noising_drawn", "noising_forward", "normals", "put", "words"]
