"""Pictures enlarged: what is told, and the error of one draw and of many."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from refgen.data.resize import bicubic, reduce
from refgen.metrics.psnr import psnr
from refgen.noise import Noise
from refgen.systems.super_resolution import SuperResolution
from tests.systems.conditional import IMAGE, cases, moved


def test_enlarging_is_told_the_small_picture_and_averages_draws():
    system = cases()["super-resolution"]
    params, rng = moved(system), np.random.default_rng(0)
    small = rng.normal(size=(3, 2, 2, 1))
    one = system.enlarge(params, small, Noise(1))
    assert one.shape == (3, *IMAGE)
    assert not np.allclose(one, system.enlarge(params, small + 1, Noise(1)))
    two = system.enlarge(params, small, Noise(1), draws=2)
    other = system.enlarge(params, small, Noise(1), draws=3)
    assert not np.allclose(one, two)
    third = 3 * other - 2 * two
    assert not np.allclose(third, one)
    with pytest.raises(ValueError, match=r"pictures of \(2, 2, 1\)"):
        system.enlarge(params, rng.normal(size=(3, 4, 4, 1)), Noise(1))


@dataclass(frozen=True)
class Enlarger:
    """The exact answers for grey noise: x = small, each pixel repeated, + what its blocks hide.

    What is hidden is N(0, s² Q), Q the part of a picture whose block means are 0.
    """

    process: Any
    s: float = 0.5

    def init(self, noise):
        return {"w": np.zeros(1)}

    def forward(self, params, x, t, image):
        a, b = float(self.process.signal(int(t[0]))), float(self.process.spread(int(t[0])))
        off = x - a * repeated(told_small(image))
        known = repeated(reduce(off, 2))  # here x says the noise itself
        return known / b + b / ((a * self.s) ** 2 + b * b) * (off - known), None


def repeated(small):
    return small.repeat(2, axis=1).repeat(2, axis=2)


def told_small(image):
    """Return the small picture that `image` is the bicubic enlargement of."""
    basis = bicubic(np.eye(4).reshape(4, 2, 2, 1), 2).reshape(4, -1)
    flat = np.linalg.lstsq(basis.T, image.reshape(len(image), -1).T, rcond=None)[0]
    return flat.T.reshape(-1, 2, 2, 1)


def test_an_exact_enlarger_keeps_the_small_picture_and_errs_as_one_draw_or_many_do(monkeypatch):
    """One draw errs by 2 s², the mean of n by (1 + 1/n) s²: equal draws, or a sum, do not."""
    system = SuperResolution(IMAGE, T=100, hidden=16, blocks=1)
    exact = Enlarger(system.process)
    monkeypatch.setattr(SuperResolution, "network", property(lambda self: exact))
    params, count = {"model": {"w": np.zeros(1)}}, 400
    rng = np.random.default_rng(0)
    small, hidden = rng.normal(size=(count, 2, 2, 1)), rng.normal(size=(count, *IMAGE))
    truth = repeated(small) + exact.s * (hidden - repeated(reduce(hidden, 2)))
    floor = 0.75 * exact.s**2  # of four pixels' freedom a block's mean takes one
    for draws in (1, 4):
        found = system.enlarge(params, small, Noise(1), draws=draws)
        assert np.mean((found - truth) ** 2) == pytest.approx((1 + 1 / draws) * floor, rel=0.05)
        np.testing.assert_allclose(reduce(found, 2), small, atol=1e-9)
    best = np.mean(psnr(repeated(small), truth))
    cost = best - np.mean(psnr(system.enlarge(params, small, Noise(2)), truth))
    assert cost == pytest.approx(10 * math.log10(2), abs=0.15)
