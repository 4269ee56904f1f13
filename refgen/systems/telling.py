"""What a network is told of an example: its label, or its caption.

Shapes     N examples.   labels, numbers : (N,)    words : (N, L)    told : either
Lectures   0, 3 (label dropout), 4 (labels, texts)          Source  ho2022-cfg  algorithm 1

Either way there is something that stands for nothing: the null label K of labels 0 .. K − 1, or the
empty sentence, L times word 0. A network that has been told nothing now and then can be asked for
both answers.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from refgen import ops as reference
from refgen.data.captions import LENGTH, Language
from refgen.models.captioned import Captioned, TextEncoder
from refgen.models.told import told_denoiser
from refgen.models.unet import UNet
from refgen.noise import Draw, Noise
from refgen.ops.protocol import Ops
from refgen.systems.system import Labelled, Request
from refgen.typing import Array

CHANCES = 2**20  # an example is told nothing with a probability that is a multiple of 1/CHANCES


class Teller(Protocol):
    """A kind of thing that a network is told."""

    @property
    def name(self) -> str:
        """The name by which its network's forward takes it."""

    @property
    def count(self) -> int:
        """How many different things an example can be told."""

    @property
    def blank(self) -> int:
        """What every entry of nothing is."""

    def network(self, name: str, shape: tuple[int, ...], hidden: int, blocks: int) -> Any:
        """Return a network that takes it. Raises ValueError for one that cannot."""

    def of(self, batch: Labelled) -> Array:
        """Return what each example of a batch is told."""

    def numbered(self, numbers: Array) -> Array:
        """Return the things with these numbers, 0 .. count − 1."""

    def asked(self, request: Request) -> int | None:
        """Return the number of what a request asks for, None where it leaves that open.

        Raises ValueError for what no example was told.
        """


@dataclass(frozen=True)
class ByLabel:
    """Labels 0 .. classes − 1; `classes` stands for nothing."""

    classes: int
    ops: Ops = field(default=reference, repr=False, compare=False)

    @property
    def name(self) -> str:
        """A label is a label."""
        return "labels"

    @property
    def count(self) -> int:
        """One a class."""
        return self.classes

    @property
    def blank(self) -> int:
        """The null label."""
        return self.classes

    def network(self, name: str, shape: tuple[int, ...], hidden: int, blocks: int) -> Any:
        """Return a network with a row for each label and one for none."""
        if self.classes < 1:
            raise ValueError(f"there is one class at least, not {self.classes}")
        return told_denoiser(name, shape, hidden, blocks, self.ops, classes=self.classes)

    def of(self, batch: Labelled) -> Array:
        """Return the labels."""
        return batch.labels

    def numbered(self, numbers: Array) -> Array:
        """Return the numbers: they are labels."""
        return numbers

    def asked(self, request: Request) -> int | None:
        """Return the label. Raises ValueError for another than 0 .. classes − 1, or a caption."""
        if request.caption is not None:
            raise ValueError("the network was told labels, not captions: ask for a label")
        if request.label is not None and not 0 <= request.label < self.classes:
            raise ValueError(f"labels are 0 .. {self.classes - 1}, not {request.label}")
        return request.label


@dataclass(frozen=True)
class ByCaption:
    """Sentences of a language; the empty one stands for nothing."""

    language: Language
    features: int = 32
    frozen: bool = False
    ops: Ops = field(default=reference, repr=False, compare=False)

    @property
    def name(self) -> str:
        """A caption is a row of words."""
        return "words"

    @property
    def count(self) -> int:
        """One a sentence."""
        return len(self.language.sentences)

    @property
    def blank(self) -> int:
        """The word that is none."""
        return 0

    def network(self, name: str, shape: tuple[int, ...], hidden: int, blocks: int) -> Any:
        """Return a UNet behind an encoder of sentences. Raises ValueError for other networks."""
        unet = told_denoiser(name, shape, hidden, blocks, self.ops, context=self.features)
        assert isinstance(unet, UNet)  # nothing else takes a context
        words = len(self.language.vocabulary)
        encoder = TextEncoder(words, LENGTH, self.features, ops=self.ops)
        return Captioned(unet, encoder, self.frozen)

    def of(self, batch: Labelled) -> Array:
        """Return the words of each picture's caption."""
        return self.language.words(batch.data.real, batch.labels)

    def numbered(self, numbers: Array) -> Array:
        """Return the words of the sentences with these numbers."""
        return self.language.words_of(numbers)

    def asked(self, request: Request) -> int | None:
        """Return the sentence. Raises ValueError for one that there is not, or a label."""
        if request.label is not None:
            raise ValueError("the network was told captions, not labels: ask for a caption")
        return None if request.caption is None else self.language.read(request.caption)


def nothing(teller: Teller, told: Array) -> Array:
    """Return what stands for nothing, as often as there are things told."""
    return np.full_like(told, teller.blank)


def wanted(teller: Teller, count: int, noise: Noise, request: Request, words: Draw) -> Array:
    """Return the numbers of what so many samples are told: what is asked, or each as likely."""
    number = teller.asked(request)
    drawn = noise.integers(teller.count, count, words=words)
    return drawn if number is None else np.full_like(drawn, number)


def sometimes_nothing(
    teller: Teller, told: Array, chance: float, noise: Noise, words: Draw
) -> Array:
    """Return what examples are told, each with a chance replaced by nothing."""
    drawn = noise.integers(CHANCES, told.shape[0], words=words)
    gone = np.reshape(drawn < round(chance * CHANCES), (-1, *[1] * (told.ndim - 1)))
    return np.where(gone, nothing(teller, told), told)
