"""What a row of the catalogue says of an op, and how its arrays are drawn."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen.typing import Array

Dims = dict[str, Any]  # letter -> size; a starred letter -> tuple of sizes
Draw = Callable[[np.random.Generator, tuple[int, ...], Dims], Array]
Shapes = Mapping[str, tuple[int, ...]]


def normal(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw what an argument holds unless its row says otherwise."""
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw numbers that may be a variance or a second moment."""
    return rng.uniform(0.1, 2.0, size=shape)


def labels(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw class labels 0 .. K − 1."""
    return rng.integers(dims["K"], size=shape)


@dataclass(frozen=True)
class Op:
    """One op: all that a test or a benchmark must know to call it."""

    name: str
    page: str  # the module of refgen.ops that holds it
    shapes: Mapping[str, str]  # argument -> shape words, in call order
    wrt: tuple[str, ...] = ()  # arguments that backward returns gradients for, in order
    static: Mapping[str, Any] | Callable[[Dims], Mapping[str, Any]] = field(default_factory=dict)
    draw: Mapping[str, Draw] = field(default_factory=dict)  # arguments that are not normal
    analytic: bool = True  # complex step applies; otherwise central differences
    surrogate: Callable[..., Any] | None = None  # whose derivative backward gives, by choice
    twin: bool = False  # worth a kernel: the backends have it too
    tangent: bool = False  # <op>_tangent and <op>_curvature exist: see refgen.ops.README
    extra: str = ""  # letters that only static and constrain read, as the G of groups
    constrain: Callable[[Dims], Dims] = lambda dims: dims  # drawn sizes -> sizes that fit
    flops: Callable[[Shapes, tuple[int, ...]], int] | None = None  # of argument shapes, result

    @property
    def forward(self) -> str:
        """The name of its forward in an op table; updates (`_step`) have only that."""
        return f"{self.name}_forward" if self.wrt else self.name

    def letters(self) -> list[str]:
        """Return the size letters of the shapes, starred where they stand for several axes."""
        words = [*self.shapes.values(), self.extra]
        return sorted({w for word in words for w in word.split()})

    def arrays(self, dims: Dims, rng: np.random.Generator) -> dict[str, Array]:
        """Draw every argument, of the sizes given for each letter."""
        return {
            argument: self.draw.get(argument, normal)(rng, resolve(words, dims), dims)
            for argument, words in self.shapes.items()
        }

    def keywords(self, dims: Dims) -> dict[str, Any]:
        """Return the static keywords of a call of these sizes."""
        return dict(self.static(dims) if callable(self.static) else self.static)


def resolve(words: str, dims: Dims) -> tuple[int, ...]:
    """Turn shape words into a shape.

    >>> resolve("N *S C", {"N": 2, "S": (5, 7), "C": 3})
    (2, 5, 7, 3)
    """
    shape: list[int] = []
    for w in words.split():
        shape += dims[w[1:]] if w.startswith("*") else [dims[w]]
    return tuple(shape)


def same(arguments: str, words: str) -> dict[str, str]:
    """Return one shape for several arguments."""
    return dict.fromkeys(arguments.split(), words)


def product_flops(weight: str) -> Callable[[Shapes, tuple[int, ...]], int]:
    """Return the count of an op whose every output is a dot product with a filter of `weight`.

    A filter is all axes of the weight but the last; a multiplication and an addition are two.
    """

    def count(shapes: Shapes, out: tuple[int, ...]) -> int:
        return 2 * math.prod(out) * math.prod(shapes[weight][:-1])

    return count
