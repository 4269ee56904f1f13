r"""Convolutions as they are defined: any filter, any stride, and no more rounding than a sum has.

Shapes     x : (N, H, W, C)    w : (U, V, C, O)    y, dy : (N, H', W', O), all flat; 16 divides
           C and O; the sizes of a kernel are (N, H, W, C, H', W', O), its windows (U, V, s, p)

With channels last, row u of a window is V·C numbers side by side, in the image and in the
filter, and the next window begins s·C numbers on. So every row of outputs is a product (TL.1)
that reads the framed image where it lies:

    forward:   A = window rows, ai = s C, R = U, K = V C;   B = w, in panels          (DC.1)
    dw:        A = the same, transposed: the sum runs over windows                    (DC.2)
    dx:        for each (u, v):  dx̄[s i + u, s j + v] += dy[i, j] w[u, v]ᵀ            (DC.3)

In (DC.3) the results of one row of dy lie s·C apart, which a tile can do as well, so no product
is spent on the zeros that (CV.4) puts between the entries of dy.
"""

# mypy: allow-untyped-calls
import numpy as np
from numba import prange
from numba.np.ufunc.parallel import get_thread_id

from refgen_kernels.numba_cpu.access import load, store
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.matrices import panel_width
from refgen_kernels.numba_cpu.simd import floats
from refgen_kernels.numba_cpu.tile import multiply, multiply_turned

ZERO = np.float32(0)
PIXELS = 128  # windows that one pass over a filter's gradient adds up: they stay in the cache


@inlined
def _frame(x, image, height, width, channels, padding, memory):  # type: ignore[no-untyped-def]
    """Copy an image into a frame of zeros."""
    wide, row = width + 2 * padding, width * channels
    at = 0
    for i in range(-padding, height + padding):
        if 0 <= i < height:
            for j in range(0, padding * channels, 16):
                store(memory, at + j, floats(ZERO))
                store(memory, at + padding * channels + row + j, floats(ZERO))
            for j in range(0, row, 16):
                store(memory, at + padding * channels + j, load(x, image + i * row + j))
        else:
            for j in range(0, wide * channels, 16):
                store(memory, at + j, floats(ZERO))
        at += wide * channels


@kernel
def correlate(x, w, bias, y, scratch, sizes, windows):  # type: ignore[no-untyped-def]
    """Set y to the convolution of x, from the panels of w : (1, U V C, O); (DC.1)."""
    n, height, width, channels, out_height, out_width, outputs = sizes
    u, v, stride, padding = windows
    row, depth = (width + 2 * padding) * channels, v * channels
    for image in prange(n):
        memory = scratch[get_thread_id()]
        _frame(x, image * height * width * channels, height, width, channels, padding, memory)
        start = 0
        while start < outputs:
            panel = panel_width(start, outputs)
            b = start * u * depth
            for i in range(out_height):
                c = (image * out_height + i) * out_width * outputs + start
                for j in range(0, panel, 16):
                    constant = load(bias, start + j)
                    for k in range(out_width):
                        store(y, c + k * outputs + j, constant)
                multiply(
                    memory, stride * i * row, w, b, y, c, stride * channels, row, depth, u, panel,
                    depth * panel, outputs, 1, out_width, panel,
                )  # fmt: skip
            start += panel


@kernel
def spread(dy, w, bias, dx, scratch, sizes, windows):  # type: ignore[no-untyped-def]
    """Set dx to the adjoint of the convolution, from the panels of wᵀ : (U V, O, C); (DC.3)."""
    n, height, width, channels, out_height, out_width, outputs = sizes
    u, v, stride, padding = windows
    wide, high = width + 2 * padding, height + 2 * padding
    for image in prange(n):
        memory = scratch[get_thread_id()]
        for i in range(0, high * wide * channels, 16):
            store(memory, i, floats(ZERO))
        start = 0
        while start < channels:
            panel = panel_width(start, channels)
            for tap in range(u * v):
                b = (tap * channels + start) * outputs
                for i in range(out_height):
                    a = (image * out_height + i) * out_width * outputs
                    place = (stride * i + tap // v) * wide + tap % v
                    multiply(
                        dy, a, w, b, memory, place * channels + start, outputs, 0, outputs, 1,
                        panel, 0, stride * channels, 1, out_width, panel,
                    )  # fmt: skip
            start += panel
        for i in range(height):
            at, to = ((i + padding) * wide + padding) * channels, (image * height + i) * width
            for j in range(width):
                for c in range(0, channels, 16):
                    pixel = load(memory, at + j * channels + c) + load(bias, c)
                    store(dx, (to + j) * channels + c, pixel)


@kernel
def collect(x, dy, shares, scratch, sizes, windows):  # type: ignore[no-untyped-def]
    """Set shares : (groups, U V C O) to the filter's gradient in each group of images; (DC.2)."""
    n, height, width, channels, out_height, out_width, outputs = sizes
    u, v, stride, padding = windows
    row, depth = (width + 2 * padding) * channels, v * channels
    rows = max(1, PIXELS // out_width)
    groups = shares.shape[0]
    for group in prange(groups):
        memory, share = scratch[get_thread_id()], shares[group]
        for i in range(0, share.size, 16):
            store(share, i, floats(ZERO))
        for image in range(n * group // groups, n * (group + 1) // groups):
            _frame(x, image * height * width * channels, height, width, channels, padding, memory)
            for i in range(0, out_height, rows):
                b = (image * out_height + i) * out_width * outputs
                repeats = min(rows, out_height - i)
                for k in range(u):
                    a, c = (stride * i + k) * row, k * depth * outputs
                    multiply_turned(
                        memory, a, dy, b, share, c, stride * channels, stride * row, out_width,
                        repeats, outputs, out_width * outputs, outputs, 1, depth, outputs,
                    )  # fmt: skip
