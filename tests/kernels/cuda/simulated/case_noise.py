"""Noise, thread after thread: the bits of the page."""

import numpy as np

from refgen import ops
from refgen.noise import Noise
from tests.kernels.judging import same_bits

STREAM = Noise(3).at("simulated").stream


def case_draws(table):
    """Draws that begin inside a block of 64, and end inside one."""
    for start, count in ((0, 1), (5, 60), (2**38 - 9, 40)):
        for name in ("normals", "words"):
            found = getattr(table, name)(STREAM, start, count)
            assert same_bits(found, getattr(ops, name)(STREAM, start, count)), (name, start)


def case_noising_drawn(table):
    """Draw for samples of five: four neighbours belong to two of them."""
    data = np.arange(15, dtype="f").reshape(3, 5)
    a, b = np.array([[1, 2, 3], [0.5, 0, -1]], "f")
    x, noise = table.noising_drawn(data, a, b, STREAM, 9)
    page, drawn = ops.noising_drawn(data, a, b, STREAM, 9)
    assert same_bits(noise, drawn)
    np.testing.assert_allclose(x, page, rtol=1e-6)
