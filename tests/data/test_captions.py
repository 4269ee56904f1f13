"""Captions told from pictures and labels, and the scenes that some of them need."""

import numpy as np
import pytest

from refgen.data import load
from refgen.data.captions import (
    CLOTHES,
    LANGUAGES,
    LENGTH,
    Language,
    language,
)
from refgen.data.scenes import HELD_OUT, TRAIN, load_scenes

pytestmark = pytest.mark.tiny
each = pytest.mark.parametrize("spoken", [*LANGUAGES.values(), language("auto", (4, 4, 1), 3)])


def spelled(spoken, words):
    """Return words as a sentence, its plural put together."""
    *rest, noun, ending = (spoken.vocabulary[w] for w in words)
    plural = {"": noun, "-s": noun + ("es" if noun[-1] in "sx" else "s")}[ending]
    return " ".join([*rest, plural])


@each
def test_a_sentence_is_its_number_its_words_and_its_text(spoken):
    """Three ways to say one thing: an index off by one, or two columns swapped, shows here."""
    assert spoken.table.shape == (len(spoken.sentences), LENGTH)
    assert len(set(spoken.sentences)) == len(spoken.sentences)
    assert len(np.unique(spoken.table, axis=0)) == len(spoken.sentences)
    for number, text in enumerate(spoken.sentences):
        assert spoken.read(text) == number
        assert spelled(spoken, spoken.table[number]) == text
    assert spoken.table.min() == 0
    assert spoken.table.max() < len(spoken.vocabulary)
    assert spoken.table[:, :3].min() > 0  # only the ending may be nothing: the empty sentence is
    assert np.array_equal(spoken.words_of(np.array([1, 0])), spoken.table[[1, 0]])


def test_a_digit_s_caption_says_its_class_and_how_bright_it_is():
    digits, spoken = load("digits"), LANGUAGES["digits"]
    numbers = spoken.numbers(digits.data, digits.labels)
    ink = (1 + digits.data.mean(axis=(1, 2, 3))) / 2
    for i in (0, 1, 7, 500):
        count, bright, noun = spoken.sentences[numbers[i]].split()
        assert count == "one"
        assert bright == ("bright" if ink[i] > 0.305 else "dark")
        assert noun == spoken.nouns[digits.labels[i]]
    share = np.mean(numbers >= 10)
    assert 0.4 < share < 0.6
    brighter = np.clip(digits.data + 0.5, -1, 1)
    assert np.mean(spoken.numbers(brighter, digits.labels) >= 10) > 0.95


def test_fashion_has_one_noun_a_class_and_about_as_many_dark_as_bright():
    fashion, spoken = load("fashion"), LANGUAGES["fashion"]
    numbers = spoken.numbers(fashion.data, fashion.labels)
    assert np.array_equal(numbers % 10, fashion.labels)
    assert 0.4 < np.mean(numbers >= 10) < 0.6
    assert CLOTHES[0] == "t-shirt"
    assert CLOTHES[9] == "boot"


def test_scenes_show_what_their_captions_say():
    scenes, spoken = load_scenes(), LANGUAGES["scenes"]
    assert scenes.data.shape == (TRAIN + HELD_OUT, 8, 16, 1)
    ink = (scenes.data[..., 0] + 1) / 2
    halves = np.stack([ink[:, :, :8], ink[:, :, 8:]], axis=1).max(axis=(2, 3))
    sentences = [spoken.sentences[k].split() for k in spoken.numbers(scenes.data, scenes.labels)]
    counts = np.array([{"one": 1, "two": 2}[s[0]] for s in sentences])
    bright = np.array([s[1] == "bright" for s in sentences])
    assert np.array_equal(np.sum(halves > 0, axis=1), counts)
    assert np.all(halves.max(axis=1)[~bright] <= 0.5)
    assert np.all(halves.max(axis=1)[bright] > 0.5)
    assert np.array_equal(np.unique(scenes.labels, return_counts=True)[1], np.full(40, 125))
    alone = halves[counts == 1] > 0
    assert 0.45 < alone[:, 0].mean() < 0.55  # left as often as right


def test_every_digit_of_a_scene_is_of_its_class_and_of_its_part_of_the_split():
    """Held-out scenes are made of held-out digits: otherwise they would measure memory."""
    digits, scenes = load("digits"), load_scenes()
    for own, part, first in zip(digits.split(), scenes.split(), (0, TRAIN), strict=True):
        known = {d.tobytes(): k for d, k in zip(own.data, own.labels, strict=True)}
        assert len(part) == (TRAIN if first == 0 else HELD_OUT)
        for picture, label in list(zip(part.data, part.labels, strict=True))[:200]:
            for half in (picture[:, :8], picture[:, 8:]):
                ink = (half + 1) * 16
                if not ink.any():
                    continue
                bright = label % 20 >= 10
                digit = (ink / (2 if bright else 1) / 8 - 1).astype(np.float32)
                assert known[digit.tobytes()] == label % 10


def test_scenes_are_the_same_every_time():
    assert np.array_equal(load_scenes().data, load_scenes().data)


@pytest.mark.parametrize(
    ("shape", "classes", "name"),
    [
        ((8, 8, 1), 10, "digits"),
        ((28, 28, 1), 10, "fashion"),
        ((8, 16, 1), 40, "scenes"),
        ((8, 8, 1), 3, "things"),
        ((2,), 10, "things"),
    ],
)
def test_a_language_follows_from_the_pictures(shape, classes, name):
    assert language("auto", shape, classes).name == name
    assert language("fashion", shape, classes).name == "fashion"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: language("klingon"), "auto, digits, fashion, scenes"),
        (lambda: LANGUAGES["scenes"].read("two dark three"), "did you mean 'two dark threes'"),
        (lambda: LANGUAGES["digits"].read("xyz"), "it says such as 'one dark zero'"),
        (lambda: LANGUAGES["digits"].read("two dark threes"), "no sentence"),
        (lambda: Language("none", ()), "nouns"),
        (lambda: Language("many", ("a",), most=5), "counts to 1 .. 4"),
    ],
)
def test_what_is_not_said_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_capitals_and_spaces_do_not_count():
    assert LANGUAGES["scenes"].read("  Two DARK   threes ") == LANGUAGES["scenes"].read(
        "two dark threes"
    )
