r"""The diffusion transformer: an image as a row of patches that all look at each other.

Shapes     N batch, H, W image, C channels, k patch, L = (H/k)(W/k) tokens, D features.
           x, y, dx, dy : (N, H, W, C)    t : (N,)    labels : (N,) in 0 .. K    h : (N, L, D)
Sources    peebles2023-dit  section 3;  dosovitskiy2021-vit  section 3.1 (patches, positions)

    e = silu(W₂ silu(W₁ PE(t)) + E[label])                                       (DT.1)
    h = patches(x) W_in + P,   P one row for each place                          (DT.2)
    h ← block(h, e)   for each block                                             (DT.3)
    y = image(((1 + a) norm(h) + b) W_out),   (a, b) = V e                       (DT.4)

The first line is layers/condition.py; biases are not written. Attention does not know where a token
stands: without P an image with its patches shuffled would give the same noise, shuffled. P starts
as large as what the patches bring, or the network would spend its first thousand steps on finding
out where things are. Row K of E is the null label.

Adjoint. The blocks backwards; every example used the same P, so dP sums over the batch, and
every block and the last norm were steered by e, so their gradients in it add:

    dP = Σ_n dh,   de = de_out + Σ_blocks de_block                               (DT.5)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Dense
from refgen.layers.condition import Condition
from refgen.layers.dit import DiTBlock
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class DiT:
    """A noise predictor for images, (N, *shape) and (N,) -> (N, *shape).

    shape is (H, W, C); hidden is the size of a token; classes is the number of labels, 0 for
    none; y has outputs times the channels of x: two where variances are learnt. Raises ValueError
    for a patch that does not divide the image, naming the divisor, and for a hidden size that
    heads do not divide.
    """

    shape: tuple[int, int, int]
    patch: int = 2
    hidden: int = 128
    blocks: int = 4
    heads: int = 4
    classes: int = 0
    outputs: int = 1
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"a DiT takes images (H, W, C), not examples of shape {self.shape}")
        if min(self.patch, self.blocks, self.outputs) < 1:
            raise ValueError(
                f"patch, blocks and outputs are at least 1, not {self.patch}, {self.blocks}, "
                f"{self.outputs}"
            )
        for axis, size in (("height", self.shape[0]), ("width", self.shape[1])):
            if size % self.patch:
                raise ValueError(
                    f"a DiT with patches of {self.patch} needs images whose sides are multiples "
                    f"of {self.patch}, not {axis} {size}"
                )
        self._layers()  # refuses sizes that cannot be

    @property
    def tokens(self) -> int:
        """L, the number of patches."""
        return (self.shape[0] // self.patch) * (self.shape[1] // self.patch)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; every block starts as the identity, the output at 0."""
        params = {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}
        params["position"] = noise.at("position").normal((self.tokens, self.hidden))
        return params

    def forward(
        self, params: Any, x: Array, t: Array, labels: Array | None = None
    ) -> tuple[Array, Cache]:
        """Return (y, cache). labels None means the null label for all.

        Raises ValueError for another shape than the network's and for labels without classes.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"a DiT for images {self.shape} was given an array of shape {x.shape}: it takes "
                f"(N, {', '.join(map(str, self.shape))})"
            )
        layers, caches = self._layers(), dict[str, Cache]()
        e, caches["condition"] = layers["condition"].forward(
            params["condition"], t.astype(x.dtype), labels
        )  # (DT.1)
        patches, caches["patches"] = reference.patchify_forward(x, patch=self.patch)
        h, caches["in"] = layers["in"].forward(params["in"], patches)
        h = h + params["position"]  # (DT.2)
        for name in self._blocks():
            h, caches[name] = layers[name].forward(params[name], h, e)  # (DT.3)
        ab, caches["steer"] = layers["steer"].forward(params["steer"], e)
        a, b = np.split(ab, 2, axis=1)
        h, caches["norm"] = reference.adaln_forward(h, a, b)
        h, caches["out"] = layers["out"].forward(params["out"], h)
        y, caches["image"] = reference.unpatchify_forward(
            h, patch=self.patch, height=self.shape[0], width=self.shape[1]
        )  # (DT.4)
        return y, caches

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, grads = self._layers(), dict[str, Any]()
        dh = reference.unpatchify_backward(dy, cache["image"])
        dh, grads["out"] = layers["out"].backward(dh, cache["out"])
        dh, da, db = reference.adaln_backward(dh, cache["norm"])
        de, grads["steer"] = layers["steer"].backward(
            np.concatenate([da, db], axis=1), cache["steer"]
        )
        for name in reversed(self._blocks()):
            dh, de_block, grads[name] = layers[name].backward(dh, cache[name])
            de = de + de_block  # (DT.5)
        grads["position"] = np.sum(dh, axis=0)  # dP of (DT.5)
        dpatches, grads["in"] = layers["in"].backward(dh, cache["in"])
        grads["condition"] = layers["condition"].backward(de, cache["condition"])
        return reference.patchify_backward(dpatches, cache["patches"]), grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, *self.shape)), np.zeros(1, int))

    def _blocks(self) -> list[str]:
        return [f"block{i}" for i in range(self.blocks)]

    def _layers(self) -> dict[str, Any]:
        size, ops = self.hidden, self.ops
        pixels = self.patch**2 * self.shape[2]
        layers: dict[str, Any] = {
            "condition": Condition(size, size, self.classes, ops),
            "in": Dense(pixels, size, 1.0, ops),
            "steer": Dense(size, 2 * size, 0.0, ops),
            "out": Dense(size, self.outputs * pixels, 0.0, ops),
        }
        return layers | {name: DiTBlock(size, size, self.heads, ops) for name in self._blocks()}
