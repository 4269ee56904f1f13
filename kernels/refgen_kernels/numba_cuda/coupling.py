"""Affine coupling, one pass over memory, its log-determinant included. Mirrors the page."""

import math

import numpy as np
from numba import cuda

from refgen_kernels.device import coupling as page
from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.sums import (
    PARTS,
    STEP,
    TILE,
    I,
    add_shares,
    first_and_last,
    keep,
)

CU = Kernels(__name__)
affine_coupling_forward = CU.twin(page.affine_coupling_forward)
affine_coupling_inverse = CU.twin(page.affine_coupling_inverse)
affine_coupling_backward = CU.twin(page.affine_coupling_backward)
CU.kernel(f"float*, float*, {PARTS}")(add_shares)


@CU.kernel(f"float*, float*, float*, float*, float*, float*, {PARTS}")
def scale_and_shift(  # type: ignore[no-untyped-def]
    x, shift, log_scale, y, scale, logdet, samples, each_sample, together, pieces, piece
):
    """Move every entry, and add up by how much volumes grow."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            s = math.exp(log_scale[i])
            scale[i] = s
            y[i] = x[i] * s + shift[i]  # (AC.1)
            terms[i - tile] = log_scale[i]  # (AC.3)
        keep(terms, I(end - tile), logdet, tile > lo, each_sample, together, pieces)


@CU.kernel("float*, float*, float*, float*, int")
def undo(y, shift, log_scale, x, count):  # type: ignore[no-untyped-def]
    """Move every entry back."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        x[i] = (y[i] - shift[i]) * math.exp(-log_scale[i])  # (AC.2)


@CU.kernel("float*, float*, float*, float*, float*, float*, int, int")
def pull_back(  # type: ignore[no-untyped-def]
    dy, dlogdet, x, scale, dx, dlog_scale, each_sample, count
):
    """Write the gradients of what moved and of the scale."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        d = dy[i] * scale[i]
        dx[i] = d
        dlog_scale[i] = d * x[i] + dlogdet[i // each_sample]  # (AC.4)
