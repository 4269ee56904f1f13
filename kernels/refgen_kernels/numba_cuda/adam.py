"""Adam and the average of its parameters, one pass over memory. Mirrors refgen/ops/adam.py."""

import math

import numpy as np
from numba import cuda

from refgen_kernels.device import adam as page
from refgen_kernels.numba_cuda.build import Kernels

CU = Kernels(__name__)
adam_ema_step = CU.twin(page.adam_ema_step)

F = np.float32
FLOATS = ", ".join(["float"] * 9)


@CU.kernel(f"float*, float*, float*, float*, float*, {FLOATS}, float*, float*, float*, float*, int")
def update(  # type: ignore[no-untyped-def]
    p,
    g,
    m,
    v,
    average,
    beta1,
    one_less_beta1,
    beta2,
    one_less_beta2,
    decay,
    one_less_decay,
    scale,
    unbias,
    eps,
    new_p,
    new_m,
    new_v,
    new_average,
    count,
):
    """Take one step and average."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        slope = g[i]
        first = beta1 * m[i] + one_less_beta1 * slope
        second = beta2 * v[i] + one_less_beta2 * (slope * slope)  # (AD.1)
        after = p[i] - scale * first / (F(math.sqrt(second)) * unbias + eps)  # (AD.2), (AD.3)
        new_p[i] = after
        new_m[i] = first
        new_v[i] = second
        new_average[i] = decay * average[i] + one_less_decay * after  # (AD.4)
