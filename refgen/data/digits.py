r"""The digits that come with refgen: 1,797 pictures of 8 × 8, 17 levels of grey, 10 classes.

Shapes     N = 1,797 examples, n_c of them of class c.   data : (N, 8, 8, 1)    labels : (N,)
Sources    alpaydin1998-digits  (DATA_LICENSE.md says what was changed)

500 examples are held out for good, listed in digits_split.txt. They are as many of each class
as is its due, within one: the examples of a class are ranked by lot, r = 0 .. n_c − 1, and the
500 of smallest

    (r + ½) / n_c                                                 (DG.1)

are held out. The lots are drawn at Noise(0).at("data", "digits", "split").
"""

import hashlib
from pathlib import Path

import numpy as np

from refgen.data.arrays import read_npz
from refgen.data.dataset import Dataset, scale_levels
from refgen.data.errors import LoadError, decoding
from refgen.noise import Noise
from refgen.typing import Array

IMAGES = Path(__file__).with_name("digits.npz")
SPLIT = Path(__file__).with_name("digits_split.txt")
SHA256 = {
    "digits.npz": "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e",
    "digits_split.txt": "11f4c8e5f50514147ed65bd86687c3ebd6fae1cc52cc9c6b5c3acb71b39db671",
}
LEVELS = 17  # how many of a block's 16 pixels were black
HELD_OUT = 500


def load_digits() -> Dataset:
    """Load the digits, v/8 − 1 of the values 0 .. 16, with labels and their fixed split.

    Raises LoadError where a file differs from the one that was published.
    """
    for file in (IMAGES, SPLIT):
        _verify(file)
    _, raw, labels = read_npz(IMAGES)
    held_out = np.array(SPLIT.read_text().split(), dtype=np.int64)
    data = scale_levels(raw[..., None], LEVELS)
    return Dataset("digits", data, labels, "images", LEVELS, held_out)


def draw_split(labels: Array) -> Array:
    """Return the ascending index of the held-out examples: what digits_split.txt was made by."""
    order = np.argsort(Noise(0).at("data", "digits", "split").uniform(len(labels)), kind="stable")
    share = np.empty(len(labels))
    for c in np.unique(labels):
        ranked = order[labels[order] == c]
        share[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)  # (DG.1)
    return np.sort(np.argsort(share, kind="stable")[:HELD_OUT])


def _verify(file: Path) -> None:
    with decoding(file):
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != SHA256[file.name]:
        reason = f"its sha256 is {found[:12]}..., not {SHA256[file.name][:12]}..."
        raise LoadError(file, "", reason, "The file was changed: install refgen again.")
