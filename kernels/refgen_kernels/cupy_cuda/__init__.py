"""CUDA C++ twins, started by CuPy. Each .cu file lies beside the Python file that binds it."""

from refgen_kernels.cupy_cuda.noise import normals, words
from refgen_kernels.cupy_cuda.noising import noising_drawn, noising_forward
from refgen_kernels.device import status as status
from refgen_kernels.device.home import fetch, put

__all__ = ["fetch", "noising_drawn", "noising_forward", "normals", "put", "words"]
