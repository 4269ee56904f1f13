"""Sums of arrays with numbers for coefficients: what a step of a sampler or a solver is.

    out = w₀ a₀ + w₁ a₁ + ...   of two, three or four terms, added from the left

The last term may be noise, drawn while it is added. A coefficient 0 draws nothing (the page then
adds ±0, which can only turn −0 into 0).
"""

from functools import reduce
from operator import add, mul

from refgen.noise import Stream, normals_like
from refgen.typing import Array
from refgen_kernels.device.launcher import DRAWN, Launcher, drawn_from
from refgen_kernels.device.machine import empty, suits

TERMS = {2: "two", 3: "three", 4: "four"}


def combine(cu: Launcher, arrays: tuple[Array, ...], weights: tuple[float, ...]) -> Array:
    """Return the sum; what is not float32 on the device is added as pages of refgen add it."""
    if not suits(arrays[0].shape, *arrays):
        return reduce(add, map(mul, weights, arrays))
    out = empty(arrays[0].shape)
    cu.each(f"combine_{TERMS[len(weights)]}", out.size, *arrays, *weights, out, out.size)
    return out


def combine_drawn(
    cu: Launcher, arrays: tuple[Array, ...], weights: tuple[float, ...], stream: Stream, start: int
) -> Array:
    """Return `combine` with the noise of a stream for the last term."""
    if not suits(arrays[0].shape, *arrays):
        return combine(cu, (*arrays, normals_like(arrays[0], stream, start)), weights)
    if weights[-1] == 0:
        return combine(cu, arrays, weights[:-1])
    out = empty(arrays[0].shape)
    name, where = f"draw_and_combine_{TERMS[len(weights)]}", drawn_from(stream, start)
    cu.each(name, out.size, *arrays, *weights, *where, out, out.size, at_once=DRAWN)
    return out
