"""Mixtures of Gaussians: the classifier, the entropy, what is refused."""

import numpy as np
import pytest

from refgen.check.witness import complex_step
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from tests.exact.worlds import LINES, WORLDS


def test_responsibilities_are_bayes_rule():
    """Posterior ∝ weight × density of the component, each density from its own Gaussian."""
    world, (a, b) = WORLDS["mixture"], (0.6, 0.8)
    x = np.random.default_rng(0).normal(size=(20, 3))
    parts = [
        w * np.exp(Gaussian(m, v * np.eye(3)).log_density(x, a, b))
        for w, m, v in zip(world.weights, world.means, world.var, strict=True)
    ]
    joint = np.stack(parts, axis=1)
    expected = joint / np.sum(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(world.responsibilities(x, a, b), expected, rtol=1e-11)


def test_the_score_of_a_class_is_the_score_plus_the_slope_of_its_classifier():
    world, (a, b) = WORLDS["mixture"], (0.6, 0.8)
    x = np.random.default_rng(0).normal(size=(20, 3))
    t = np.random.default_rng(1).normal(size=x.shape)
    for k in range(3):
        of_class = np.sum(world.components([k]).score(x, a, b) * t, axis=1)
        slope = complex_step(lambda z, k=k: np.log(world.responsibilities(z, a, b)[:, k]), [x], [t])
        marginal = np.sum(world.score(x, a, b) * t, axis=1)
        np.testing.assert_allclose(of_class, marginal + slope, atol=1e-11)


def test_entropy_by_quadrature_is_exact_where_it_is_known():
    std = np.array([0.3])
    one = Mixture(np.ones(1), np.array([[0.2]]), std**2)
    known = float(0.5 * np.log(2 * np.pi * np.e * std**2)[0])
    assert one.entropy == pytest.approx(known, abs=1e-12)
    plane = Mixture(np.ones(1), np.zeros((1, 2)), std**2)
    assert plane.entropy == pytest.approx(2 * known, abs=1e-12)
    far = Mixture(np.array([0.5, 0.5]), np.array([[-9.0], [9.0]]), np.full(2, 0.09))
    assert far.entropy == pytest.approx(known + np.log(2), abs=1e-12)


def test_entropy_by_quadrature_and_by_draws_agree():
    world = LINES["mixture"]
    value, error = world.entropy_estimate(40_000, Noise(0))
    assert 0 < error < 0.01
    assert abs(value - world.entropy) < 4 * error


def test_entropy_in_many_dimensions_points_to_the_estimate():
    with pytest.raises(ValueError, match="entropy_estimate"):
        _ = WORLDS["mixture"].entropy


def test_labels_are_the_components_of_the_draw():
    world = Mixture(np.array([0.1, 0.9]), np.array([[-50.0], [50.0]]), np.ones(2))
    at = Noise(0).at("data")
    labels, x = world.labels(5000, at), world.sample(5000, at)
    np.testing.assert_array_equal(labels, (x[:, 0] > 0).astype(int))
    assert abs(np.mean(labels) - 0.9) < 4 * np.sqrt(0.09 / 5000)


def test_the_score_stays_finite_far_out_and_with_little_noise():
    world = WORLDS["mixture"]
    x = np.array([[1e3, -1e3, 1e3], [0.0, 0.0, 0.0]])
    score = world.score(x, 1.0, 1e-8)
    assert np.all(np.isfinite(score))
    k = np.argmax(world.responsibilities(x, 1.0, 1e-8), axis=1)
    pull = (world.means[k] - x) / (world.var[k] + 1e-16)[:, None]
    np.testing.assert_allclose(score[0], pull[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("weights", "var", "words"),
    [
        (np.array([0.5, 0.6]), np.ones(2), "sum to 1"),
        (np.array([1.0, 0.0]), np.ones(2), "weight 0"),
        (np.array([0.5, 0.5]), np.array([1.0, 0.0]), "positive var"),
        (np.array([0.5, 0.5]), np.ones(3), "positive var"),
    ],
)
def test_what_is_not_a_mixture_is_refused(weights, var, words):
    with pytest.raises(ValueError, match=words):
        Mixture(weights, np.zeros((2, 2)), var)
