r"""Captions: sentences of a tiny language that are told from a picture and its label.

Shapes     N pictures, K nouns, M sentences, L = 4 words of a sentence, V words of the language.
           images : (N, H, W, C) in [−1, 1]    labels : (N,)    words : (N, L), 0 .. V − 1

A sentence says how many, how bright, of what: "two dark threes". Its words are

    count, brightness, noun, and the ending of a plural, or nothing, which is word 0

and the sentences of a language are numbered

    m = noun + K bright + 2 K (count − 1)                                              (CA.1)
    bright: ½ (1 + the mean of all pixels) > θ                                         (CA.2)

In `digits` and `fashion` a picture shows one thing, whose noun its label says and whose brightness
is (CA.2), with θ near the median of the data. In `scenes` the label is m itself. Nothing is drawn:
a picture has one caption. The empty sentence, four times nothing, stands for none.
"""

import difflib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from refgen.data.fashion import CLASSES
from refgen.ops.home import beside
from refgen.typing import Array

LENGTH = 4
NOTHING, PLURAL = "", "-s"
COUNTS = ("one", "two", "three", "four")
BRIGHTNESS = ("dark", "bright")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOTHES = tuple(name.split("/")[0].split()[-1].lower() for name in CLASSES)


@dataclass(frozen=True)
class Language:
    """Sentences about pictures of 1 .. most things of one kind.

    threshold is θ; where it is negative, labels number the sentences. Raises ValueError for no
    noun and for more things than there are words for.
    """

    name: str
    nouns: tuple[str, ...]
    most: int = 1
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.nouns or not 1 <= self.most <= len(COUNTS):
            raise ValueError(f"a language has nouns and counts to 1 .. {len(COUNTS)}, not {self}")

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words; a noun that is spelled like a number is another word."""
        return (NOTHING, *COUNTS[: self.most], *BRIGHTNESS, *self.nouns, PLURAL)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """All sentences by their number."""
        return tuple(
            f"{count} {bright} {_plural(noun) if more else noun}"
            for more, count in enumerate(COUNTS[: self.most])
            for bright in BRIGHTNESS
            for noun in self.nouns
        )  # (CA.1)

    @cached_property
    def table(self) -> Array:
        """The words of every sentence, (M, L) int64."""
        first = 1 + self.most + len(BRIGHTNESS)  # the first noun
        rows = [
            (
                1 + more,
                1 + self.most + bright,
                first + noun,
                len(self.vocabulary) - 1 if more else 0,
            )
            for more in range(self.most)
            for bright in range(len(BRIGHTNESS))
            for noun in range(len(self.nouns))
        ]
        return np.array(rows, dtype=np.int64)

    @property
    def labels(self) -> int:
        """How many labels the data have."""
        return len(self.sentences) if self.threshold < 0 else len(self.nouns)

    def numbers(self, images: Array, labels: Array) -> Array:
        """Return the number of each picture's sentence, (N,), wherever they lie."""
        if self.threshold < 0:
            return labels
        grey = np.mean(images, axis=tuple(range(1, images.ndim)))
        bright = 0.5 * (1 + grey) > self.threshold  # (CA.2)
        numbers: Array = labels + len(self.nouns) * bright
        return numbers

    def words(self, images: Array, labels: Array) -> Array:
        """Return the words of each picture's sentence, (N, L)."""
        return self.words_of(self.numbers(images, labels))

    def words_of(self, numbers: Array) -> Array:
        """Return the words of sentences by their numbers, (N, L)."""
        return beside(self.table, numbers)[numbers]

    def read(self, text: str) -> int:
        """Return the number of a sentence; capitals and spaces do not count.

        Raises ValueError, naming the nearest sentence, for what the language does not say.

        >>> language("digits").read("one dark three")
        3
        """
        said = " ".join(text.lower().split())
        if said in self.sentences:
            return self.sentences.index(said)
        near = difflib.get_close_matches(said, self.sentences, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it says such as {self.sentences[0]!r}"
        raise ValueError(f"the language of {self.name} has no sentence {text!r}; {hint}")


LANGUAGES = {
    "digits": Language("digits", DIGITS, threshold=0.305),
    "fashion": Language("fashion", CLOTHES, threshold=0.27),
    "scenes": Language("scenes", DIGITS, most=2, threshold=-1.0),
}
KNOWN: dict[tuple[int, ...], str] = {
    (8, 8, 1): "digits",
    (28, 28, 1): "fashion",
    (8, 16, 1): "scenes",
}  # shapes of pictures


def language(name: str, shape: tuple[int, ...] = (), classes: int = 0) -> Language:
    """Return a language by its name; "auto" takes the one of pictures of that shape and classes.

    Where nothing is known of the pictures, things are called "thing0", "thing1", ... Raises
    ValueError for an unknown name.
    """
    if name in LANGUAGES:
        return LANGUAGES[name]
    if name != "auto":
        raise ValueError(f"unknown language {name!r}; there are auto, {', '.join(LANGUAGES)}")
    known = KNOWN.get(shape, "")
    if known and LANGUAGES[known].labels == classes:
        return LANGUAGES[known]
    return Language("things", tuple(f"thing{k}" for k in range(classes)))


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")
