"""Probabilities of levels: they sum to 1, survive in the tails, and their gradient is exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import erfcx, log_ndtr

from refgen import check
from refgen.objectives.discretized import (
    Bins,
    bits_per_dimension,
    discretized_nll_backward,
    discretized_nll_forward,
    matched,
    tail_ratio,
)

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
logvars = st.sampled_from([-30.0, -12.0, -6.0, -4.0, -2.0, 0.0, 5.0, 30.0])
BINS = st.builds(Bins, st.sampled_from([2, 3, 17, 256]), st.just(-1.0), st.sampled_from([1.0, 3.0]))


def log_p(bins, mean, logvar, x=None):
    """Return log P of every level, or of x, for one mean and log variance."""
    x = bins.levels if x is None else x
    mean, logvar = (np.full((len(x), 1), value) for value in (mean, logvar))
    return -discretized_nll_forward(x[:, None], mean, logvar, bins=bins)[0]


@given(bins=BINS, logvar=logvars, mean=st.floats(-30, 30))
def test_the_probabilities_of_all_levels_sum_to_1(bins, logvar, mean):
    """Ends that were closed would lose what lies outside: at mean 30 nearly everything."""
    rounding = 1e-12 + 1e-15 * np.exp(-0.5 * logvar)  # of the levels, in standard deviations
    assert np.sum(np.exp(log_p(bins, mean, logvar))) == pytest.approx(1, abs=rounding)


@given(bins=BINS, std=st.floats(0.02, 2), mean=st.floats(-2, 2))
def test_a_probability_is_the_integral_of_the_density_over_its_bin(bins, std, mean):
    edges = np.concatenate(
        [
            [min(-1.0, mean) - 12 * std],
            bins.levels[:-1] + 0.5 * bins.width,
            [max(4, mean) + 12 * std],
        ]
    )
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for i in (0, bins.count // 2, bins.count - 1):
        cuts = np.linspace(edges[i], edges[i + 1], 60)
        half = 0.5 * np.diff(cuts)[:, None]
        z = (0.5 * (cuts[1:] + cuts[:-1])[:, None] + half * nodes - mean) / std
        density = np.exp(-0.5 * z * z) / (std * np.sqrt(2 * np.pi))
        exact = np.sum(half * weights * density)
        assert np.exp(log_p(bins, mean, 2 * np.log(std), bins.levels[i : i + 1])[0]) == (
            pytest.approx(exact, rel=1e-10, abs=1e-14)
        )


@given(seed=seeds, bins=BINS)
def test_backward_is_the_adjoint_of_forward(seed, bins):
    """Within bins, in tails, from −30 to 30 in logvar: E z and E z² − 1 are the derivatives."""
    rng = np.random.default_rng(seed)
    x = rng.choice(bins.levels, size=(4, 5))
    logvar = rng.choice([-30.0, -8.0, -4.0, -1.0, 3.0, 30.0], size=x.shape) + rng.normal(
        size=x.shape
    )
    std = np.exp(0.5 * logvar)
    mean = x + rng.normal(size=x.shape) * rng.choice([0.3, 1, 30], size=x.shape) * std
    dnll = rng.normal(size=4)
    _, cache = discretized_nll_forward(x, mean, logvar, bins=bins)
    grads = discretized_nll_backward(dnll, cache)
    directions = [rng.normal(size=x.shape) * std, rng.normal(size=x.shape)]

    def nll(mean, logvar):
        return discretized_nll_forward(x, mean, logvar, bins=bins)[0]

    along = check.complex_step(nll, [mean, logvar], directions)
    assert check.adjoint_gap(directions, list(grads), [dnll], [along]) < 1e-12


def test_the_gradient_is_the_mean_of_the_gaussians_over_the_bin():
    """By quadrature, for a bin on either side of the mean and for both open ends."""
    bins, mean, std = Bins(5), 0.2, 0.4
    _, cache = discretized_nll_forward(
        bins.levels[:, None],
        np.full((5, 1), mean),
        np.full((5, 1), 2 * np.log(std)),
        bins=bins,
    )
    dmean, dlogvar = discretized_nll_backward(np.ones(5), cache)
    z = np.linspace(-15, 15, 300_001)
    density, value = np.exp(-0.5 * z * z), mean + std * z
    for i, level in enumerate(bins.levels):
        low = -np.inf if i == 0 else level - 0.25
        high = np.inf if i == 4 else level + 0.25
        inside = density * ((value > low) & (value <= high))
        assert dmean[i, 0] == pytest.approx(-inside @ z / inside.sum() / std, abs=1e-3)
        assert dlogvar[i, 0] == pytest.approx(-0.5 * inside @ (z * z - 1) / inside.sum(), abs=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_mean_a_probability_and_its_gradient_stay_a_gaussians(dtype):
    """Where a difference of two Φ is 0 and a clipped logarithm has no gradient."""
    bins, x = Bins(256), np.array([[-1.0], [0.5 / 127.5], [1.0]], dtype)
    mean = x + np.array([[40.0], [40.0], [-40.0]], dtype)
    nll, cache = discretized_nll_forward(x, mean, np.zeros((3, 1), dtype), bins=bins)
    dmean, dlogvar = discretized_nll_backward(np.ones(3, dtype), cache)
    assert nll.dtype == dmean.dtype == dtype
    end = -log_ndtr(-40 + 0.5 * bins.width)
    inner = 0.5 * 40**2 + 0.5 * np.log(2 * np.pi) - np.log(bins.width)
    np.testing.assert_allclose(nll, [end, inner, end], rtol=2e-5)
    np.testing.assert_allclose(dmean[:, 0], [40.0, 40.0, -40.0], rtol=1e-2)
    np.testing.assert_allclose(dlogvar[:, 0], -800.0, rtol=1e-2)


@given(t=st.floats(0.02, 3), z=st.floats(-60, 60))
def test_a_bin_in_the_tail_is_a_difference_of_tails(t, z):
    """Short or long, near or far: as scipy's logarithms have it where they do not cancel."""
    std = 1 / 8 / t
    bins, x = Bins(17), np.array([[0.0]])
    found = -discretized_nll_forward(x, -z * std + x, 2 * np.log(std) + x, bins=bins)[0][0]
    upper, lower = log_ndtr(0.5 * t - abs(z)), log_ndtr(-0.5 * t - abs(z))
    exact = upper + np.log(-np.expm1(lower - upper))
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_images_are_summed_over_all_their_axes():
    bins, rng = Bins(5), np.random.default_rng(0)
    x = rng.choice(bins.levels, (3, 2, 2, 1))
    mean, logvar, dnll = rng.normal(size=x.shape), rng.normal(size=x.shape), rng.normal(size=3)
    nll, cache = discretized_nll_forward(x, mean, logvar, bins=bins)
    grads = discretized_nll_backward(dnll, cache)
    rows = (a.reshape(3, 4) for a in (x, mean, logvar))
    flat, flat_cache = discretized_nll_forward(*rows, bins=bins)
    np.testing.assert_array_equal(nll, flat)
    for a, b in zip(grads, discretized_nll_backward(dnll, flat_cache), strict=True):
        np.testing.assert_array_equal(a.reshape(3, 4), b)


