"""Twins that do the same to every entry: sizes beyond the caches, and what only they promise."""

import numpy as np
import pytest

from refgen import ops
from refgen.noise import Noise
from refgen_kernels import numba_cpu
from refgen_kernels.numba_cpu import linear, writing

STREAM = Noise(5).at("elementwise").stream
BEYOND = writing.CACHES // 8 + 5003  # entries: two arrays of that size outgrow the caches
DDPM = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2}
GUIDED = {"guidance": 2.5, **DDIM}


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.fixture(scope="module")
def large():
    """Four arrays, of which any two outgrow the caches."""
    return Noise(1).normal((4, 1, BEYOND), dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "count", "static"),
    [
        ("ddpm_step_forward", 3, DDPM),
        ("ddim_step_forward", 3, DDIM),
        ("guided_ddim_step_forward", 4, GUIDED),
        ("euler_step_forward", 2, {"dt": -0.3}),
        ("heun_step_forward", 3, {"dt": 0.3}),
        ("langevin_step_forward", 3, {"step": 0.1}),
    ],
)
def test_results_beyond_the_caches_have_the_bits_of_the_page(large, name, count, static):
    assert writing.outgrows(BEYOND, count + 1)
    twin, page = (getattr(t, name)(*large[:count], **static)[0] for t in (numba_cpu, ops))
    assert same_bits(twin, page)


@pytest.mark.parametrize("start", [0, 7])
def test_draws_beyond_the_caches_have_the_bits_of_the_page(large, start):
    twin = numba_cpu.ddpm_step_drawn(*large[:2], STREAM, start, **DDPM)
    assert same_bits(twin, ops.ddpm_step_drawn(*large[:2], STREAM, start, **DDPM))


@pytest.mark.tiny
def test_a_coefficient_of_zero_draws_nothing(monkeypatch):
    """Not even where the noise would be infinite: z has weight 0."""
    x = np.ones((2, 3), np.float32)
    monkeypatch.setattr(linear, "_drawn", None)
    for name, static in (("ddim_step_drawn", DDIM), ("guided_ddim_step_drawn", GUIDED)):
        arrays = (x, x, x) if "guided" in name else (x, x)
        out = getattr(numba_cpu, name)(*arrays, STREAM, **{**static, "sigma": 0.0})
        page = getattr(ops, name)(*arrays, STREAM, **{**static, "sigma": 0.0})
        np.testing.assert_array_equal(out, page)
