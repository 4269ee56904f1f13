"""Noising on the device. Mirrors refgen/ops/noising.py."""

from refgen.noise import Stream
from refgen.ops import noising as page
from refgen.ops.noising import NoisingCache
from refgen.typing import Array
from refgen_kernels.device.launcher import DRAWN, Launcher, drawn_from
from refgen_kernels.device.machine import empty, suits


def noising_forward(
    cu: Launcher, data: Array, noise: Array, a: Array, b: Array
) -> tuple[Array, NoisingCache]:
    """Device twin of refgen.ops.noising_forward; arrays that are not float32 go to that page."""
    if not (_suits(data, a, b) and suits(data.shape, noise)):
        return page.noising_forward(data, noise, a, b)
    x = empty(data.shape)
    cu.each("mix", x.size, data, noise, a, b, x, _each_sample(data), x.size)
    return x, NoisingCache(data, noise, a, b)


def noising_drawn(
    cu: Launcher, data: Array, a: Array, b: Array, stream: Stream, start: int = 0
) -> tuple[Array, Array]:
    """Device twin of refgen.ops.noising_drawn; arrays that are not float32 go to that page."""
    if not _suits(data, a, b):
        return page.noising_drawn(data, a, b, stream, start)
    x, noise = empty(data.shape), empty(data.shape)
    where = drawn_from(stream, start)
    arrays, sizes = (data, a, b, *where, x, noise), (_each_sample(data), x.size)
    cu.each("draw_and_mix", x.size, *arrays, *sizes, at_once=DRAWN)
    return x, noise


def _suits(data: Array, a: Array, b: Array) -> bool:
    return data.ndim > 0 and suits(data.shape, data) and suits(data.shape[:1], a, b)


def _each_sample(data: Array) -> int:
    return data.size // max(len(data), 1)
