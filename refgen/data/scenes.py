r"""Scenes: one digit or two of a kind on a wider canvas, dark or bright, made from the digits.

Shapes     N = 5,000 scenes.   data : (N, 8, 16, 1) in [−1, 1]    labels : (N,) in 0 .. 39
           many, bright, noun : (N,)

Scene i has the caption m = i mod 40 of the language `scenes` (captions.py), so there are as many
of each. Its digits are drawn from those of its class, its one digit stands left or right by lot,
and ink v = 0 .. 16 becomes

    2v where the scene is bright, v where it is dark: 33 levels                        (SN.1)

The last 1,000 scenes are held out and made of held-out digits, the others of training digits only.
All is drawn at Noise(0).at("data", "scenes").

To read a scene is to go back. With h the largest ink of a half, 0 .. 1 of the scale,

    many = halves with h > ¼,   bright = the largest h of both > ¾                   (SN.2)
    noun = what a judge of digits calls each half that counts, its ink v again        (SN.3)

for the darkest digits reach 0.4 and dark ones no more than ½. Halves that are called differently
have no noun, and an empty scene has none.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refgen.data.captions import BRIGHTNESS, DIGITS, LANGUAGES
from refgen.data.dataset import Dataset, scale_levels
from refgen.data.digits import load_digits
from refgen.noise import Noise
from refgen.typing import Array

TRAIN, HELD_OUT = 4000, 1000
SHAPE, LEVELS = (8, 16, 1), 33
PRESENT, BRIGHT = 0.25, 0.75  # ink that a digit has, and that a dark one has not


class Seen(NamedTuple):
    """What scenes show."""

    many: Array  # (N,) 0, 1 or 2
    bright: Array  # (N,) 0 or 1
    noun: Array  # (N,) 0 .. 9, −1 where there is none or two that differ

    @property
    def sentence(self) -> Array:
        """The number of each scene's sentence, −1 where none says it."""
        kinds, said = len(DIGITS), (self.many > 0) & (self.noun >= 0)
        number = self.noun + kinds * self.bright + 2 * kinds * (self.many - 1)
        return np.where(said, number, -1)


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


def look(scenes: Array, judge: Callable[[Array], Array]) -> Seen:
    """Return what scenes show; judge names digits, (N, 8, 8, 1) in [−1, 1] -> (N,).

    Raises ValueError for pictures of another shape.
    """
    height, width, channels = SHAPE
    if scenes.shape[1:] != SHAPE:
        raise ValueError(f"scenes are {height} x {width} x {channels}, not {scenes.shape[1:]}")
    halves = np.stack(np.split((scenes + 1) / 2, 2, axis=2), axis=1)  # (N, 2, 8, 8, 1)
    most = np.max(halves, axis=(2, 3, 4))
    there, bright = most > PRESENT, np.max(most, axis=1) > BRIGHT
    many = np.sum(there, axis=1)  # (SN.2)
    full = np.clip(2 * halves / (1 + bright)[:, None, None, None, None], 0, 1)
    named = judge(np.reshape(2 * full - 1, (-1, height, width // 2, channels)))
    left, right = np.reshape(named, (-1, 2)).T
    noun = np.where(there[:, 0], left, right)
    noun = np.where((many == 0) | ((many == 2) & (left != right)), -1, noun)  # (SN.3)
    return Seen(many, bright.astype(np.int64), noun)


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
