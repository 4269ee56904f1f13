"""Sums of arrays with numbers for coefficients: what a step is. Mirrors cupy_cuda/linear.cuh.

out = p a + q b + ...   added from the left; the last term may be noise drawn in registers
"""

from numba import cuda

from refgen_kernels.numba_cuda.build import Kernels
from refgen_kernels.numba_cuda.noise import SIXTEEN, D, I, box_muller, counters, place

WHERE = "unsigned, unsigned, unsigned, unsigned, unsigned long long, int"


def combine_two(a, b, p, q, out, count):  # type: ignore[no-untyped-def]
    """Add two arrays."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[i] = p * a[i] + q * b[i]


def combine_three(a, b, c, p, q, r, out, count):  # type: ignore[no-untyped-def]
    """Add three arrays."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[i] = p * a[i] + q * b[i] + r * c[i]


def combine_four(a, b, c, d, p, q, r, s, out, count):  # type: ignore[no-untyped-def]
    """Add four arrays."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[i] = p * a[i] + q * b[i] + r * c[i] + s * d[i]


def draw_and_combine_three(  # type: ignore[no-untyped-def]
    a, b, p, q, sigma, seed, h0, h1, h2, block, offset, out, count
):
    """Add two arrays and noise."""
    for j in range(cuda.grid(1), counters(offset, count), cuda.gridsize(1)):
        z = box_muller(SIXTEEN * block + D(j), seed, h0, h1, h2)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if 0 <= i < count:
                out[i] = p * a[i] + q * b[i] + sigma * z[k]


def draw_and_combine_four(  # type: ignore[no-untyped-def]
    a, b, c, p, q, r, sigma, seed, h0, h1, h2, block, offset, out, count
):
    """Add three arrays and noise."""
    for j in range(cuda.grid(1), counters(offset, count), cuda.gridsize(1)):
        z = box_muller(SIXTEEN * block + D(j), seed, h0, h1, h2)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if 0 <= i < count:
                out[i] = p * a[i] + q * b[i] + r * c[i] + sigma * z[k]


def add_sums(cu: Kernels) -> None:
    """Add these kernels to those of a page."""
    two, three, four = (", ".join(["float*"] * n + ["float"] * n) for n in (2, 3, 4))
    cu.kernel(f"{two}, float*, int")(combine_two)
    cu.kernel(f"{three}, float*, int")(combine_three)
    cu.kernel(f"{four}, float*, int")(combine_four)
    cu.kernel(f"{two}, float, {WHERE}, float*, int")(draw_and_combine_three)
    cu.kernel(f"{three}, float, {WHERE}, float*, int")(draw_and_combine_four)
