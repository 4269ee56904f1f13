"""Classes, and the tables that systems are shown in, on cases whose answer is known."""

import numpy as np
import pytest

from refgen.data import Dataset, load
from refgen.metrics import (
    accuracy,
    against_gaussians,
    baselines,
    can_be_judged,
    class_gap,
    class_shares,
    confusion,
    format_table,
    image_tables,
    judge_table,
)
from refgen.noise import Noise


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


def test_a_system_is_better_than_both_gaussians_or_the_line_names_the_figures():
    good = {"precision": 0.9, "recall": 0.8, "one_nn": 0.6, "frechet": 1.0, "sliced": 0.1}
    bad = {"precision": 0.5, "recall": 0.4, "one_nn": 0.9, "frechet": 3.0, "sliced": 0.2}

    def line(model, first, second):
        sets = {"gan": model, "gaussian": first, "class gaussians": second, "copies": good}
        return against_gaussians([{"samples": name} | row for name, row in sets.items()])

    assert line(good, bad, bad) == "gan is better than both Gaussians"
    assert line(bad, good, bad) == "gan is in no figure better than both Gaussians"
    assert line(bad, bad, bad) == "gan is in no figure better than both Gaussians"
    mixed = bad | {"one_nn": 0.55, "frechet": 0.5}
    assert line(good, bad, mixed) == "gan is better than both Gaussians, but for one_nn, frechet"
    assert (
        line(bad | {"recall": 0.9}, good, bad) == "gan is better than both Gaussians only in recall"
    )
    below = good | {"one_nn": 0.3}  # copying, not likeness, goes below one half
    assert line(below, bad, mixed | {"frechet": 3.0}) == (
        "gan is better than both Gaussians, but for one_nn"
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
