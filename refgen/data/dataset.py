r"""A data set: float32 examples, their labels, how they are scaled and how they are split.

Shapes     N examples, D coordinates, H W C height, width and channels, L levels, K classes
           data : (N, H, W, C) in [−1, 1], or (N, D) as they are    labels : (N,) in 0 .. K − 1

Images that store the integers v = 0 .. L − 1 are scaled to [−1, 1], both ends reached:

    x = v / (½ (L − 1)) − 1                                       (DS.1)

so a digit is v/8 − 1 and a byte v/127.5 − 1. Where a data set brings no split of its own, a tenth
of it, and at least one example, is held out by lot. With u_i the i-th uniform draw at the address
Noise(0).at("data", "split"),

    held out = the max(1, ⌊N/10⌋) examples of smallest u_i        (DS.2)
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from refgen.data.errors import LoadError
from refgen.noise import Draw, Noise, words
from refgen.typing import Array

AXES = "Images are (N, H, W) or (N, H, W, C) with at most 4 channels, points (N, D)."


@dataclass(frozen=True, eq=False)
class Examples:
    """What training draws from, wherever it lives."""

    data: Array  # (N, *shape)
    labels: Array | None  # (N,)

    def batch(self, noise: Noise, size: int, words: Draw = words) -> tuple[Array, Array | None]:
        """Return (data[i], labels[i]) with i = noise.integers(N, size): with replacement.

        The second is None where there are no labels. `words` draws where the examples live.
        """
        index = noise.integers(len(self.data), size, words=words)
        return self.data[index], None if self.labels is None else self.labels[index]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples ready for training.

    `levels` is the number L of values that a pixel can take, 0 for continuous data. `held_out` is
    the index of a split that is fixed by a file; without it `split` draws lots. `member` is what
    the array is called where it was read, "" where it has no name. Raises LoadError for data that
    are empty, not finite, of the wrong rank or type, or images outside [−1, 1].
    """

    name: str
    data: Array  # (N, *shape) float32
    labels: Array | None  # (N,) int64
    kind: Literal["images", "points"]
    levels: int
    held_out: Array | None = None  # (M,) int64, ascending
    member: str = "data"

    def __post_init__(self) -> None:
        def refuse(member: str, reason: str, remedy: str) -> None:
            raise LoadError(self.name, member, reason, remedy)

        if self.kind not in ("images", "points"):
            refuse("kind", f"no kind of data is called {self.kind!r}", "Use images or points.")
        if self.data.ndim != (4 if self.kind == "images" else 2):
            refuse(self.member, f"{self.kind} cannot have the shape {self.data.shape}", AXES)
        if self.data.size == 0 or self.data.dtype != np.float32:
            shape, dtype = self.data.shape, self.data.dtype
            refuse(self.member, f"{shape} of {dtype} is empty or not float32", "Give float32 data.")
        finite = np.isfinite(self.data)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            remedy = "Replace NaN and Inf, and scale values beyond 3.4e38, before loading."
            refuse(self.member, f"its value at index {where} is not a finite float32", remedy)
        if self.kind == "images" and max(self.data.max(), -self.data.min()) > 1:
            refuse(
                self.member, "images reach beyond [-1, 1]", "Scale them, or store bytes 0 to 255."
            )
        if self.labels is not None and (
            self.labels.shape != (len(self),) or self.labels.dtype != np.int64
        ):
            shape, dtype = self.labels.shape, self.labels.dtype
            remedy = f"Give int64 of shape ({len(self)},), one label an example."
            refuse("labels", f"labels cannot be {shape} of {dtype}", remedy)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: data.shape[1:]."""
        return self.data.shape[1:]

    def split(self) -> tuple["Dataset", "Dataset"]:
        """Return (train, held out): a partition, the same at every call, each in file order.

        The held-out part is data[held_out], or a tenth by lot (DS.2) where held_out is None.
        Raises LoadError for a single example.
        """
        if len(self) < 2:
            reason = "a single example cannot be split into training and held-out data"
            raise LoadError(self.name, self.member, reason, "Give two examples or more.")
        index = self.held_out
        if index is None:
            lots = Noise(0).at("data", "split").uniform(len(self))
            index = np.argsort(lots, kind="stable")[: max(1, len(self) // 10)]  # (DS.2)
        out = np.zeros(len(self), dtype=bool)
        out[index] = True
        return self._where(~out), self._where(out)

    def batch(self, noise: Noise, size: int, words: Draw = words) -> tuple[Array, Array | None]:
        """Return a draw of examples with replacement; see Examples.batch."""
        return Examples(self.data, self.labels).batch(noise, size, words)

    def _where(self, chosen: Array) -> "Dataset":
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, data=self.data[chosen], labels=labels, held_out=None)


def dataset_of(file: Path, member: str, raw: Array, labels: Array | None) -> Dataset:
    """Return the data set of an array as read from a file: (N, D) points, (N, H, W[, C]) images.

    Integer images hold 0 .. 255. Float images lie in [−1, 1] and are taken as they are, or in
    [0, 1] and are stretched to [−1, 1]. Raises LoadError for other ranges and ranks.
    """
    if raw.ndim == 2:
        return Dataset(str(file), _float32(raw), labels, "points", 0, member=member)
    if raw.ndim not in (3, 4) or (raw.ndim == 4 and raw.shape[3] > 4):
        channels_first = raw.ndim == 4 and raw.shape[1] <= 4
        remedy = "Channels stand last: save np.moveaxis(images, 1, -1)." if channels_first else AXES
        raise LoadError(file, member, f"its shape {raw.shape} is not a data set's", remedy)
    raw = raw if raw.ndim == 4 else raw[..., None]
    integers = raw.dtype.kind in "ui"
    least, most = (0, 255) if integers else (-1, 1)
    with np.errstate(invalid="ignore"):  # NaN passes here, and is refused by Dataset
        low, high = raw.min(), raw.max()
        outside, above_zero = low < least or high > most, low >= 0
    if outside:
        reason = f"its pixels lie in {low:g} .. {high:g}"
        remedy = "Store integers 0 to 255, or floats in [0, 1] or [-1, 1]."
        raise LoadError(file, member, reason, remedy)
    if integers:
        return Dataset(str(file), scale_levels(raw, 256), labels, "images", 256, member=member)
    data = scale_levels(raw, 2) if above_zero else _float32(raw)
    return Dataset(str(file), data, labels, "images", 0, member=member)


def scale_levels(values: Array, levels: int) -> Array:
    """Return float32 in [−1, 1] of values in 0 .. levels − 1.

    >>> scale_levels(np.array([0, 8, 16], dtype=np.uint8), 17)
    array([-1.,  0.,  1.], dtype=float32)
    """
    scaled = np.divide(values, (levels - 1) / 2, dtype=np.float32)
    scaled -= 1  # (DS.1)
    return scaled


def labels_of(file: Path, member: str, raw: Array, count: int) -> Array:
    """Return labels as int64 (count,). Raises LoadError unless they are integers from 0 on."""
    if raw.shape != (count,):
        reason = f"it has the shape {raw.shape} beside {count:,} examples"
        raise LoadError(file, member, reason, f"Give one label an example: ({count},).")
    if raw.dtype.kind not in "ui" or raw.min() < 0 or raw.max() > np.iinfo(np.int64).max:
        reason = "it holds labels that are not integers 0, 1, 2, ..."
        raise LoadError(file, member, reason, "Number the classes from 0 and save integers.")
    return raw.astype(np.int64)


def _float32(values: Array) -> Array:
    """Return float32; what overflows becomes infinite, and Dataset refuses it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)
