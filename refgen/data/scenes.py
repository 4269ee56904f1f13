r"""Scenes: one digit or two of a kind on a wider canvas, dark or bright, made from the digits.

Shapes     N = 5,000 scenes.   data : (N, 8, 16, 1) in [−1, 1]    labels : (N,) in 0 .. 39

Scene i has the caption m = i mod 40 of the language `scenes` (captions.py), so there are as many
of each. Its digits are drawn from those of its class, its one digit stands left or right by lot,
and ink v = 0 .. 16 becomes

    2v where the scene is bright, v where it is dark: 33 levels                        (SN.1)

The last 1,000 scenes are held out and made of held-out digits, the others of training digits only.
All is drawn at Noise(0).at("data", "scenes").
"""

import numpy as np

from refgen.data.captions import BRIGHTNESS, DIGITS, LANGUAGES
from refgen.data.dataset import Dataset, scale_levels
from refgen.data.digits import load_digits
from refgen.noise import Noise
from refgen.typing import Array

TRAIN, HELD_OUT = 4000, 1000
LEVELS = 33


def load_scenes() -> Dataset:
    """Make the scenes, with their captions' numbers for labels and their fixed split."""
    digits, place = load_digits(), Noise(0).at("data", "scenes")
    parts = [
        _scenes(part, count, place.at(name))
        for part, count, name in zip(
            digits.split(), (TRAIN, HELD_OUT), ("train", "held out"), strict=True
        )
    ]
    data = scale_levels(np.concatenate([ink for ink, _ in parts]), LEVELS)
    labels = np.concatenate([labels for _, labels in parts])
    held_out = np.arange(TRAIN, TRAIN + HELD_OUT, dtype=np.int64)
    return Dataset("scenes", data, labels, "images", LEVELS, held_out)


def _scenes(digits: Dataset, count: int, place: Noise) -> tuple[Array, Array]:
    """Return the ink of scenes, 0 .. 32, and their labels."""
    assert digits.labels is not None  # the digits have some
    ink = np.rint(8 * (digits.data + 1))  # v
    labels = np.arange(count, dtype=np.int64) % len(LANGUAGES["scenes"].sentences)
    more, rest = np.divmod(labels, len(BRIGHTNESS) * len(DIGITS))
    bright, kind = np.divmod(rest, len(DIGITS))
    halves = np.zeros((count, 2, *digits.shape))
    for k in range(len(DIGITS)):
        chosen, own = np.flatnonzero(kind == k), ink[digits.labels == k]
        drawn = place.at("digit", k).integers(len(own), (len(chosen), 2))
        halves[chosen] = own[drawn]
    side = place.at("side").integers(2, count)
    alone = np.flatnonzero(more == 0)
    halves[alone, side[alone]] = 0
    halves *= (1 + bright)[:, None, None, None, None]  # (SN.1)
    return np.concatenate([halves[:, 0], halves[:, 1]], axis=2), labels