def test_mirrored_data_have_the_same_probability():
    bins, rng = Bins(17), np.random.default_rng(0)
    x, mean, logvar = rng.choice(bins.levels, (50, 3)), rng.normal(size=(50, 3)), rng.normal(size=3)
    logvar = logvar + np.zeros((50, 3))
    nll, _ = discretized_nll_forward(x, mean, logvar, bins=bins)
    mirrored, _ = discretized_nll_forward(-x, -mean, logvar, bins=bins)
    np.testing.assert_allclose(nll, mirrored, rtol=1e-12)


def test_the_tail_is_that_of_the_error_function():
    e = np.concatenate([np.linspace(0, 12, 5001), np.logspace(1, 8, 500)])
    exact = np.sqrt(np.pi / 2) * erfcx(e / np.sqrt(2))
    np.testing.assert_allclose(tail_ratio(e), exact, rtol=4e-15)
    single = tail_ratio(e.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=1e-6)


def test_bits_know_how_wide_a_level_is():
    """Uniform data of 16 levels have 4 bits, told as probabilities and as any density of them."""
    assert bits_per_dimension(np.array([3 * np.log(16)]), 3)[0] == pytest.approx(4)
    for width in (1.0, 2 / 15, 1 / 16):  # v, v / 7.5 − 1, v / 16
        density = 1 / (16 * width)  # of v + u, u uniform, as it was scaled
        nats = np.array([-3 * np.log(density)])
        assert bits_per_dimension(nats, 3, width=width)[0] == pytest.approx(4)
    assert bits_per_dimension(np.zeros(1), 5, width=1.0)[0] == 0  # uniform on one level: known


