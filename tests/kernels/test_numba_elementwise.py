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


@pytest.mark.parametrize("samples", [1, 16, 5])
def test_noising_beyond_the_caches_has_the_bits_of_the_page(samples):
    """Samples of whole vectors, whose lines begin where lines of the cache do, and others."""
    per_sample = BEYOND // samples // 16 * 16 + (3 if samples == 5 else 0)
    data, noise = Noise(2).normal((2, samples, per_sample), dtype=np.float32)
    a, b = Noise(3).normal((2, samples), dtype=np.float32)
    page = ops.noising_forward(data, noise, a, b)[0]
    assert same_bits(numba_cpu.noising_forward(data, noise, a, b)[0], page)
    drawn = numba_cpu.noising_drawn(data, a, b, STREAM, 9)
    for twin, page in zip(drawn, ops.noising_drawn(data, a, b, STREAM, 9), strict=True):
        assert same_bits(twin, page)


def test_adam_beyond_the_caches_has_the_bits_of_the_page():
    p, g, m, average = Noise(4).normal((4, 700_003), dtype=np.float32)
    assert writing.outgrows(p.size, 9)
    arrays, static = (p, g, m, p * p, average), {"step": 3, "lr": 0.01, "decay": 0.9}
    twin, page = (t.adam_ema_step(*arrays, **static) for t in (numba_cpu, ops))
    assert all(same_bits(x, y) for x, y in zip(twin, page, strict=True))
