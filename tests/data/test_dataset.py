"""What a data set promises: float32, finite, scaled, split and drawn in one fixed way."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.data import Dataset, LoadError, NotInstalledError
from refgen.data.dataset import scale_levels
from refgen.noise import Noise

pytestmark = pytest.mark.tiny


def points(count: int, labels: bool = False) -> Dataset:
    data = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return Dataset("line", data, np.arange(count) if labels else None, "points", 0)


@given(st.integers(2, 400))
def test_a_split_without_a_file_holds_out_a_tenth_and_at_least_one(count):
    train, held_out = points(count, labels=True).split()
    assert len(held_out) == max(1, count // 10)
    both = np.concatenate([train.labels, held_out.labels])
    assert np.array_equal(np.sort(both), np.arange(count))
    assert (np.diff(train.labels) > 0).all()
    assert (np.diff(held_out.labels) > 0).all()
    assert np.array_equal(train.data[:, 0], 2 * train.labels)


def test_the_split_is_the_same_at_every_call_and_not_the_file_s_beginning():
    held = [points(100, labels=True).split()[1].labels for _ in range(2)]
    assert np.array_equal(held[0], held[1])
    lots = Noise(0).at("data", "split").uniform(100)
    assert set(held[0]) == set(np.argsort(lots)[:10])
    assert not np.array_equal(held[0], np.arange(10))


def test_the_parts_of_a_split_do_not_inherit_its_index():
    data = dataclasses.replace(points(20), held_out=np.array([3, 19]))
    train, held_out = data.split()
    assert np.array_equal(held_out.data, data.data[[3, 19]])
    assert train.held_out is None
    assert len(train.split()[1]) == 1


def test_one_example_cannot_be_split():
    with pytest.raises(LoadError, match="single example"):
        points(1).split()


def test_a_batch_is_drawn_by_the_integers_of_its_noise():
    data, noise = points(30, labels=True), Noise(3).at("train", "step", 5)
    batch, labels = data.batch(noise, 64)
    index = noise.integers(30, 64)
    assert np.array_equal(batch, data.data[index])
    assert np.array_equal(labels, index)
    assert points(30).batch(noise, 4)[1] is None


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_reach_both_ends_and_never_pass_them(levels):
    scaled = scale_levels(np.arange(levels), levels)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[-1]) == (-1, 1)
    exact = 2 * np.arange(levels) / (levels - 1) - 1
    assert np.abs(scaled - exact).max() <= np.finfo(np.float32).eps


GOOD = np.zeros((3, 2), dtype=np.float32)
PICTURE = np.zeros((3, 4, 4, 1), dtype=np.float32)
BAD = {
    "empty": (GOOD[:0], None, "points"),
    "no coordinates": (GOOD[:, :0], None, "points"),
    "float64": (GOOD.astype(np.float64), None, "points"),
    "points of rank 1": (GOOD[0], None, "points"),
    "images of rank 3": (PICTURE[..., 0], None, "images"),
    "a NaN": (GOOD + np.array([0, np.nan], dtype=np.float32), None, "points"),
    "an infinity": (PICTURE - np.float32(np.inf), None, "images"),
    "images above 1": (PICTURE + np.float32(1.001), None, "images"),
    "images below -1": (PICTURE - np.float32(1.001), None, "images"),
    "too few labels": (GOOD, np.arange(2), "points"),
    "labels of float": (GOOD, np.arange(3.0), "points"),
    "an unknown kind": (GOOD, None, "sounds"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_data_set_that_breaks_a_promise_cannot_be_built(case):
    data, labels, kind = BAD[case]
    with pytest.raises(LoadError) as caught:
        Dataset("mine", data, labels, kind, 0)
    assert caught.value.file == "mine"


def test_the_first_value_that_is_not_finite_is_named():
    data = GOOD.copy()
    data[1, 1] = np.nan
    with pytest.raises(LoadError, match=r"index \(1, 1\)"):
        Dataset("mine", data, None, "points", 0)


@pytest.mark.parametrize("kind", [LoadError, NotInstalledError])
def test_an_error_is_one_paragraph_and_survives_pickling(kind):
    error = kind("a.npz", "data", "it is empty", "Fill it.")
    assert str(error) == "a.npz[data]: it is empty. Fill it."
    assert str(kind("a.csv", "", "it is empty", "Fill it.")) == "a.csv: it is empty. Fill it."
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.__dict__ == error.__dict__
