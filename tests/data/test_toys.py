"""Toys: named worlds whose draws, density, score and entropy agree."""

import numpy as np
import pytest
from scipy import stats

from refgen.check.witness import complex_step
from refgen.data.toys import NAMES, toy
from refgen.exact import noised
from refgen.noise import Noise

each_toy = pytest.mark.parametrize("name", NAMES)
PLANE = [name for name in NAMES if name != "bimodal"]
CLEAN, NOISED = (1.0, 0.0), (0.8, 0.6)


def draws(name, a, b, count=20_000):
    world = toy(name)
    at = Noise(7).at(name)
    return noised(world.sample(count, at.at("data")), at.normal((count, world.dim)), a, b)


@each_toy
def test_a_toy_lies_in_the_window_of_the_networks(name):
    x = draws(name, *CLEAN)
    assert x.shape == (20_000, toy(name).dim)
    assert x.dtype == np.float64
    assert np.mean(np.max(np.abs(x), axis=1) > 3) < 1e-3
    assert np.all(np.var(x, axis=0) > 0.5)
    assert np.all(np.var(x, axis=0) < 2.3)


@each_toy
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.05), NOISED, (0.01, 1.0)])
def test_the_score_of_a_toy_is_the_gradient_of_its_log_density(name, a, b):
    world, x = toy(name), draws(name, a, b, 300)
    t = np.random.default_rng(0).normal(size=x.shape)
    slope = complex_step(lambda z: world.log_density(z, a, b), [x], [t])
    score = world.score(x, a, b)
    assert np.max(np.abs(score)) > 0.1
    assert np.max(np.abs(np.sum(score * t, axis=1) - slope)) < 1e-12 * np.max(np.abs(score * t))
    means = a * world.data_mean(x, a, b) + b * world.noise_mean(x, a, b)
    np.testing.assert_allclose(means, x, atol=1e-12)
    np.testing.assert_allclose(world.noise_mean(x, a, b), -b * score, atol=1e-12)


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.1), NOISED])
def test_a_noised_toy_integrates_to_one(name, a, b):
    """The trapezoid rule on a square; noise makes every density smooth on the scale of the grid."""
    step = 0.05
    axis = np.arange(-6.0, 6.0, step)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.sum(np.exp(toy(name).log_density(grid, a, b))) * step**2
    assert total == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.1), NOISED])
def test_draws_of_a_toy_fall_in_cells_as_often_as_the_density_says(name, a, b):
    """Chi-square on cells of side ½; the expected counts are integrals of the density."""
    x = draws(name, a, b)
    fine, cells = 0.05, 24
    axis = np.arange(-6.0, 6.0, fine) + fine / 2
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(toy(name).log_density(grid, a, b)) * fine**2
    expected = mass.reshape(cells, 10, cells, 10).sum(axis=(1, 3)) * len(x)
    edges = np.linspace(-6, 6, cells + 1)
    observed, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=[edges, edges])
    often = expected > 5
    rest = expected[~often].sum()
    statistic = np.sum((observed[often] - expected[often]) ** 2 / expected[often])
    degrees = np.sum(often) - 1
    if rest > 5:
        statistic += (observed[~often].sum() - rest) ** 2 / rest
        degrees += 1
    assert stats.chi2.sf(statistic, degrees) > 0.005


@pytest.mark.parametrize(("a", "b"), [CLEAN, NOISED])
def test_draws_of_the_bimodal_toy_follow_its_distribution_function(a, b):
    x = draws("bimodal", a, b)[:, 0]
    std = np.hypot(0.4 * a, b)

    def cdf(z):
        return stats.norm.cdf(z, -1.5 * a, std) / 3 + stats.norm.cdf(z, 1.5 * a, std) * 2 / 3

    assert stats.kstest(x, cdf).pvalue > 0.01


@each_toy
def test_the_entropy_of_a_toy_is_the_mean_of_minus_log_density(name):
    log_p = toy(name).log_density(draws(name, *CLEAN))
    error = np.std(log_p) / np.sqrt(len(log_p))
    assert abs(-np.mean(log_p) - toy(name).entropy) <= 4 * error + 1e-12


@pytest.mark.parametrize(("name", "count"), [("ring", 8), ("grid", 25), ("bimodal", 2)])
def test_modes_stand_apart(name, count):
    means, weights, std = toy(name).modes
    assert means.shape == (count, toy(name).dim)
    assert np.sum(weights) == pytest.approx(1.0, abs=1e-15)
    gaps = np.linalg.norm(means[:, None] - means, axis=-1) + 9 * np.eye(count)
    assert np.min(gaps) > 7 * np.max(std)


@pytest.mark.parametrize("name", ["moons", "spiral", "pinwheel"])
def test_a_curve_looks_continuous(name):
    """Neighbouring components are no farther apart than their std, so no bead can be seen."""
    world = toy(name).world
    assert toy(name).modes is None
    gaps = np.linalg.norm(np.diff(world.means, axis=0), axis=1)
    std = np.sqrt(world.var[1:])
    jumps = gaps > 2 * std
    assert np.sum(jumps) == {"moons": 1, "spiral": 0, "pinwheel": 4}[name]
    assert np.all(gaps[~jumps] <= std[~jumps])


def test_the_checkerboard_fills_the_squares_of_one_colour():
    x = draws("checkerboard", *CLEAN)
    assert np.all(np.sum(np.floor(x), axis=1) % 2 == 0)
    np.testing.assert_allclose(toy("checkerboard").log_density(x), -np.log(8), rtol=1e-14)
    other = toy("checkerboard").log_density(np.array([[-1.5, -0.5], [2.5, 0.5]]))
    assert np.all(other == -np.inf)


def test_the_ring_and_the_pinwheel_have_their_symmetry():
    for name, order in (("ring", 8), ("pinwheel", 5)):
        x = draws(name, *NOISED, 100)
        c, s = np.cos(2 * np.pi / order), np.sin(2 * np.pi / order)
        turned = x @ np.array([[c, s], [-s, c]])
        np.testing.assert_allclose(
            toy(name).log_density(turned, *NOISED), toy(name).log_density(x, *NOISED), atol=1e-10
        )


def test_an_unknown_toy_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'checkerboard'"):
        toy("chekerboard")
    with pytest.raises(ValueError, match="there are ring"):
        toy("?")
