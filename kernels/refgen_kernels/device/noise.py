"""Noise on the device. Mirrors refgen/noise.py, bit for bit."""

import numpy as np

from refgen.noise import Stream
from refgen.typing import Array
from refgen_kernels.device.launcher import DRAWN, Launcher, drawn_from
from refgen_kernels.device.machine import REACH, empty


def normals(cu: Launcher, stream: Stream, start: int, count: int) -> Array:
    """Device twin of refgen.noise.normals; the result lies on the device."""
    return _draw(cu, "draw_normals", np.float32, stream, start, count)


def words(cu: Launcher, stream: Stream, start: int, count: int) -> Array:
    """Device twin of refgen.noise.words; the result lies on the device."""
    return _draw(cu, "draw_words", np.uint32, stream, start, count)


def _draw(cu: Launcher, name: str, kind: type, stream: Stream, start: int, count: int) -> Array:
    drawn = empty((count,), kind)
    for at in range(0, count, REACH):
        part = drawn[at : at + REACH]
        cu.each(name, part.size, part, *drawn_from(stream, start + at), part.size, at_once=DRAWN)
    return drawn
