"""Functions of one number that Python lacks."""

import math

import numpy as np

from refgen_kernels.numba_cuda.build import device

F = np.float32
ONE, ZERO = F(1), F(0)


@device
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + exp(-x)) without overflow; small values keep their digits."""
    small = F(math.exp(-abs(x)))
    return (ONE if x > ZERO else small) / (ONE + small)  # (A.3)
