"""A case: an op of the catalogue or a whole step, how it is called, and at which sizes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen.noise import Noise, Stream
from refgen.ops.catalog import CATALOG, Op, resolve
from refgen.typing import Array

Shape = tuple[int, ...]
STREAM: Stream = Noise(0).at("benchmarks").stream
NORMALS = Op("normals", "noise", {})  # no row of the catalogue: it takes no arrays
ROWS = {op.name: op for op in (*CATALOG, NORMALS)}
WHOLE = ("unet", "vae")  # models whose steps are measured as users run them
IMAGES = (  # what PyTorch may be given with channels last in memory, though first in shape
    *("conv2d", "conv_transpose2d", "upsample_conv2d", "nearest_upsample"),
    *("group_norm", "group_norm_silu", "group_norm_film_silu", "batch_norm"),
    *("film", "shift", "concat"),
)


@dataclass(frozen=True)
class Case:
    """One line of the table, before anybody has run it.

    call says what is timed: forward, backward (all gradients, from one cache), both, drawn (noise
    drawn inside), dgrad or wgrad (a convolution's gradients one by one), "" for what has one
    name only, and for a whole model train_step or sample.
    """

    op: str
    call: str
    dims: Mapping[str, Any]  # the catalogue's letters -> sizes
    note: str = ""  # what that shape does not say
    static: Mapping[str, Any] | None = None  # instead of the catalogue's
    without: tuple[str, ...] = ()  # arguments left at their default
    quick: bool = False  # measured by --quick as well
    sweep: bool = False  # one of many sizes, for the curves

    @property
    def name(self) -> str:
        """What the op table, or this table, calls it: conv2d_backward, noising_drawn, normals."""
        return f"{self.op}_{self.call}" if self.call else self.op

    @property
    def label(self) -> str:
        """The shape of the first argument or of what is drawn, and the note."""
        return f"{times(self.first)} {self.note}".strip()

    @property
    def first(self) -> Shape:
        """The shape of the first argument, or of what is drawn."""
        return next(iter(self.shapes().values()), self.drawn())

    @property
    def elements(self) -> int:
        """How many numbers that is."""
        return math.prod(self.first)

    @property
    def key(self) -> str:
        """How one process names a case to another."""
        return f"{self.name}:{self.label}"

    @property
    def whole(self) -> bool:
        """Whether it is a step of a model rather than an op."""
        return self.op in WHOLE

    @property
    def images(self) -> bool:
        """Whether PyTorch has a choice of layout."""
        return self.op == "unet" or (self.op in IMAGES and "H" in self.words("x"))

    @property
    def blas(self) -> bool:
        """Whether the reference multiplies matrices."""
        return self.whole or self.row.flops is not None

    @property
    def winograd(self) -> bool:
        """Whether it is a convolution that Winograd's algorithm may compute."""
        if self.op not in ("conv2d", "upsample_conv2d"):
            return False
        return (self.dims["U"], self.dims["V"], self.keywords().get("stride", 1)) == (3, 3, 1)

    @property
    def row(self) -> Op:
        """The op's row of the catalogue. Raises KeyError for what has none."""
        return ROWS[self.op]

    def known(self) -> bool:
        """Tell whether this version of refgen has the op."""
        return self.whole or self.op in ROWS

    def words(self, argument: str) -> str:
        """Return the letters of an argument's shape, a star spelled out: `N H W C`."""
        words = self.row.shapes.get(argument, "")
        return words.replace("*S", "H W") if len(self.dims.get("S", ())) == 2 else words

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of every argument that is given, in call order."""
        if self.whole:
            return {"data": (self.dims["N"], *self.dims["S"])}
        gone = {*self.without, *(("noise",) if self.call == "drawn" else ())}
        return {
            name: resolve(words, dict(self.dims))
            for name, words in self.row.shapes.items()
            if name not in gone
        }

    def drawn(self) -> Shape:
        """Return the shape of the noise that is drawn inside, () for none."""
        if self.op == "normals":
            return (self.dims["N"],)
        if self.call != "drawn":
            return ()
        return resolve(self.row.shapes["noise"], dict(self.dims))

    def arrays(self) -> dict[str, Array]:
        """Draw the arguments, float32; every process draws the same."""
        drawn = self.row.arrays(dict(self.dims), np.random.default_rng(7))
        return {name: _single(drawn[name]) for name in self.shapes()}

    def gradients(self, outputs: list[Shape]) -> list[Array]:
        """Draw a gradient for every output, float32; statistics, for running averages, get 0."""
        rng = np.random.default_rng(8)
        drawn = [_single(rng.normal(size=shape)) for shape in outputs]
        return drawn if self.op != "batch_norm" else [drawn[0], *map(np.zeros_like, drawn[1:])]

    def keywords(self) -> dict[str, Any]:
        """Return the static keywords of the call."""
        if self.static is not None or self.whole:
            return dict(self.static or {})
        return self.row.keywords(dict(self.dims))


def times(shape: Shape) -> str:
    """Return a shape as it is printed.

    >>> times((64, 32, 32, 3))
    '64x32x32x3'
    """
    return "x".join(map(str, shape))


def _single(a: Array) -> Array:
    return a.astype(np.float32) if a.dtype.kind == "f" else a
