"""Batch norm: a group norm of one example. Mirrors cupy_cuda/batch_norm.cu."""

import numpy as np
from numba import cuda

from refgen_kernels.device import batch_norm as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.gradients import gain_of, joined_sums
from refgen_kernels.numba_cuda.moments import SIZES, F
from refgen_kernels.numba_cuda.standard import standard_kernels

CU = Kernels(__name__)
batch_norm_forward = CU.twin(page.batch_norm_forward)
batch_norm_backward = CU.twin(page.batch_norm_backward)
standard_kernels(CU)

TWO = np.float32(2)


@device
def keep_sums(n, c, channels, s, t, given, left):  # type: ignore[no-untyped-def]
    """Keep both sums of a channel."""
    left[c] = s
    left[channels + c] = t


join = joined_sums(gain_of, keep_sums)


@CU.kernel(f"float*, float*, float*, float*, float*, float*, float*, float*, {SIZES}, int")
def join_sums(  # type: ignore[no-untyped-def]
    shares, gamma, dmean, dvar, rstd, d, b, sums, places, channels, groups, rows
):
    """Add up the parts of a channel; the statistics' gradients are a level and a stretch more."""
    level, stretch = join(shares, places, channels, groups, rows, gamma, sums)
    if cuda.threadIdx.x == 0:
        c = cuda.blockIdx.x
        r = rstd[c]
        d[c] = (dmean[c] / r - level) / F(places)
        b[c] = (TWO * dvar[c] / (r * r) - stretch) / F(places)  # (BN.4)
