r"""MADE: an MLP whose masks make it predict every variable from those before it, in one pass.

Shapes     N batch, D variables, O numbers for each, H hidden, K levels of a variable.
           x, dx : (N, D)    y, dy : (N, D, O)    logits : (N, D, K)    labels : (N,)
Sources    germain2015-made  section 4

    p(x | label) = Π_j p(x_j | x_<j, label)                                       (MA.1)

Every unit has a degree. That of a variable is its place in the order, 1 .. D; those of hidden
units run evenly over 0 .. D − 1. A unit of degree d knows places up to d:

    M[a, b] = [degree a ≤ degree b]   into hidden units                           (MA.2)
    M[a, b] = [degree a < degree b]   into the numbers of a variable              (MA.3)

Along a path from x_k to the numbers of x_j degrees never fall, and rise at the end: so k comes
before j. Units of degree 0 know nothing but the label, which is all that may decide the first
variable. A row of a table brings it to every hidden unit of the first layer:

    h = (M ⊙ W)ᵀ x + b + E[label];   then   h ← (M ⊙ W)ᵀ silu(h) + b, to y         (MA.4)

Adjoint. That of the MLP, with the gradients of weights masked.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, Dense, Embedding, Layer, Sequence
from refgen.models.masks import Masks, Unmasked, masked
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class MaskedMLP:
    """Numbers for every variable from real variables before it, (N, dim) -> (N, dim, outputs).

    order lists the variables as they come, None for 0, 1, 2, ...; depth counts hidden layers.
    With fewer hidden units than variables a variable cannot see all that come before it.
    Raises ValueError for sizes below 1 and an order that is not one.
    """

    dim: int
    outputs: int
    hidden: int = 128
    depth: int = 2
    order: tuple[int, ...] | None = None
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if min(self.dim, self.outputs, self.hidden, self.depth) < 1 or self.classes < 0:
            raise ValueError(f"a masked MLP needs sizes of at least 1, not {self}")
        if sorted(self.sequence) != list(range(self.dim)):
            raise ValueError(
                f"an order names each of the variables 0 .. {self.dim - 1} once, not {self.order}"
            )

    @property
    def sequence(self) -> tuple[int, ...]:
        """The variables as they come."""
        return tuple(range(self.dim)) if self.order is None else self.order

    @cached_property
    def masks(self) -> Masks:
        """The masks of all weights, built once."""
        place = np.argsort(self.sequence) + 1
        inner = np.rint(np.linspace(0, self.dim - 1, self.hidden)).astype(int)
        among = inner[:, None] <= inner  # (MA.2)
        masks = {"first/w": place[:, None] <= inner}
        masks |= {f"rest/dense{i}/w": among for i in range(1, self.depth)}
        masks[f"rest/dense{self.depth}/w"] = inner[:, None] < np.repeat(place, self.outputs)
        return masks  # (MA.3)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; the last map is 0, so every variable gets the same numbers."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (y, cache). labels None means the null label, row `classes`, for all.

        Raises ValueError for labels where there are no classes, or outside 0 .. classes.
        """
        return self.run(masked(params, self.masks), x, labels)

    def run(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (y, cache) of the network without masks."""
        layers = self._layers()
        h, first = layers["first"].forward(params["first"], x)
        index, lookup = Embedding(self.classes, self.hidden, True).labels(labels, len(x)), None
        if self.classes:
            rows, lookup = layers["label"].forward(params["label"], index)
            h = h + rows
        y, rest = layers["rest"].forward(params["rest"], h)  # (MA.4)
        return np.reshape(y, (*x.shape, self.outputs)), (first, lookup, rest)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, (first, lookup, rest), grads = self._layers(), cache, dict[str, Any]()
        flat = np.reshape(dy, (len(dy), -1))
        dh, grads["rest"] = layers["rest"].backward(flat, rest)
        if self.classes:
            grads["label"] = layers["label"].backward(dh, lookup)
        dx, grads["first"] = layers["first"].backward(dh, first)
        return dx, masked(grads, self.masks)

    def _layers(self) -> dict[str, Any]:
        H, last = self.hidden, self.dim * self.outputs
        rest: list[tuple[str, Layer]] = []
        for i in range(1, self.depth + 1):
            end = i == self.depth
            dense = Dense(H, last if end else H, 0.0 if end else 1.4, self.ops)
            rest += [(f"silu{i}", Activation("silu")), (f"dense{i}", dense)]
        layers: dict[str, Any] = {
            "first": Dense(self.dim, H, 1.4, self.ops),
            "rest": Sequence(tuple(rest)),
        }
        return layers | ({"label": Embedding(self.classes, H, null=True)} if self.classes else {})


@dataclass(frozen=True)
class Made:
    """Logits of every variable's levels from the variables before it, (N, dim) -> (N, dim, levels).

    x holds levels 0 .. levels − 1, as integers or as numbers; the network sees them between −1
    and 1. Raises ValueError as MaskedMLP does, and for fewer than 2 levels.
    """

    dim: int
    levels: int = 2
    hidden: int = 128
    depth: int = 2
    order: tuple[int, ...] | None = None
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        refuse_levels(self.levels)
        _ = self.network  # refuses sizes that cannot be

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one x."""
        return (self.dim,)

    @property
    def sequence(self) -> tuple[int, ...]:
        """The variables as they come."""
        return self.network.sequence

    @cached_property
    def network(self) -> MaskedMLP:
        """The network, with its masks."""
        sizes = (self.dim, self.levels, self.hidden, self.depth, self.order, self.classes)
        return MaskedMLP(*sizes, ops=self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; a fresh model gives every x the probability levels^−dim."""
        return self.network.init(noise)

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (logits, cache), as MaskedMLP does."""
        x = centred(x, self.levels, params["first"]["w"])
        return self.network.forward(params, x, labels)  # (MA.1)

    def backward(self, dlogits: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads), dx as if levels were any numbers."""
        dx, grads = self.network.backward(dlogits, cache)
        return 2.0 / (self.levels - 1) * dx, grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        params = masked(self.init(Noise(0)), self.network.masks)
        return summarize(Unmasked(self.network), params, np.zeros((1, self.dim)))


def centred(x: Array, levels: int, like: Array) -> Array:
    """Return levels 0 .. levels − 1 as numbers −1 .. 1, of the dtype of `like` if x is integer."""
    numbers = x.astype(like.dtype) if x.dtype.kind in "biu" else x
    y: Array = 2.0 / (levels - 1) * numbers - 1.0
    return y


def refuse_levels(levels: int) -> None:
    """Raise ValueError for a variable that cannot vary."""
    if levels < 2:
        raise ValueError(f"a variable needs at least 2 levels, not {levels}")
