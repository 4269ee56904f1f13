r"""The digits that come with refgen: 1,797 pictures of 8 × 8, 17 levels of grey, 10 classes.

Shapes     N = 1,797 examples.   data : (N, 8, 8, 1)    labels : (N,)
Sources    alpaydin1998-digits  (DATA_LICENSE.md says what was changed)

500 examples are held out for good, evenly over the classes, and listed in digits_split.txt. The
lots are drawn at Noise(0).at("data", "digits", "split").
"""

from pathlib import Path

from refgen.data.arrays import read_npz
from refgen.data.committed import read_split, stratified, verify
from refgen.data.dataset import Dataset, scale_levels
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
        verify(file, SHA256[file.name])
    _, raw, labels = read_npz(IMAGES)
    data = scale_levels(raw[..., None], LEVELS)
    return Dataset("digits", data, labels, "images", LEVELS, read_split(SPLIT))


def draw_split(labels: Array) -> Array:
    """Return the ascending index of the held-out examples: what digits_split.txt was made by."""
    lots = Noise(0).at("data", "digits", "split").uniform(len(labels))
    return stratified(labels, lots, HELD_OUT)
