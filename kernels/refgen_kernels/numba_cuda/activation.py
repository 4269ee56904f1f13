"""SiLU and ReLU, one pass over memory. Mirrors refgen/ops/activation.py."""

from numba import cuda

from refgen_kernels.device import activation as page
from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.elementary import ONE, ZERO, sigmoid

CU = Kernels(__name__)
silu_forward = CU.twin(page.silu_forward)
silu_backward = CU.twin(page.silu_backward)
relu_forward = CU.twin(page.relu_forward)
relu_backward = CU.twin(page.relu_backward)


@CU.kernel("float*, float*, float*, int")
def weigh_by_sigmoid(x, y, s, count):  # type: ignore[no-untyped-def]
    """Write x σ(x) and σ(x)."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        weight = sigmoid(x[i])
        s[i] = weight
        y[i] = x[i] * weight


@CU.kernel("float*, float*, float*, float*, int")
def weigh_by_slope(dy, x, s, dx, count):  # type: ignore[no-untyped-def]
    """Write the gradient of x σ(x)."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        dx[i] = dy[i] * s[i] * (ONE + x[i] * (ONE - s[i]))  # (A.5)


@CU.kernel("float*, float*, int")
def cut_at_zero(x, y, count):  # type: ignore[no-untyped-def]
    """Write what is not below zero; what is not a number is not."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        y[i] = ZERO if x[i] < ZERO else x[i]  # (A.1)


@CU.kernel("float*, float*, float*, int")
def keep_where_positive(dy, x, dx, count):  # type: ignore[no-untyped-def]
    """Write dy where x is positive."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        dx[i] = dy[i] if x[i] > ZERO else ZERO
