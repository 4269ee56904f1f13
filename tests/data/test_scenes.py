"""Scenes are read as they are told."""

import numpy as np
import pytest

from refgen.data import load
from refgen.data.captions import LANGUAGES
from refgen.data.scenes import look

pytestmark = pytest.mark.tiny


@pytest.fixture(scope="module")
def knows():
    """Return a judge that knows every digit by heart, and 0 where there is none."""
    digits = load("digits")
    known = {d.tobytes(): k for d, k in zip(digits.data, digits.labels, strict=True)}
    return lambda x: np.array([known.get(d.astype(np.float32).tobytes(), 0) for d in x])


def test_what_was_told_is_read_back(knows):
    """Of every scene: dark ink not made whole, or halves exchanged for rows, and no digit is."""
    scenes = load("scenes")
    seen = look(scenes.data, knows)
    np.testing.assert_array_equal(seen.sentence, scenes.labels)
    said = [LANGUAGES["scenes"].sentences[k].split() for k in seen.sentence[:40]]
    counted = [{"one": 1, "two": 2}[words[0]] for words in said]
    np.testing.assert_array_equal(seen.many[:40], counted)
    np.testing.assert_array_equal(seen.bright[:40], [words[1] == "bright" for words in said])


def test_little_ink_is_none_and_two_kinds_have_no_name(knows):
    scenes = load("scenes")
    two = scenes.data[scenes.labels == 23][:1]  # two dark threes
    other = scenes.data[scenes.labels == 24][:1]
    mixed = np.concatenate([two[:, :, :8], other[:, :, 8:]], axis=2)
    empty = np.full_like(two, -0.6)  # a fifth of full ink everywhere
    seen = look(np.concatenate([two, mixed, empty]), knows)
    np.testing.assert_array_equal(seen.many, [2, 2, 0])
    np.testing.assert_array_equal(seen.noun, [3, -1, -1])
    np.testing.assert_array_equal(seen.sentence, [23, -1, -1])


def test_other_pictures_are_no_scenes(knows):
    with pytest.raises(ValueError, match="scenes are 8 x 16 x 1"):
        look(load("digits").data, knows)
