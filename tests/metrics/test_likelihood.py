"""Bits per dimension: what levels cost, however they were mapped, and who needs no network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.data import Dataset, load
from refgen.exact import Gaussian
from refgen.metrics.likelihood import (
    baseline_bits,
    bits_of,
    density_bits,
    dequantised_gaussian,
    gaussian_bits,
    histogram_bits,
    mixture_bits,
)
from refgen.noise import Noise
from refgen.objectives.discretized import Bins

pytestmark = pytest.mark.tiny
L, SHAPE = 5, (2, 2, 1)
MAPS = (Bins(L), Bins(L, 0.0, 1.0), Bins(L, 0.0, L - 1.0), Bins(L, 3.0, 50.0))


def images(bins, count=400, seed=0):
    """Return the same levels, uneven and dependent, as a map of the data makes them."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 3, (count, 1, 1, 1)) + rng.binomial(2, 0.3, (count, *SHAPE))
    return bins.low + bins.width * level


def labels(bins):
    return np.round((images(bins)[:, 0, 0, 0] - bins.low) / bins.width).astype(np.int64) // 2


@pytest.mark.parametrize("bins", MAPS, ids=str)
def test_no_map_of_the_data_moves_the_bits(bins):
    """A Jacobian that is forgotten, or has the wrong sign, moves them by log₂ of the width."""
    for cost in (
        lambda b: gaussian_bits(images(b), images(b, 50, 1), b, Noise(3)),
        lambda b: mixture_bits(images(b), labels(b), images(b, 50, 1), b, Noise(3)),
        lambda b: histogram_bits(images(b), images(b, 50, 1), b),
    ):
        np.testing.assert_allclose(cost(bins), cost(MAPS[2]), rtol=1e-9)


@pytest.mark.parametrize("bins", MAPS, ids=str)
def test_a_uniform_density_costs_the_logarithm_of_what_it_covers(bins):
    """Uniform on all bins it is log₂ L, exactly: in nats, or with a log 2 too few, it is not."""
    width = bins.width

    def uniform(x):
        assert np.all(x >= bins.low - 0.5 * width)
        assert np.all(x <= bins.high + 0.5 * width)
        return np.full(len(x), -4 * np.log(L * width))

    found = density_bits(uniform, images(bins), bins, Noise(0))
    assert found.mean == pytest.approx(np.log2(L), rel=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_the_histogram_pays_the_entropy_of_its_pixels():
    bins = MAPS[0]
    x = images(bins)
    level = np.round((x - bins.low) / bins.width).reshape(len(x), -1)
    entropy = 0.0
    for pixel in level.T:
        p = np.unique(pixel, return_counts=True)[1] / len(pixel)
        entropy -= np.sum(p * np.log2(p)) / 4
    assert histogram_bits(x, x, bins, more=0).mean == pytest.approx(entropy, rel=1e-12)
    assert histogram_bits(x, x, bins).mean > entropy
    unseen = np.full((1, *SHAPE), bins.low)
    assert histogram_bits(x[level.min(axis=1) > 0], unseen, bins, more=0).mean == np.inf
    sure = histogram_bits(unseen, unseen, bins)  # one image, one more for each of L levels
    assert sure.mean == pytest.approx(-np.log2(2 / (1 + L)))


@given(seed=st.integers(0, 2**31))
def test_uniform_noise_bounds_the_bits_of_the_levels(seed):
    """By Jensen: the density's own probability of a level's bin costs less than its mean."""
    rng, bins = np.random.default_rng(seed), Bins(L)
    world = Gaussian(rng.normal(size=1) * 0.3, np.array([[rng.uniform(0.05, 0.5)]]))
    x = np.repeat(bins.levels, 200)[:, None]
    fine = (np.arange(2000) + 0.5) / 2000 - 0.5
    p = [np.mean(np.exp(world.log_density(v + bins.width * fine[:, None]))) for v in bins.levels]
    exact = -np.mean(np.log2(np.array(p) * bins.width))
    found = density_bits(world.log_density, x, bins, Noise(seed))
    assert found.mean > exact - 4 * found.standard_error


def test_the_fitted_gaussian_is_that_of_the_dequantised_data():
    """The noise has a twelfth of a squared width: with all of it the variance is too large."""
    bins = MAPS[3]
    x = images(bins, 200_000).reshape(200_000, 4)
    noisy = x + bins.width * (np.random.default_rng(1).random(x.shape) - 0.5)
    fitted = dequantised_gaussian(x, bins)
    np.testing.assert_allclose(fitted.cov, np.cov(noisy.T), rtol=0.02, atol=0.02)
    np.testing.assert_allclose(fitted.mean, noisy.mean(axis=0), rtol=0.01)


def test_classes_that_lie_apart_cost_their_names_and_each_its_own_gaussian():
    """Two equal classes far apart: half a Gaussian's density each, so one bit an image more."""
    bins = Bins(201)
    rng = np.random.default_rng(0)
    near = bins.width * rng.integers(-8, 9, size=(2000, 1))
    far = np.concatenate([near[:1000] - 0.7, near[1000:] + 0.7])
    far = bins.low + bins.width * np.round((far - bins.low) / bins.width)
    both = mixture_bits(far, np.arange(2000) // 1000, far, bins, Noise(0)).mean
    single = np.mean(
        [gaussian_bits(part, part, bins, Noise(0)).mean for part in (far[:1000], far[1000:])]
    )
    assert both == pytest.approx(single + 1, abs=0.02)


def test_the_mean_has_the_standard_error_of_its_images():
    nats = np.log(2) * np.array([2.0, 4.0, 6.0])
    assert bits_of(nats, 2) == pytest.approx((2.0, 1 / np.sqrt(3)))
    assert bits_of(nats, 2, width=0.5).mean == pytest.approx(3.0)
    assert np.isnan(bits_of(nats[:1], 2).standard_error)


def test_the_digits_cost_what_they_are_known_to_cost_without_a_network():
    found = baseline_bits(load("digits"), Bins(17), Noise(0).at("baselines"))
    assert found["gaussian"].mean == pytest.approx(2.92, abs=0.02)
    assert found["class gaussians"].mean == pytest.approx(2.59, abs=0.02)
    assert found["pixel histogram"].mean == pytest.approx(2.417, abs=0.001)
    assert all(0 < row.standard_error < 0.03 for row in found.values())


def test_data_without_labels_or_off_the_levels():
    x = images(Bins(L)).astype(np.float32)
    named = baseline_bits(Dataset("some", x, None, "images", L), Bins(L), Noise(0))
    assert set(named) == {"gaussian", "pixel histogram"}
    with pytest.raises(ValueError, match="none of 17 levels"):
        baseline_bits(Dataset("some", 0.99 * x, None, "images", 0), Bins(17), Noise(0))
    with pytest.raises(ValueError, match="none of 5 levels"):
        histogram_bits(x, x + 0.1, Bins(L))
    with pytest.raises(ValueError, match="none of 5 levels"):
        gaussian_bits(x, x + 0.1, Bins(L), Noise(0))
