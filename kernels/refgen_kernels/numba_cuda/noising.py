"""Noising, with the noise given or drawn in registers. Mirrors refgen/ops/noising.py."""

from numba import cuda

from refgen_kernels.device import noising as page
from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.noise import SIXTEEN, D, I, box_muller, counters, place

CU = Kernels(__name__)
noising_forward = CU.twin(page.noising_forward)
noising_drawn = CU.twin(page.noising_drawn)


@CU.kernel("float*, float*, float*, float*, float*, int, int")
def mix(data, noise, a, b, x, each_sample, count):  # type: ignore[no-untyped-def]
    """Mix data with the noise given."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        n = i // each_sample
        x[i] = a[n] * data[i] + b[n] * noise[i]  # (X.1)


@CU.kernel(
    "float*, float*, float*, unsigned, unsigned, unsigned, unsigned, unsigned long long, int, "
    "float*, float*, int, int"
)
def draw_and_mix(  # type: ignore[no-untyped-def]
    data, a, b, seed, h0, h1, h2, block, offset, x, noise, each_sample, count
):
    """Draw noise, keep it, and mix data with it."""
    for j in range(cuda.grid(1), counters(offset, count), cuda.gridsize(1)):
        z = box_muller(SIXTEEN * block + D(j), seed, h0, h1, h2)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if 0 <= i < count:
                n = i // each_sample
                noise[i] = z[k]
                x[i] = a[n] * data[i] + b[n] * z[k]  # (X.1)
