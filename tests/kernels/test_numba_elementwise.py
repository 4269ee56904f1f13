"""Twins that do the same to every entry: sizes beyond the caches, and what only they promise."""

import numba
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


# Losses.


def relative(found, exact):
    return np.abs(found - exact) / np.maximum(np.abs(exact), np.finfo(np.float32).tiny)


@pytest.mark.tiny
def test_the_price_of_a_certain_logit_keeps_its_digits():
    """softplus(a) = eᵃ far below 0: 1 + eᵃ would round to 1 there, and the price to 0."""
    logits = np.linspace(-80, 80, 400_001, dtype=np.float32)[:, None]
    nll, _ = numba_cpu.bernoulli_nll_forward(0 * logits, logits)
    exact = np.logaddexp(0.0, logits[:, 0].astype(np.float64))
    assert relative(nll, exact).max() < 4e-7


@pytest.mark.tiny
def test_a_certain_logit_asks_for_no_more_and_infinity_for_no_less():
    logits = np.array([[-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf, np.nan]], np.float32)
    x = np.zeros_like(logits)
    _, cache = numba_cpu.bernoulli_nll_forward(x, logits)
    _, dlogits = numba_cpu.bernoulli_nll_backward(np.ones(1, np.float32), cache)
    np.testing.assert_array_equal(dlogits, [[0, 0, 0.5, 0.5, 1, 1, np.nan]])


@pytest.mark.tiny
def test_the_slope_of_a_certain_logit_keeps_its_digits():
    logits = np.linspace(-80, 80, 400_001, dtype=np.float32)[None]
    _, cache = numba_cpu.bernoulli_nll_forward(0 * logits, logits)
    _, dlogits = numba_cpu.bernoulli_nll_backward(np.ones(1, np.float32), cache)
    assert relative(dlogits, ops.sigmoid(logits.astype(np.float64))).max() < 4e-7


@pytest.mark.tiny
def test_the_gradient_of_a_squared_error_has_the_bits_of_the_page():
    x, target = Noise(5).normal((2, 5, 7, 300), dtype=np.float32)
    dloss = np.arange(5, dtype=np.float32)
    twin, page = (
        t.squared_error_backward(dloss, t.squared_error_forward(x, target)[1])
        for t in (numba_cpu, ops)
    )
    assert all(same_bits(a, b) for a, b in zip(twin, page, strict=True))


@pytest.mark.parametrize("shape", [(4,), (2, 0), (0, 3), (3, 1, 2), (2, 3, 3000)])
def test_a_squared_error_sums_over_every_axis_but_the_first(shape):
    x, target = Noise(6).normal((2, *shape), dtype=np.float32)
    loss, _ = numba_cpu.squared_error_forward(x, target)
    exact = ((x - target).astype(np.float64) ** 2).reshape(len(x), -1 if x.size else 0).sum(1)
    assert loss.shape == shape[:1]
    np.testing.assert_allclose(loss, exact, rtol=1e-6)


# Sums.


def sums(per_sample, samples):
    """Return every sum over samples that a twin makes, of arrays of that size."""
    x, y, z = Noise(7).normal((3, samples, per_sample), dtype=np.float32)
    return (
        numba_cpu.squared_error_forward(x, y)[0],
        numba_cpu.bernoulli_nll_forward(x, y)[0],
        numba_cpu.affine_coupling_forward(x, y, z)[1],
        numba_cpu.reparameterize_kl_forward(x, y, z)[1],
    )


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
@pytest.mark.parametrize(("per_sample", "samples"), [(3, 9001), (784, 60), (5003, 13)])
def test_a_sum_does_not_depend_on_who_adds(per_sample, samples):
    before, results = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(sums(per_sample, samples))
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(x, y) for x, y in zip(*results, strict=True))


def test_a_sum_does_not_depend_on_the_other_samples():
    """Whole samples share a task where they are small; each is still added by itself."""
    x, y = Noise(8).normal((2, 50, 77), dtype=np.float32)
    whole, _ = numba_cpu.squared_error_forward(x, y)
    for n in (0, 17, 49):
        assert numba_cpu.squared_error_forward(x[n : n + 1], y[n : n + 1])[0][0] == whole[n]


def test_long_sums_do_not_lose_what_is_small():
    """Ten million numbers near 1: added one by one in float32 they would stop at 2^24."""
    x = np.full((1, 20_000_000), 1.1, np.float32)
    loss, _ = numba_cpu.squared_error_forward(x, np.zeros_like(x))
    assert loss[0] == pytest.approx(float(x[0, 0]) ** 2 * x.size, rel=1e-6)


# The coupling.


@pytest.mark.parametrize("shape", [(3, 5), (7, 1000), (2, 5003)])
def test_a_coupling_is_undone_by_its_inverse(shape):
    x, shift, log_scale = Noise(9).normal((3, *shape), dtype=np.float32)
    y, _, _ = numba_cpu.affine_coupling_forward(x, shift, log_scale)
    back = numba_cpu.affine_coupling_inverse(y, shift, log_scale)
    np.testing.assert_allclose(back, x, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 5), (7, 1000), (0, 4), (4, 0), (2, 5003)])
def test_the_inverse_of_a_coupling_is_as_accurate_as_the_page(shape):
    arrays = Noise(10).normal((3, *shape), dtype=np.float32)
    gold = ops.affine_coupling_inverse(*arrays.astype(np.float64))
    twin, page = (t.affine_coupling_inverse(*arrays) for t in (numba_cpu, ops))
    error, allowed = (np.abs(a - gold).max(initial=0.0) for a in (twin, page))
    floor = 8 * np.finfo(np.float32).eps * max(1.0, np.abs(gold).max(initial=0.0))
    assert twin.dtype == np.float32
    assert error <= 4 * allowed + floor


def test_what_is_not_float32_goes_to_the_page():
    x = np.ones((2, 3))
    cache = ops.squared_error_forward(x, 2 * x)[1]
    assert numba_cpu.squared_error_backward(np.ones(2), cache)[0].dtype == np.float64
    cache = ops.bernoulli_nll_forward(x, x)[1]
    assert numba_cpu.bernoulli_nll_backward(np.ones(2), cache)[1].dtype == np.float64
    cache = ops.affine_coupling_forward(x, x, x)[2]
    assert numba_cpu.affine_coupling_backward(x, np.ones(2), cache)[2].dtype == np.float64
    assert numba_cpu.affine_coupling_inverse(x, x, x).dtype == np.float64
