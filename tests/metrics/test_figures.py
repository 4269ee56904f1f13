"""Each figure against cases whose answer is known without computing it."""

import numpy as np
import pytest

from refgen.data.toys import toy
from refgen.exact import Gaussian, Mixture
from refgen.metrics import (
    bayes_distance,
    copy_ratio,
    frechet_distance,
    knn_precision_recall,
    mode_statistics,
    nearest_distance,
    one_nn_accuracy,
    sliced_ratio,
    sliced_wasserstein,
)
from refgen.noise import Noise


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_identical_sets_have_precision_and_recall_one():
    x = normal(0, 50, 4, 4, 1)
    assert knn_precision_recall(x, x) == (1.0, 1.0)


def test_disjoint_sets_have_precision_and_recall_zero():
    x = normal(0, 50, 3)
    assert knn_precision_recall(x + 100, x) == (0.0, 0.0)


def test_half_the_modes_cost_recall_and_stray_samples_cost_precision():
    left, right = normal(0, 40, 2), normal(1, 40, 2) + 50
    both = np.concatenate([left, right])
    assert knn_precision_recall(np.concatenate([left, left + 1e-9]), both) == (1.0, 0.5)
    assert knn_precision_recall(both, np.concatenate([left, left + 1e-9])) == (0.5, 1.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_on_a_line_real_points_have_precision_one_minus_four_to_the_minus_k(k):
    """Exact for a Poisson process: each side fails to cover with probability 2⁻ᵏ on its own."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        found += knn_precision_recall(rng.random((800, 1)), rng.random((800, 1)), k=k)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - (1 - 4.0**-k)) < 4 * error + 1e-3  # the ends of the line: ~k/800


def test_precision_needs_neighbours():
    with pytest.raises(ValueError, match="more than 3 points"):
        knn_precision_recall(normal(0, 3, 2), normal(1, 50, 2))


def test_features_replace_pixels():
    x, y = normal(0, 50, 2), normal(1, 50, 2)
    y[:, 1] += 100

    def first(points):
        return points[:, :1]

    assert knn_precision_recall(x, y).precision == 0
    assert knn_precision_recall(x, y, features=first).precision > 0.8
    assert one_nn_accuracy(x, y) == 1
    assert one_nn_accuracy(x, y, features=first) < 0.7
    assert frechet_distance(x, y, features=first) < 1 < frechet_distance(x, y)
    assert copy_ratio(x, x, y, features=first) == 1


def test_copies_have_copy_ratio_zero_and_new_points_about_one():
    train, held_out, new = normal(0, 500, 8), normal(1, 500, 8), normal(2, 500, 8)
    assert copy_ratio(train[:100], held_out, train) == 0.0
    assert copy_ratio(held_out, held_out, train) == 1.0
    assert copy_ratio(new, held_out, train) == pytest.approx(1.0, abs=0.05)
    assert copy_ratio(3 * new, held_out, train) > 1.5
    with pytest.raises(ValueError, match="split them apart"):
        copy_ratio(new, train, train)


def test_nearest_distance_is_the_least_of_all_distances():
    x, y = normal(0, 300, 5) + 1e4, normal(1, 70, 5) + 1e4
    brute = np.min(np.linalg.norm(x[:, None] - y, axis=-1), axis=1)
    np.testing.assert_allclose(nearest_distance(x, y), brute, rtol=1e-12)
    assert np.all(nearest_distance(y, y) == 0)


def test_one_nn_accuracy_is_half_for_one_distribution_one_apart_and_zero_for_copies():
    x, y = normal(0, 1000, 3), normal(1, 1000, 3)
    assert abs(one_nn_accuracy(x, y) - 0.5) < 4 * 0.5 / np.sqrt(1000)
    assert one_nn_accuracy(x + 100, y) == 1.0
    assert one_nn_accuracy(x, x) == 0.0
    with pytest.raises(ValueError, match="equal sets"):
        one_nn_accuracy(x[:10], y)


def test_a_tie_between_the_sets_counts_half():
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert one_nn_accuracy(x, y) == pytest.approx(0.75)  # 1 and 2 stand between both sets


def with_moments(seed, mean, cov):
    """Return points whose sample mean and covariance are exactly these."""
    x = normal(seed, 200, len(mean))
    x -= np.mean(x, axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T)).T)
    return mean + white @ np.linalg.cholesky(cov).T


def test_frechet_distance_of_gaussians_that_commute_is_a_sum_over_axes():
    """|m₁ − m₂|² + Σ (σ₁ − σ₂)² in the common eigenbasis, here turned."""
    basis, _ = np.linalg.qr(normal(0, 3, 3))
    first, second = np.array([0.5, 1.0, 2.0]), np.array([1.5, 0.1, 3.0])
    shift = np.array([1.0, -2.0, 0.5])
    x = with_moments(1, shift, (basis * first**2) @ basis.T)
    y = with_moments(2, np.zeros(3), (basis * second**2) @ basis.T)
    expected = shift @ shift + np.sum((first - second) ** 2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7)


def test_frechet_distance_of_gaussians_that_do_not_commute_uses_the_matrix_root():
    half1, half2 = normal(0, 3, 3), normal(1, 3, 3)
    c1, c2 = half1 @ half1.T, half2 @ half2.T
    roots = np.sqrt(np.linalg.eigvals(c1 @ c2).real)
    expected = np.trace(c1) + np.trace(c2) - 2 * np.sum(roots)
    x, y = with_moments(2, np.zeros(3), c1), with_moments(3, np.zeros(3), c2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_a_shift_costs_its_square_over_the_dimension():
    x, shift = normal(0, 40, 3), np.array([1.0, 2.0, -2.0])
    costs = [sliced_wasserstein(x, x + shift, Noise(s), directions=64) for s in range(100)]
    error = np.std(costs) / 10
    assert 0 < error < 0.05
    assert abs(np.mean(costs) - 3.0) < 4 * error
    assert sliced_wasserstein(x, x[::-1], Noise(0)) == 0.0


def test_on_a_line_sliced_wasserstein_is_the_transport_cost():
    """Two Gaussians on a line: (m₁ − m₂)² + (σ₁ − σ₂)², whatever the direction ±1."""
    x = normal(0, 50_000, 1)
    x = (x - np.mean(x)) / np.std(x)
    assert sliced_wasserstein(3 + 2 * x, x, Noise(0)) == pytest.approx(9 + 1, rel=1e-12)


def test_sliced_wasserstein_refuses_unequal_sets():
    with pytest.raises(ValueError, match="two sets of one shape"):
        sliced_wasserstein(normal(0, 5, 2), normal(0, 6, 2), Noise(0))


def test_the_toy_itself_has_sliced_ratio_one_and_a_collapsed_model_fails_the_bar():
    ring = toy("ring")

    def collapsed(count, noise):
        kept = ring.sample(count, noise)
        kept[:, 1] = np.abs(kept[:, 1])
        return kept

    assert sliced_ratio(ring.sample, ring, Noise(0), 2000) < 1.44
    assert sliced_ratio(collapsed, ring, Noise(0), 2000, draws=3) > 50


def test_modes_of_the_toy_itself_are_all_covered_with_their_weight_and_spread():
    for name, outside in (("ring", np.exp(-4.5)), ("grid", np.exp(-4.5)), ("bimodal", 0.0027)):
        modes = toy(name).modes
        found = mode_statistics(toy(name).sample(10_000, Noise(0)), *modes)
        assert found.covered == len(modes.weights)
        assert np.max(np.abs(found.deviation)) < 3
        np.testing.assert_allclose(found.spread, 1.0, atol=0.1)
        assert abs(found.outside - outside) < 4 * np.sqrt(outside / 10_000)


def test_a_lost_a_faint_and_a_swollen_mode_are_seen():
    means, weights = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), np.full(3, 1 / 3)
    x = normal(0, 3000, 2)
    x[:1000] = 0.5 * x[:1000] + means[1]
    x[1000:1300] = 0.1 * x[1000:1300] + means[2]
    found = mode_statistics(x, means, weights, 0.5)
    np.testing.assert_allclose(found.share, [1700 / 3000, 1 / 3, 0.1])
    assert found.covered == 2  # the third has 300 of 1000 due
    np.testing.assert_allclose(found.spread, [2.0, 1.0, 0.2], rtol=0.1)
    assert found.deviation[2] == pytest.approx((0.1 - 1 / 3) / np.sqrt(2 / 9 / 3000))
    lost = mode_statistics(x[1300:] * 0.5, means, weights, 0.5)
    assert lost.covered == 1
    assert np.isnan(lost.spread[1])


SCHEDULE = np.cos(np.linspace(0, 1.5, 41)), np.sin(np.linspace(0, 1.5, 41))


def test_the_exact_prediction_is_at_distance_zero_and_the_floor_is_the_known_one():
    """For N(0, v): Var(noise | x) = a² v / (a² v + b²) in each coordinate."""
    signal, level = SCHEDULE
    world = Gaussian(np.zeros(2), 0.5 * np.eye(2))

    def exact(x, t):
        return world.noise_mean(x, signal[t], level[t])

    found = bayes_distance(exact, world, signal, level, Noise(0), pairs=40_000)
    power = 0.5 * signal[1:] ** 2
    floor = 2 * power / (power + level[1:] ** 2)
    assert found.ratio == found.excess == 0.0
    assert found.floor == pytest.approx(np.mean(floor), rel=0.02)
    for i, row in enumerate(found.deciles):
        assert (row["t_first"], row["t_last"]) == (4 * i + 1, 4 * i + 4)
        assert row["floor"] == pytest.approx(np.mean(floor[4 * i : 4 * i + 4]), rel=0.1)


def test_a_wrong_prediction_is_at_the_distance_of_its_error():
    signal, level = SCHEDULE
    world = Mixture(np.array([0.5, 0.5]), np.array([[-1.0], [1.0]]), np.array([0.1, 0.1]))

    def shifted(x, t):
        return world.noise_mean(x, signal[t], level[t]) + np.where(t > 20, 0.5, 0.0)[:, None]

    found = bayes_distance(shifted, world, signal, level, Noise(0), pairs=20_000)
    assert found.excess == pytest.approx(0.125, rel=0.05)
    assert found.ratio == pytest.approx(found.excess / found.floor)
    assert [row["excess"] for row in found.deciles] == pytest.approx([0] * 5 + [0.25] * 5)


def test_short_schedules_have_no_deciles():
    with pytest.raises(ValueError, match="T \\+ 1 > 10"):
        bayes_distance(lambda x, t: x, toy("ring"), np.ones(5), np.ones(5), Noise(0))
