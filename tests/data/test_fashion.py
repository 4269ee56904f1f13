"""The clothes that come with refgen are the published ones, and their split never moves."""

from pathlib import Path

import numpy as np
import pytest

from refgen.data import LoadError, fashion, load
from refgen.data.arrays import read_npz
from refgen.data.idx import read_idx

pytestmark = pytest.mark.tiny
INSTALLED = Path("/usr/share/datasets/fashion-mnist")


def test_clothes_are_bytes_scaled_to_minus_one_and_one():
    data = load("fashion")
    assert (data.name, data.kind, data.levels) == ("fashion", "images", 256)
    assert data.shape == (28, 28, 1)
    assert data.data.dtype == np.float32
    values = (data.data + 1) * 127.5
    assert np.abs(values - np.round(values)).max() < 1e-4
    assert (data.data.min(), data.data.max()) == (-1, 1)


def test_there_are_two_hundred_of_each_class_and_fifty_are_held_out():
    data = load("fashion")
    assert np.bincount(data.labels).tolist() == [200] * 10
    train, held_out = data.split()
    assert np.bincount(train.labels).tolist() == [150] * 10
    assert np.bincount(held_out.labels).tolist() == [50] * 10


def test_trousers_have_two_legs_and_no_picture_is_twice_there():
    """The label belongs to its picture."""
    data = load("fashion")
    trousers = (data.data[data.labels == 1, :, :, 0].mean(axis=0) + 1) / 2
    assert trousers[2:6, 13:15].mean() > 2 * trousers[20:26, 13:15].mean()
    shirts = (data.data[data.labels == 0, :, :, 0].mean(axis=0) + 1) / 2
    assert shirts[20:26, 13:15].mean() > 2 * trousers[20:26, 13:15].mean()
    assert len(np.unique(data.data.reshape(2000, -1), axis=0)) == 2000


def test_the_committed_split_is_the_one_that_is_drawn():
    data = load("fashion")
    assert np.array_equal(data.held_out, fashion.draw_split(data.labels))


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="dataset-fashion-mnist is not installed here")
def test_the_subset_is_the_one_that_is_drawn_from_the_published_training_images():
    labels = read_idx(INSTALLED / "train-labels-idx1-ubyte.gz")
    images = read_idx(INSTALLED / "train-images-idx3-ubyte.gz")
    rows = fashion.draw_subset(labels)
    _, raw, own = read_npz(fashion.IMAGES)
    assert np.array_equal(raw, images[rows])
    assert np.array_equal(own, labels[rows])


@pytest.mark.parametrize("file", ["IMAGES", "SPLIT"])
def test_a_changed_file_is_refused_by_its_sum(file, tmp_path, monkeypatch):
    original = getattr(fashion, file)
    content = bytearray(original.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / original.name
    changed.write_bytes(content)
    monkeypatch.setattr(fashion, file, changed)
    with pytest.raises(LoadError, match="sha256"):
        load("fashion")
