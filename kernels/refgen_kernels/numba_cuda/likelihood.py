"""The logistic loss and the squared error. Mirrors cupy_cuda/likelihood.cu, equations included."""

import math

import numpy as np
from numba import cuda

from refgen_kernels.device import likelihood as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.sums import (
    PARTS,
    STEP,
    TILE,
    F,
    I,
    add_shares,
    first_and_last,
    keep,
)

CU = Kernels(__name__)
bernoulli_nll_forward = CU.twin(page.bernoulli_nll_forward)
bernoulli_nll_backward = CU.twin(page.bernoulli_nll_backward)
squared_error_forward = CU.twin(page.squared_error_forward)
squared_error_backward = CU.twin(page.squared_error_backward)
CU.kernel(f"float*, float*, {PARTS}")(add_shares)

ZERO, ONE, TWO = F(0), F(1), F(2)
ARTANH = tuple(F(1 / k) for k in (15, 13, 11, 9, 7, 5, 3))


@device
def softplus(a):  # type: ignore[no-untyped-def]
    """Return log(1 + exp(a)), all of its digits."""
    e = math.exp(-abs(a))
    r = e / (TWO + e)
    r2 = r * r
    p = ARTANH[0] * r2 + ARTANH[1]
    p = p * r2 + ARTANH[2]
    p = p * r2 + ARTANH[3]
    p = p * r2 + ARTANH[4]
    p = p * r2 + ARTANH[5]
    p = p * r2 + ARTANH[6]
    return max(a, ZERO) + TWO * (r * r2 * p + r)  # (LK.1), (LK.2)


@device
def sigmoid(a):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + exp(-a)), all of its digits."""
    e = math.exp(-abs(a))
    return (e if a < ZERO else ONE) / (ONE + e)  # (LK.3)


@CU.kernel(f"float*, float*, float*, {PARTS}")
def add_surprises(  # type: ignore[no-untyped-def]
    x, logits, nll, samples, each_sample, together, pieces, piece
):
    """Add up what each entry costs."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            terms[i - tile] = softplus(logits[i]) - x[i] * logits[i]  # (L.2)
        keep(terms, I(end - tile), nll, tile > lo, each_sample, together, pieces)


@CU.kernel("float*, float*, float*, float*, float*, int, int")
def price_logits(x, logits, dnll, dx, dlogits, each_sample, count):  # type: ignore[no-untyped-def]
    """Write both gradients."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        d = dnll[i // each_sample]
        dx[i] = -d * logits[i]
        dlogits[i] = d * (sigmoid(logits[i]) - x[i])  # (L.5)


@CU.kernel(f"float*, float*, float*, {PARTS}")
def add_squares(  # type: ignore[no-untyped-def]
    x, target, loss, samples, each_sample, together, pieces, piece
):
    """Add up squared residuals."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            residual = x[i] - target[i]
            terms[i - tile] = residual * residual  # (L.7)
        keep(terms, I(end - tile), loss, tile > lo, each_sample, together, pieces)


@CU.kernel("float*, float*, float*, float*, float*, int, int")
def pull_together(x, target, dloss, dx, dtarget, each_sample, count):  # type: ignore[no-untyped-def]
    """Write both gradients."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        pull = TWO * dloss[i // each_sample] * (x[i] - target[i])
        dx[i] = pull
        dtarget[i] = -pull  # (L.8)
