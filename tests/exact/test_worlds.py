"""What every world must satisfy, at every signal and noise level."""

import numpy as np
import pytest
from scipy import stats

from refgen.check.witness import complex_step
from refgen.exact import Boxes, Deltas, Gaussian, Mixture, noised
from refgen.exact.world import data_from_noise, logsumexp, squared_distances
from refgen.noise import Noise
from tests.exact.worlds import LEVELS, LINES, WORLDS

each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
each_line = pytest.mark.parametrize("world", LINES.values(), ids=LINES)
each_level = pytest.mark.parametrize(("a", "b"), LEVELS)


def points(world, a, b, count=100):
    rng = np.random.default_rng(1)
    data = world.sample(count, Noise(3).at("data"))
    if isinstance(world, Boxes):
        data[::3, 0] = np.round(data[::3, 0])  # inside a box the score vanishes: look at the edges
    return noised(data, rng.normal(size=data.shape), a, b)


@each_world
@each_level
def test_the_score_is_the_gradient_of_the_log_density(world, a, b):
    x = points(world, a, b)
    t = np.random.default_rng(2).normal(size=x.shape)
    score = world.score(x, a, b)
    slope = complex_step(lambda z: world.log_density(z, a, b), [x], [t])
    gap = np.abs(np.sum(score * t, axis=1) - slope)
    assert np.max(np.abs(score)) > 1e-3
    assert np.all(gap <= 1e-12 * np.maximum(np.sum(np.abs(score * t), axis=1), min(1.0, 1 / b)))


@each_world
@each_level
def test_data_and_noise_means_add_up_to_the_point(world, a, b):
    x = points(world, a, b)
    total = a * world.data_mean(x, a, b) + b * world.noise_mean(x, a, b)
    np.testing.assert_allclose(total, x, rtol=1e-12, atol=1e-12 * max(1.0, b))


@each_world
@each_level
def test_the_data_mean_obeys_tweedie(world, a, b):
    """Tweedie: a E[data | x] = x + b² ∇ log p(x)."""
    x = points(world, a, b)
    slopes = [
        complex_step(lambda z: world.log_density(z, a, b), [x], [np.tile(e, (len(x), 1))])
        for e in np.eye(x.shape[1])
    ]
    tweedie = x + b * b * np.stack(slopes, axis=1)
    expected = a * world.data_mean(x, a, b)
    np.testing.assert_allclose(expected, tweedie, atol=1e-12 * max(1.0, b))


@each_world
def test_without_signal_the_data_mean_is_the_mean_of_the_data(world):
    x = np.random.default_rng(0).normal(size=(5, 3))
    data = world.sample(200_000, Noise(0).at("data"))
    mean = world.data_mean(x, 0.0, 1.0)
    np.testing.assert_allclose(mean, np.tile(mean[0], (5, 1)), rtol=1e-13)
    error = np.std(data, axis=0) / np.sqrt(len(data))
    assert np.all(np.abs(mean[0] - np.mean(data, axis=0)) < 4 * error)
    np.testing.assert_allclose(world.noise_mean(x, 0.0, 1.0), x, rtol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "boxes"])
def test_without_noise_the_point_is_the_data(name):
    world = WORLDS[name]
    x = world.sample(50, Noise(0).at("data"))
    np.testing.assert_allclose(world.data_mean(2.0 * x, 2.0, 0.0), x, rtol=1e-12)
    assert np.all(world.noise_mean(2.0 * x, 2.0, 0.0) == 0)
    change = -x.shape[1] * np.log(2.0)
    np.testing.assert_allclose(
        world.log_density(2.0 * x, 2.0, 0.0), world.log_density(x) + change, rtol=1e-12
    )


@each_world
def test_levels_may_differ_from_point_to_point(world):
    a, b = np.array([1.0, 0.5, 0.1, 0.0]), np.array([0.2, 0.9, 1.0, 1.0])
    x = np.random.default_rng(0).normal(size=(4, 3))
    together = [
        world.log_density(x, a, b),
        world.score(x, a, b),
        world.data_mean(x, a, b),
        world.noise_mean(x, a, b),
        world.velocity(x, a, b, b, -a),
    ]
    for i in range(4):
        one, level = x[i : i + 1], (float(a[i]), float(b[i]))
        alone = [
            world.log_density(one, *level),
            world.score(one, *level),
            world.data_mean(one, *level),
            world.noise_mean(one, *level),
            world.velocity(one, *level, level[1], -level[0]),
        ]
        for whole, part in zip(together, alone, strict=True):
            np.testing.assert_allclose(whole[i : i + 1], part, rtol=1e-13, atol=1e-14)


PATHS = {
    "arc": (lambda t: (np.cos(t), np.sin(t)), lambda t: (-np.sin(t), np.cos(t))),
    "line": (lambda t: (t, 1 - t), lambda t: (1.0, -1.0)),
    "exploding": (lambda t: (1.0 + 0 * t, np.exp(2 * t)), lambda t: (0.0, 2 * np.exp(2 * t))),
}


@each_world
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_the_velocity_solves_the_continuity_equation(world, path, t):
    """∂ log p/∂t + div u + u · ∇ log p = 0, each derivative by complex step."""
    level, rate = path
    x = points(world, *level(t))
    u = world.velocity(x, *level(t), *rate(t))
    change = np.imag(world.log_density(x, *level(t + 1e-30j))) / 1e-30
    divergence = np.zeros(len(x))
    for d, e in enumerate(np.eye(x.shape[1])):
        along = complex_step(
            lambda z: world.velocity(z, *level(t), *rate(t)), [x], [np.tile(e, (len(x), 1))]
        )
        divergence += along[:, d]
    carried = np.sum(u * world.score(x, *level(t)), axis=1)
    size = np.abs(change) + np.abs(divergence) + np.abs(carried)
    assert np.min(size) > 1e-3
    assert np.all(np.abs(change + divergence + carried) < 1e-10 * np.maximum(size, 1.0))