def test_a_dequantised_density_needs_at_least_the_bits_of_its_levels():
    """Any density of x + w u bounds the probabilities of levels that it implies, from above."""
    bins = Bins(5)
    u = (np.arange(2000) + 0.5) / 2000 - 0.5
    mean, std = 0.3, 0.6
    z = (bins.levels[:, None] + bins.width * u - mean) / std
    log_density = -0.5 * z * z - np.log(std * np.sqrt(2 * np.pi))
    dequantised = bits_per_dimension(-log_density.mean(axis=1), 1, width=bins.width)
    implied = bits_per_dimension(-np.log(np.exp(log_density).mean(axis=1) * bins.width), 1)
    inner = bits_per_dimension(-log_p(bins, mean, 2 * np.log(std)), 1)[1:-1]
    np.testing.assert_allclose(implied[1:-1], inner, rtol=1e-6)
    assert np.all(dequantised > implied)
    assert np.max(dequantised - implied) < 0.5


def decoder(ratio, logvar, bins=Bins(17)):  # noqa: B008
    """Return L_0 and H(x_0 | x_1) in bits: first noise ratio · width, exact mean, some variance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    levels, std = bins.levels, ratio * bins.width
    x = (levels[:, None] + std * nodes).ravel()
    weights = np.tile(weights / weights.sum(), len(levels)) / len(levels)
    log_joint = -0.5 * ((x[:, None] - levels) / std) ** 2
    posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    own = np.repeat(np.arange(len(levels)), len(nodes))
    entropy = -weights @ np.log(np.maximum(posterior[np.arange(len(x)), own], 1e-300))
    nll, _ = discretized_nll_forward(
        levels[own][:, None], posterior @ levels[:, None], np.full((len(x), 1), logvar), bins=bins
    )
    return weights @ nll / np.log(2), entropy / np.log(2)


def test_a_first_noise_of_half_a_level_costs_no_more_than_what_it_hides():
    bins = Bins(17)
    fit = matched(bins)
    assert np.sqrt(fit.beta) == pytest.approx(0.5 * bins.width)
    paid, entropy = decoder(0.5, np.log(fit.var))
    assert 0 < paid - entropy < 0.007
    best = minimize_scalar(lambda v: decoder(0.5, v)[0], bounds=(-9, -2), method="bounded")
    assert np.exp(0.5 * best.x) / bins.width == pytest.approx(0.41, abs=0.01)
    wide = decoder(0.5, np.log(fit.beta))  # β_1 for the variance: dearer
    assert wide[0] - entropy > 4 * (paid - entropy)


def test_up_to_a_levels_width_no_first_noise_costs_more_than_three_hundredths_of_a_bit():
    for ratio in (0.1, 0.2, 0.25, 0.3, 0.4, 0.75, 1.0, 5.0):
        best = minimize_scalar(
            lambda v, r=ratio: decoder(r, v)[0], bounds=(-14, 3), method="bounded"
        )
        excess = best.fun - decoder(ratio, 0.0)[1]
        assert excess > -1e-9
        assert (excess < 0.03) == (ratio <= 1)
        if ratio == 0.1:
            assert best.fun < 1e-4
            assert decoder(ratio, 0.0)[1] < 1e-4


def test_data_that_are_no_levels_are_refused():
    bins = Bins(256)
    bins.refuse((np.arange(256, dtype=np.float32) / 127.5 - 1)[None])
    bins.refuse(np.zeros((0, 3)))
    for bad in (0.001, 1.01, np.nan, -1.2):
        with pytest.raises(ValueError, match="none of 256 levels"):
            bins.refuse(np.array([[-1.0, bad]]))
    with pytest.raises(ValueError, match="2 or more levels"):
        Bins(1)
