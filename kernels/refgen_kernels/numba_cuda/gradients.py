"""Gradients of norms: two sums of each channel, two of each group, then one line an element.

Mirrors cupy_cuda/gradients.cuh. A norm says with two functions what it has in its arrays:

    weigh(n, c, channels, given)        a and lift of a channel: what x_hat is multiplied by, and
                                        what is added
    bend(x, dy, mean, r, a, lift)       x_hat and g, from what lies in the two arrays
"""

from collections.abc import Callable
from typing import Any

from numba import cuda, float32

from refgen_kernels.numba_cuda.build import device
from refgen_kernels.numba_cuda.moments import ONE, ZERO, F, I, part_of, seat_at
from refgen_kernels.numba_cuda.reduce import block_sum, fold

ROOM = 8  # numbers of shared memory that each thread has for sums


@device
def column_sums(s, t, shared, across, down, column, row):  # type: ignore[no-untyped-def]
    """Return both sums of what the threads of a column have. All threads must call."""
    cuda.syncthreads()  # earlier sums may still be read
    if row < down:
        shared[column * down + row] = s
        shared[(across + column) * down + row] = t
    fold(shared, down, I(2 * across))
    return shared[column * down], shared[(across + column) * down]


def gradients_of_groups(
    weigh: Callable[..., Any], bend: Callable[..., Any], leave: Callable[..., Any]
) -> Any:
    """Return a function for one group: leave(n, c, channels, s, t, given) keeps the sums."""

    @device
    def gradients(x, dy, dx, mean, r, n, group, places, channels, width, capacity, given, left):  # type: ignore[no-untyped-def]
        shared = cuda.shared.array(0, float32)
        kept = I(ROOM * cuda.blockDim.x)
        scaled = I(kept + capacity)
        first = I(group * width)
        origin = I(n * places * channels + first)
        across, down, column, row = seat_at(width)
        level, stretch = ZERO, ZERO
        for c0 in range(I(0), width, across):
            c = I(c0 + column)
            seated = row < down and c < width
            s, t = ZERO, ZERO
            if seated:
                a, lift = weigh(n, first + c, channels, given)
                for p in range(row, I(places), down):
                    i, e = I(origin + p * channels + c), I(p * width + c)
                    x_hat, g = bend(x[i], dy[i], mean, r, a, lift)
                    s += g
                    t += g * x_hat
                    if e < capacity:
                        shared[kept + e] = x_hat
                        shared[scaled + e] = a * g
            s, t = column_sums(s, t, shared, across, down, column, row)
            if seated and row == 0:
                a, lift = weigh(n, first + c, channels, given)
                leave(n, I(first + c), channels, s, t, given, left)
                level += a * s
                stretch += a * t
        share = -ONE / (F(places) * F(width))
        d = share * block_sum(level, shared)
        b = share * block_sum(stretch, shared)
        if row < down:
            for k in range(column, width, across):
                a, lift = weigh(n, first + k, channels, given)
                for p in range(row, I(places), down):
                    i, e = I(origin + p * channels + k), I(p * width + k)
                    if e < capacity:
                        x_hat, u = shared[kept + e], shared[scaled + e]
                    else:
                        x_hat, g = bend(x[i], dy[i], mean, r, a, lift)
                        u = a * g
                    dx[i] = r * (u + (d + b * x_hat))  # (NM.3), (NM.4)

    return gradients


def sums_of_part(weigh: Callable[..., Any], bend: Callable[..., Any]) -> Any:
    """Return a function that leaves s and t of a part in shares."""

    @device
    def sums(x, dy, shares, mean, rstd, places, channels, groups, rows, given):  # type: ignore[no-untyped-def]
        shared = cuda.shared.array(0, float32)
        n, first, last = part_of(I(cuda.blockIdx.x), places, rows)
        width, start = I(channels // groups), I(n * places * channels)
        across, down, column, row = seat_at(channels)
        to = I(cuda.blockIdx.x * 2 * channels)
        for c0 in range(I(0), I(channels), across):
            c = I(c0 + column)
            seated = row < down and c < channels
            s, t = ZERO, ZERO
            if seated:
                a, lift = weigh(n, c, channels, given)
                at = I(n * groups + c // width)
                for p in range(first + row, last, down):
                    i = I(start + p * channels + c)
                    x_hat, g = bend(x[i], dy[i], mean[at], rstd[at], a, lift)
                    s += g
                    t += g * x_hat
            s, t = column_sums(s, t, shared, across, down, column, row)
            if seated and row == 0:
                shares[to + c] = s
                shares[to + channels + c] = t

    return sums


def joined_sums(weigh: Callable[..., Any], leave: Callable[..., Any]) -> Any:
    """Return a function that adds up a group's parts: leave keeps s and t of each channel.

    It returns sum a s and sum a t of the block's group.
    """

    @device
    def join(shares, places, channels, groups, rows, given, left):  # type: ignore[no-untyped-def]
        shared = cuda.shared.array(0, float32)
        width, parts = I(channels // groups), I((places + rows - I(1)) // rows)
        n = I(cuda.blockIdx.x // groups)
        first = I((cuda.blockIdx.x - n * groups) * width)
        start = I(2 * n * parts * channels)
        across, down, column, row = seat_at(width)
        level, stretch = ZERO, ZERO
        for c0 in range(I(0), width, across):
            c = I(first + c0 + column)
            seated = row < down and c0 + column < width
            s, t = ZERO, ZERO
            if seated:
                for p in range(row, parts, down):
                    at = I(start + 2 * p * channels + c)
                    s += shares[at]
                    t += shares[at + channels]
            s, t = column_sums(s, t, shared, across, down, column, row)
            if seated and row == 0:
                a, _ = weigh(n, c, channels, given)
                leave(n, c, channels, s, t, given, left)
                level += a * s
                stretch += a * t
        return block_sum(level, shared), block_sum(stretch, shared)

    return join


def combines_part(weigh: Callable[..., Any], bend: Callable[..., Any]) -> Any:
    """Return a function that writes dx of a part."""

    @device
    def combine(x, dy, mean, rstd, d, b, dx, places, channels, groups, rows, given):  # type: ignore[no-untyped-def]
        block = I(cuda.gridDim.x - 1 - cuda.blockIdx.x)
        n, first, last = part_of(block, places, rows)
        width, start = I(channels // groups), I(n * places * channels)
        across, down, column, row = seat_at(channels)
        if row < down:
            for c in range(column, I(channels), across):
                a, lift = weigh(n, c, channels, given)
                at = I(n * groups + c // width)
                for p in range(first + row, last, down):
                    i = I(start + p * channels + c)
                    x_hat, g = bend(x[i], dy[i], mean[at], rstd[at], a, lift)
                    dx[i] = rstd[at] * (a * g + (d[at] + b[at] * x_hat))  # (NM.3), (NM.4)

    return combine


# Norms that keep x_hat.


@device
def gain_of(n, c, channels, given):  # type: ignore[no-untyped-def]
    """Return gamma of a channel; given is gamma."""
    return given[c], ZERO


@device
def as_they_are(x, dy, mean, r, a, lift):  # type: ignore[no-untyped-def]
    """Return what lies in the two arrays: x_hat and g."""
    return x, dy