@each_line
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.3), (0.6, 0.8), (0.05, 1.0)])
def test_conditional_means_are_what_quadrature_of_bayes_rule_gives(world, a, b):
    """E[data | x] = ∫ d N(x; a d, b²) p(d) dd / ∫ N(x; a d, b²) p(d) dd, by Gauss-Legendre."""
    x = np.array([[-1.7], [-0.2], [0.9], [2.5]])
    nodes, weights = np.polynomial.legendre.leggauss(100)
    edges = np.array([-5, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 5])  # the boxes end on edges
    low, high = edges[:-1, None], edges[1:, None]
    d = (0.5 * (low + high) + 0.5 * (high - low) * nodes).reshape(-1)
    w = (0.5 * (high - low) * weights).reshape(-1) * np.exp(world.log_density(d[:, None]))
    joint = w * stats.norm.pdf(x, a * d, b)  # (4, nodes)
    evidence = np.sum(joint, axis=1)
    data_mean = np.sum(joint * d, axis=1) / evidence
    noise_mean = np.sum(joint * (x - a * d) / b, axis=1) / evidence
    np.testing.assert_allclose(world.log_density(x, a, b), np.log(evidence), rtol=1e-10)
    np.testing.assert_allclose(world.data_mean(x, a, b)[:, 0], data_mean, rtol=1e-10)
    np.testing.assert_allclose(world.noise_mean(x, a, b)[:, 0], noise_mean, rtol=1e-10)


@each_line
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.1), (0.6, 0.8), (0.0, 1.0)])
def test_a_noised_density_integrates_to_one(world, a, b):
    step = 0.005
    x = np.arange(-12, 12, step)[:, None]
    assert np.sum(np.exp(world.log_density(x, a, b))) * step == pytest.approx(1.0, abs=1e-11)


@each_line
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.6, 0.8)])
def test_draws_follow_the_density(world, a, b):
    """Kolmogorov-Smirnov against the distribution function, integrated on a fine grid."""
    x = noised(world.sample(20_000, Noise(5).at("x")), Noise(5).normal((20_000, 1)), a, b)
    grid = np.linspace(-6, 6, 120_001)
    density = np.exp(world.log_density(0.5 * (grid[1:] + grid[:-1])[:, None], a, b))
    cdf = np.concatenate([[0.0], np.cumsum(density) * (grid[1] - grid[0])])
    assert stats.kstest(x[:, 0], lambda z: np.interp(z, grid, cdf)).pvalue > 0.01


@each_world
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(world):
    at = Noise(0).at("data")
    np.testing.assert_array_equal(world.sample(7, at), world.sample(70, at)[:7])
    assert not np.array_equal(world.sample(7, at), world.sample(7, Noise(1).at("data")))


@each_world
def test_points_of_the_wrong_shape_are_refused(world):
    with pytest.raises(ValueError, match="rows of shape"):
        world.log_density(np.zeros(3), 1.0, 1.0)
    with pytest.raises(ValueError, match="rows of shape"):
        world.score(np.zeros((5, 4)), 1.0, 1.0)


def test_logsumexp_survives_what_exp_does_not():
    z = np.array([[-2000.0, -2000.0], [1500.0, -np.inf], [-np.inf, -np.inf]])
    np.testing.assert_allclose(logsumexp(z), [-2000 + np.log(2), 1500, -np.inf], rtol=1e-15)


def test_squared_distances_do_not_cancel():
    x = np.array([[1e8, 1.0]])
    y = np.array([[1e8, 1.0], [1e8 + 1, 1.0], [1e8, 1 + 1e-8]])
    np.testing.assert_allclose(squared_distances(x, y), [[0, 1, 1e-16]], rtol=1e-7)


def test_tweedie_in_one_line_agrees_with_the_world():
    world, (a, b) = WORLDS["mixture"], (0.6, 0.8)
    x = points(world, a, b)
    from_noise = data_from_noise(x, world.noise_mean(x, a, b), a, b)
    np.testing.assert_allclose(from_noise, world.data_mean(x, a, b), atol=1e-12)


def test_worlds_that_are_one_another_agree():
    """A mixture of one component is a Gaussian; narrow components are deltas; so are tiny boxes."""
    x, (a, b) = np.random.default_rng(0).normal(size=(20, 3)), (0.8, 0.4)
    mean = np.array([0.3, -0.2, 0.9])
    one = Mixture(np.ones(1), mean[None], np.array([0.25]))
    gaussian = Gaussian(mean, 0.25 * np.eye(3))
    np.testing.assert_allclose(one.score(x, a, b), gaussian.score(x, a, b), rtol=1e-12)
    np.testing.assert_allclose(one.log_density(x, a, b), gaussian.log_density(x, a, b), rtol=1e-12)
    centres = np.random.default_rng(1).normal(size=(4, 3))
    deltas = Deltas(centres)
    narrow = Mixture(np.full(4, 0.25), centres, np.full(4, 1e-20))
    tiny = Boxes(np.full(4, 0.25), centres - 1e-9, centres + 1e-9)
    for near in (narrow, tiny):
        np.testing.assert_allclose(
            near.log_density(x, a, b), deltas.log_density(x, a, b), rtol=1e-12
        )
        np.testing.assert_allclose(near.data_mean(x, a, b), deltas.data_mean(x, a, b), atol=1e-12)
