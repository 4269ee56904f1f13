"""Sums of branches, a vector for every pixel, channels in a row. Mirrors refgen/ops/join.py."""

import numpy as np
from numba import cuda

from refgen_kernels.device import join as page
from refgen_kernels.device.join import THREADS
from refgen_kernels.device.launcher import FOUR
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.reduce import fold

CU = Kernels(__name__)
add = CU.twin(page.add)
shift_forward = CU.twin(page.shift_forward)
shift_backward = CU.twin(page.shift_backward)
concat_forward = CU.twin(page.concat_forward)
concat_backward = CU.twin(page.concat_backward)

F, I, U = np.float32, np.int32, np.uint32


@device
def divide(i, by):  # type: ignore[no-untyped-def]
    """Return quotient and remainder: of unsigned words, since Numba divides others in 64 bits."""
    quotient = I(U(i) // U(by))
    return quotient, I(i - quotient * by)


@CU.kernel("float*, float*, float*, int")
def add_up(x, z, y, count):  # type: ignore[no-untyped-def]
    """Add two arrays."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        y[i] = x[i] + z[i]  # (JO.1)


@CU.kernel("float*, float*, float*, int, int, int")
def add_to_pixels(x, v, y, each_sample, channels, count):  # type: ignore[no-untyped-def]
    """Add a sample's vector to each of its pixels."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        sample, _ = divide(i, each_sample)
        _, channel = divide(i, channels)
        y[i] = x[i] + v[sample * channels + channel]  # (JO.2)


@CU.kernel("float*, float*, int, int, int, int")
def sum_rows(x, y, rows, pieces, channels, width):  # type: ignore[no-untyped-def]
    """Sum the rows of one piece, for `width` columns.

    A column of the page is four channels where their number allows it. The block takes as many
    channels, but four times `width` one after another, so that neighbours read neighbours.
    """
    part = cuda.shared.array(THREADS, np.float32)
    turns = I(FOUR) if channels % I(FOUR) == I(0) else I(1)
    tiles, _ = divide(channels + turns * width - I(1), turns * width)
    place, tile = divide(cuda.blockIdx.x, tiles)
    row, column = divide(cuda.threadIdx.x, width)
    at_once, _ = divide(cuda.blockDim.x, width)
    sample, nth = divide(place, pieces)
    piece, _ = divide(rows + pieces - I(1), pieces)
    first = nth * piece
    stop = min(first + piece, rows)
    for turn in range(turns):
        channel = (tile * turns + I(turn)) * width + column
        total = F(0)
        if channel < channels:
            for r in range(first + row, stop, at_once):
                total += x[(sample * rows + I(r)) * channels + channel]
        part[column * at_once + row] = total
        fold(part, at_once, width)
        if row == I(0) and channel < channels:
            y[place * channels + channel] = part[column * at_once]  # (JO.4)


@CU.kernel("float*, float*, float*, int, int, int")
def lay_side_by_side(x, z, y, c, e, count):  # type: ignore[no-untyped-def]
    """Write the channels of x, then those of z."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        row, channel = divide(i, c + e)
        if channel < c:
            y[i] = x[row * c + channel]
        else:
            y[i] = z[row * e + channel - c]  # (JO.3)


@CU.kernel("float*, float*, float*, int, int, int")
def cut_apart(y, x, z, c, e, count):  # type: ignore[no-untyped-def]
    """Write the first c channels to x and the others to z."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        row, channel = divide(i, c + e)
        if channel < c:
            x[row * c + channel] = y[i]
        else:
            z[row * e + channel - c] = y[i]  # (JO.4)
