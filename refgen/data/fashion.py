r"""The clothes that come with refgen: 2,000 pictures of Fashion-MNIST, 28 × 28, 10 classes.

Shapes     N = 2,000 examples, 200 of each class.   data : (N, 28, 28, 1)    labels : (N,)
Sources    xiao2017-fashion-mnist  (DATA_LICENSE.md says what was changed)

Of the 60,000 training images those 200 of each class are here whose lots are smallest, in the
order of the full set; the lots are drawn at Noise(0).at("data", "fashion", "subset"). 500 of the
2,000, 50 of each class, are held out for good and listed in fashion_split.txt, by lots at
Noise(0).at("data", "fashion", "split").
"""

from pathlib import Path

import numpy as np

from refgen.data.arrays import read_npz
from refgen.data.committed import read_split, stratified, verify
from refgen.data.dataset import Dataset, scale_levels
from refgen.noise import Noise
from refgen.typing import Array

IMAGES = Path(__file__).with_name("fashion.npz")
SPLIT = Path(__file__).with_name("fashion_split.txt")
SHA256 = {
    "fashion.npz": "1ed6512e88d944a572d565e358d90f9a8069bab7566ca36480ecbcd00d50213f",
    "fashion_split.txt": "ea3c06c1c61b6bc870c373669b3ce60ecf4e2c1785d39abaaf9d4a9c2d1d51ae",
}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LEVELS = 256
PER_CLASS, HELD_OUT = 200, 500


def load_fashion() -> Dataset:
    """Load the clothes, v/127.5 − 1 of bytes, with labels and their fixed split.

    Raises LoadError where a file differs from the one that was published.
    """
    for file in (IMAGES, SPLIT):
        verify(file, SHA256[file.name])
    _, raw, labels = read_npz(IMAGES)
    data = scale_levels(raw[..., None], LEVELS)
    return Dataset("fashion", data, labels, "images", LEVELS, read_split(SPLIT))


def draw_subset(labels: Array) -> Array:
    """Return the ascending index of the 2,000 among the labels of all 60,000 training images."""
    order = np.argsort(Noise(0).at("data", "fashion", "subset").uniform(len(labels)), kind="stable")
    chosen = [order[labels[order] == c][:PER_CLASS] for c in range(len(CLASSES))]
    return np.sort(np.concatenate(chosen))


def draw_split(labels: Array) -> Array:
    """Return the ascending index of the held-out examples: what fashion_split.txt was made by."""
    lots = Noise(0).at("data", "fashion", "split").uniform(len(labels))
    return stratified(labels, lots, HELD_OUT)
