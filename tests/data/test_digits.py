"""The digits that come with refgen are the published ones, and their split never moves."""

import numpy as np
import pytest

from refgen.data import LoadError, digits, load

pytestmark = pytest.mark.tiny


def test_digits_are_scaled_to_minus_one_and_one_in_seventeen_levels():
    data = load("digits")
    assert data.name == "digits"
    assert data.kind == "images"
    assert data.levels == 17
    assert data.shape == (8, 8, 1)
    assert data.data.dtype == np.float32
    assert np.array_equal(np.unique(data.data), np.arange(17) / 8 - 1)


def test_every_class_has_the_number_of_examples_that_uci_states():
    labels = load("digits").labels
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_first_digit_is_a_zero():
    """Its middle is empty and its rim is not, as printed in the published table."""
    first = (load("digits").data[0, :, :, 0] + 1) * 8
    assert first[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert first[3].tolist() == [0, 4, 12, 0, 0, 8, 8, 0]


def test_the_split_is_a_partition_with_500_held_out():
    data = load("digits")
    train, held_out = data.split()
    assert (len(train), len(held_out)) == (1297, 500)
    inside = np.zeros(1797, dtype=bool)
    inside[data.held_out] = True
    assert inside.sum() == 500
    assert np.array_equal(held_out.data, data.data[inside])
    assert np.array_equal(train.data, data.data[~inside])
    assert np.array_equal(held_out.labels, data.labels[inside])
    assert np.array_equal(train.labels, data.labels[~inside])


def test_each_class_is_held_out_in_proportion_within_one():
    data = load("digits")
    held = np.bincount(data.labels[data.held_out])
    due = np.bincount(data.labels) * (500 / 1797)
    assert np.abs(held - due).max() < 1


def test_the_committed_split_is_the_one_that_is_drawn():
    data = load("digits")
    assert np.array_equal(data.held_out, digits.draw_split(data.labels))


@pytest.mark.parametrize("file", ["IMAGES", "SPLIT"])
def test_a_changed_file_is_refused_by_its_sum(file, tmp_path, monkeypatch):
    original = getattr(digits, file)
    content = bytearray(original.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / original.name
    changed.write_bytes(content)
    monkeypatch.setattr(digits, file, changed)
    with pytest.raises(LoadError, match="sha256"):
        load("digits")


def test_a_missing_file_is_a_load_error(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "IMAGES", tmp_path / "digits.npz")
    with pytest.raises(LoadError, match=r"digits\.npz"):
        load("digits")
