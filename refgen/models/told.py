r"""Networks that are told something besides x and t, and how what they are told is bound to them.

Shapes     N batch, *S axes of one example, D their product, F features of a label, K classes.
           x, y, dx, dy : (N, *S)    t : (N,)    labels : (N,) in 0 .. K, K the null label
Sources    ho2022-cfg  section 3.2 (the null label);  rombach2022-latent  section 3.3

A UNet and a DiT take labels beside the time. An MLP is given the label's row of a table, as in
models/given.py:

    y = the first D of mlp([x, E[label]], t)                              (TO.1)

Adjoint. The condition's gradient (GV.2 there) is the row's:

    dE[k] = Σ dcondition, over examples of label k                        (TO.2)

How loud a label is at the start decides how soon it is heard. Rows of size 0.02, right for words of
a text, drown beside a time of size 1: after 400 steps on the digits a UNet had not found out that
there are labels, and with rows of size 1 it drew the digit asked for. So the rows of an MLP, and by
`audible` those of the other two, begin as

    E[label] ~ N(0, I)                                                    (TO.3)

A sampler and a loss know networks of (x, t) only. `Told` makes one of a network and of what the
examples of one batch are told: it binds the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.embedding import Embedding
from refgen.models.denoiser import denoiser
from refgen.models.dit import DiT
from refgen.models.given import GivenMLP
from refgen.models.mlp import TimeMLP
from refgen.models.unet import UNet
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

FEATURES = 16  # of a label beside x


@dataclass(frozen=True, eq=False)
class Told:
    """A network and what each example is told, by the names of its forward: a map of (x, t)."""

    network: Any
    given: Mapping[str, Array]

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        y, cache = self.network.forward(params, x, t, **self.given)
        return y, cache

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, grads = self.network.backward(dy, cache)
        return dx, grads


@dataclass(frozen=True)
class LabelledMLP:
    """A residual MLP of (x, t, label); dim is the number of entries of one example.

    Raises ValueError for less than one class and for sizes below 1.
    """

    dim: int
    classes: int
    hidden: int = 256
    blocks: int = 3
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"a labelled MLP has one class at least, not {self.classes}")
        _ = self._mlp  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        rows = noise.at("label").normal((self._label.rows, FEATURES))  # (TO.3)
        return {"label": {"table": rows}, "mlp": self._mlp.init(noise.at("mlp"))}

    def forward(
        self, params: Any, x: Array, t: Array, labels: Array | None = None
    ) -> tuple[Array, Cache]:
        """Return (y, cache). labels None means the null label for all.

        Raises ValueError for labels outside 0 .. classes.
        """
        index = self._label.labels(labels, x.shape[0])
        rows, lookup = self._label.forward(params["label"], index)
        flat = np.reshape(x, (x.shape[0], -1))
        y, cache = self._mlp.forward(params["mlp"], flat, t, rows)  # (TO.1)
        return np.reshape(y, x.shape), (lookup, cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        lookup, mlp_cache = cache
        flat = np.reshape(dy, (dy.shape[0], -1))
        dx, drows, grads = self._mlp.backward_inputs(flat, mlp_cache)
        of_label = self._label.backward(drows, lookup)  # (TO.2)
        return np.reshape(dx, dy.shape), {"label": of_label, "mlp": grads}

    @property
    def _label(self) -> Embedding:
        return Embedding(self.classes, FEATURES, null=True)

    @property
    def _mlp(self) -> GivenMLP:
        return GivenMLP(self.dim, FEATURES, self.hidden, self.blocks, self.ops)


def audible(params: Any, noise: Noise) -> Params:
    """Return fresh parameters of a UNet or a DiT with labels that are as loud as the time."""
    condition = params.get("condition", {})
    if "label" not in condition:
        return {**params}
    rows = noise.at("audible").normal(condition["label"]["table"].shape)
    label = {"table": rows}  # (TO.3)
    return {**params, "condition": {**condition, "label": label}}


def told_denoiser(
    name: str,
    shape: tuple[int, ...],
    hidden: int,
    blocks: int,
    ops: Ops = reference,
    *,
    classes: int = 0,
    image: int = 0,
    context: int = 0,
) -> LabelledMLP | TimeMLP | UNet | DiT:
    """Return refgen.models.denoiser's network, told labels, an image or tokens beside x and t.

    classes is the number of labels, image the channels of a conditioning image, context the size
    of a token, 0 for none. Raises ValueError as denoiser does, and for an image or tokens given to
    another network than a UNet.
    """
    plain = denoiser(name, shape, hidden, blocks, ops)
    if isinstance(plain, UNet):
        return replace(plain, classes=classes, image=image, context=context)
    if image or context:
        raise ValueError(f"a {name} is told labels only: an image or a text needs model=unet")
    if isinstance(plain, DiT):
        return replace(plain, classes=classes)
    if classes:
        return LabelledMLP(plain.dim, classes, plain.hidden, plain.blocks, ops)
    return plain
