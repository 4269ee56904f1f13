"""Metrics against cases whose answer is known without computing it."""

import numpy as np
import pytest

from refgen.data import Dataset, load
from refgen.data.toys import toy
from refgen.exact import Gaussian, Mixture
from refgen.metrics import (
    accuracy,
    against_gaussians,
    baselines,
    bayes_distance,
    can_be_judged,
    class_gap,
    class_shares,
    confusion,
    copy_ratio,
    format_table,
    frechet_distance,
    image_tables,
    judge_table,
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


@pytest.fixture(scope="module")
def pictures():
    """Two classes of 4×4 pictures that no single Gaussian describes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=900)
    centres = 3 * rng.normal(size=(2, 4, 4, 1))
    return centres[labels] + rng.normal(size=(900, 4, 4, 1)), labels, centres


def test_the_table_tells_the_four_rows_apart(pictures):
    images, labels, centres = pictures
    train, held_out, real = images[:500], images[500:700], images[700:]

    def classify(x):
        return np.argmin([np.sum((x - c) ** 2, axis=(1, 2, 3)) for c in centres], axis=0)

    rows = baselines(train, labels[:500], real, Noise(0), 200)
    assert [r.shape for r in rows.values()] == [(200, 4, 4, 1)] * 4
    assert len(np.unique(rows["copies"], axis=0)) == 200
    table = {
        row["samples"]: row
        for row in judge_table(rows, held_out, train, Noise(1), classify=classify)
    }
    assert list(table) == ["gaussian", "class gaussians", "copies", "real"]
    assert table["copies"]["copy_ratio"] == 0.0
    assert table["real"]["copy_ratio"] == pytest.approx(1.0, abs=0.1)
    assert table["gaussian"]["precision"] < 0.8 * table["real"]["precision"]
    assert table["class gaussians"]["precision"] > 0.8 * table["real"]["precision"]
    assert table["gaussian"]["one_nn"] > 0.7 > table["class gaussians"]["one_nn"]
    assert all(row["class_gap"] < 0.15 for row in table.values())
    alone = {"ones": held_out[labels[500:700] == 1][:1].repeat(200, axis=0)}
    gap = judge_table(alone, held_out, train, Noise(1), classify=classify)[0]["class_gap"]
    assert gap == pytest.approx(np.mean(labels[500:700] == 0))
    lines = format_table(list(table.values())).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1


def test_a_table_needs_as_many_samples_as_held_out_images(pictures):
    images, labels, _ = pictures
    with pytest.raises(ValueError, match="needs 200 images"):
        judge_table({"few": images[:10]}, images[500:700], images[:500], Noise(0))
    with pytest.raises(ValueError, match="lower count"):
        baselines(images[:500], labels[:500], images[890:], Noise(0), 200)


def test_class_gaussians_have_the_moments_of_their_class(pictures):
    images, labels, centres = pictures
    rows = baselines(images, labels, images, Noise(0), 900)["class gaussians"].reshape(900, 16)
    nearest = np.argmin(np.linalg.norm(rows[:, None] - centres.reshape(2, 16), axis=2), axis=1)
    for c in range(2):
        own = images[labels == c].reshape(-1, 16)
        error = np.std(own, axis=0) / np.sqrt(np.sum(nearest == c))
        gap = np.mean(rows[nearest == c], axis=0) - np.mean(own, axis=0)
        assert np.all(np.abs(gap) < 4.5 * error)


def test_a_confusion_table_has_the_true_class_in_its_rows():
    labels, found = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 0, 2])
    matrix = confusion(labels, found, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert accuracy(matrix) == np.mean(labels == found)
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert np.allclose(class_shares(found, 4), matrix.sum(axis=0) / 6)


def test_labels_that_no_class_has_are_refused():
    for labels in ([3], [-1], []):
        with pytest.raises(ValueError, match=r"0 \.\. 2"):
            class_shares(np.array(labels, dtype=np.int64), 3)
    with pytest.raises(ValueError, match="do not go with"):
        confusion(np.array([0, 1]), np.array([0]), 2)


def test_the_class_gap_is_what_must_be_moved():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])
    assert class_gap(p, q) == 0.25
    assert class_gap(p, p) == 0
    assert class_gap(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


def test_chance_alone_makes_class_gaps_of_the_size_that_is_stated():
    rng = np.random.default_rng(0)
    draws = [class_shares(rng.integers(0, 10, 500), 10) for _ in range(400)]
    alone = np.mean([class_gap(d, np.full(10, 0.1)) for d in draws])
    between = np.mean([class_gap(*pair) for pair in zip(draws[::2], draws[1::2], strict=True)])
    assert abs(alone - 0.05) < 0.005
    assert abs(between - 0.08) < 0.005


def test_a_system_is_better_than_both_gaussians_or_the_line_names_the_figures():
    good = {"precision": 0.9, "recall": 0.8, "one_nn": 0.6, "frechet": 1.0, "sliced": 0.1}
    bad = {"precision": 0.5, "recall": 0.4, "one_nn": 0.9, "frechet": 3.0, "sliced": 0.2}

    def line(model, first, second):
        sets = {"gan": model, "gaussian": first, "class gaussians": second, "copies": good}
        return against_gaussians([{"samples": name} | row for name, row in sets.items()])

    assert line(good, bad, bad) == "gan is better than the Gaussians"
    assert line(bad, good, bad) == "gan is not better than the Gaussians in any figure"
    assert line(bad, bad, bad) == "gan is not better than the Gaussians in any figure"
    mixed = bad | {"one_nn": 0.55, "frechet": 0.5}
    assert line(good, bad, mixed) == "gan is better than the Gaussians, but for one_nn, frechet"
    below = good | {"one_nn": 0.3}  # copying, not likeness, goes below one half
    assert line(below, bad, mixed | {"frechet": 3.0}) == (
        "gan is better than the Gaussians, but for one_nn"
    )


def test_the_tables_of_a_perfect_and_of_a_copying_system_say_so():
    """Labels stand for the judge: the class of the nearest image of the data set."""
    digits = load("digits")
    train, held_out = digits.split()
    pixels = digits.data.reshape(len(digits), -1)

    def classify(images):
        gaps = np.linalg.norm(pixels[None] - images.reshape(len(images), 1, -1), axis=2)
        return digits.labels[np.argmin(gaps, axis=1)]

    sets = {"perfect": held_out.data, "ones": np.repeat(train.data[train.labels == 1][:1], 500, 0)}
    figures, shares = image_tables(sets, digits, Noise(0), classify=classify)
    rows = {row["samples"]: row for row in figures}
    assert list(rows) == ["perfect", "ones", "gaussian", "class gaussians", "copies", "real"]
    assert rows["perfect"]["precision"] == rows["perfect"]["recall"] == 1
    assert rows["perfect"]["class_gap"] == rows["copies"]["copy_ratio"] == 0
    assert rows["ones"]["class_gap"] > 0.85
    assert 0.9 < rows["real"]["copy_ratio"] < 1.1  # further images, and no copies of the rest
    assert 0.8 < rows["real"]["precision"] < 1
    named = {row["samples"]: [row[str(c)] for c in range(10)] for row in shares}
    assert list(named) == [*rows, "held out"]
    assert named["perfect"] == named["held out"]
    assert named["held out"] == (np.bincount(held_out.labels) / 500).tolist()
    assert named["ones"] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_tables_can_be_of_features():
    def ink(images):
        return np.sort(images.reshape(len(images), -1), axis=1)  # a mirror changes nothing

    digits = load("digits")
    _, held_out = digits.split()
    mirrored = held_out.data[:, :, ::-1]
    on_pixels, none = image_tables({"mirrored": mirrored}, digits, Noise(0))
    on_features, _ = image_tables({"mirrored": mirrored}, digits, Noise(0), features=ink)
    assert none == []
    assert on_pixels[0]["precision"] < 0.5
    assert on_features[0]["precision"] == 1
    for figure in ("sliced", "copy_ratio"):
        assert on_features[0][figure] == on_pixels[0][figure]
    assert next(r for r in on_features if r["samples"] == "copies")["copy_ratio"] == 0


def test_what_lacks_labels_or_images_cannot_be_judged():
    digits = load("digits")
    unlabelled = Dataset("bare", digits.data, None, "images", 17, digits.held_out)
    by_lot = Dataset("lot", digits.data, digits.labels, "images", 17)  # 179 held out
    few = Dataset("few", digits.data[:900], digits.labels[:900], "images", 17)
    named = Dataset("named", digits.data, 1000 * digits.labels, "images", 17, digits.held_out)
    large = np.zeros((1501, 64, 64, 4), dtype=np.float32)
    large = Dataset("large", large, np.zeros(1501, dtype=np.int64), "images", 0, np.arange(600))
    assert can_be_judged(digits)
    for data in (unlabelled, by_lot, few, named, large, load("toy:ring")):
        assert not can_be_judged(data)
        with pytest.raises(ValueError, match="judging needs 500 held-out images"):
            image_tables({}, data, Noise(0))
