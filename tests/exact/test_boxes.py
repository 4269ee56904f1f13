"""Boxes: both formulas of an interval meet, and edges behave."""

import numpy as np
import pytest
from scipy import stats

from refgen.exact import Boxes
from refgen.exact.boxes import _long_interval, _short_interval, _truncated_normal

UNIT = Boxes(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))


def test_the_two_formulas_of_an_interval_meet_where_one_takes_over():
    middle = np.array([0.0, 0.3, 0.9, 1.5, 5.0, 30.0])
    t = 0.999 / np.maximum(1.0, middle)
    for short, long in zip(_short_interval(middle, t), _long_interval(middle, t), strict=True):
        np.testing.assert_allclose(short, long, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("middle", [-7.0, -0.4, 0.0, 0.6, 7.0])
@pytest.mark.parametrize("t", [1e-6, 0.1, 0.9, 3.0, 20.0])
def test_an_interval_agrees_with_a_truncated_normal(middle, t):
    u, v = np.array(middle + t / 2), np.array(middle - t / 2)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = middle + 0.5 * t * nodes
    density = 0.5 * weights * stats.norm.pdf(z)
    interval = _truncated_normal(u, v)
    mean = np.sum(density * z) / np.sum(density)
    assert interval.log_density == pytest.approx(np.log(np.sum(density)), rel=1e-12)
    assert interval.noise == pytest.approx(mean, rel=1e-11, abs=1e-12)
    fraction = np.sum(density * (0.5 - 0.5 * nodes)) / np.sum(density)
    assert interval.fraction == pytest.approx(fraction, rel=1e-11)


def test_far_from_the_box_the_score_points_back_with_the_strength_of_a_gaussian():
    """From distance r the noise is at least r/b, and hardly more: the score is near −r/b²."""
    score = UNIT.score(np.array([[41.0], [-40.0]]), 1.0, 1.0)
    np.testing.assert_allclose(score[:, 0], [-40.0 - 1 / 40, 40.0 + 1 / 40], rtol=1e-4)


def test_without_noise_the_density_is_flat_inside_and_nothing_outside():
    x = np.array([[0.0], [0.5], [0.999], [1.0], [-0.001]])
    np.testing.assert_array_equal(UNIT.log_density(x), [0, 0, 0, -np.inf, -np.inf])
    np.testing.assert_array_equal(UNIT.score(x), np.zeros((5, 1)))
    np.testing.assert_array_equal(UNIT.data_mean(x, 1.0, 0.0), x)


def test_clean_and_noised_points_may_share_a_batch():
    b = np.array([0.0, 0.5])
    x = np.array([[0.3], [0.3]])
    together = UNIT.log_density(x, 1.0, b)
    assert together[0] == 0.0
    assert together[1] == UNIT.log_density(x, 1.0, 0.5)[1]


def test_without_signal_and_noise_there_is_nothing_to_ask():
    with pytest.raises(ValueError, match="must be > 0"):
        UNIT.score(np.zeros((1, 1)), 0.0, 0.0)


def test_the_entropy_of_boxes_is_the_mean_of_minus_log_density():
    low = np.array([[0.0, 0.0], [2.0, 0.0]])
    boxes = Boxes(np.array([0.25, 0.75]), low, low + np.array([[1.0, 1.0], [3.0, 0.5]]))
    log_p = boxes.log_density(low + 0.1)
    assert boxes.entropy == pytest.approx(-np.sum(boxes.weights * log_p), rel=1e-14)


def test_a_box_without_inside_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Boxes(np.ones(1), np.ones((1, 2)), np.ones((1, 2)))
