r"""Causal convolution: every pixel of an image is predicted from those above and left of it.

Shapes     N batch, H, W image, C channels, K levels of a pixel, F features.
           x, dx : (N, H, W, C)    logits, dlogits : (N, H, W, C, K)    v, h : (N, H, W, F)
Sources    oord2016-pixelrnn  section 3.4 (masks A and B, channels);  oord2016-pixelcnn
           section 2.2 (two stacks)

    p(x | label) = Π p(x_j | x_<j, label),   row by row, channels of a pixel in turn    (PX.1)

A filter whose lower half is masked keeps the order, but stacked filters then never see a wedge
to the right above: each step up may go right by half a filter, but not from the row itself.
Two stacks see everything. v knows the rows above, h also what came earlier in its own row:

    v = V₀ x + E[label],   h = H₀ x + L₀ v                                        (PX.2)
    v ← v + V silu(v),     h ← h + H silu(h) + L silu(v)      for each block       (PX.3)
    logits = H_out silu(h)                                                        (PX.4)

With (a, b) the place in a filter and c its middle, and with the channels of h and of the logits
cut into C groups, one for each channel of x:

    V₀:   a < c          V:   a ≤ c          L:   all, 1 × 1                       (PX.5)
    H₀:   a = c and b < c, or a = b = c and group in < group out        (mask A)   (PX.6)
    H, H_out:   a = c and b < c, or a = b = c and group in ≤ group out  (mask B)   (PX.7)

v may look along its own row, since all of that row knows only the rows above it.

Adjoint. Blocks backwards; silu(v) was felt in h and in the next v, x in both stacks:

    dv ← dv + siluᵀ Lᵀ dh,   dh ← dh + siluᵀ Hᵀ dh,   dv ← dv + siluᵀ Vᵀ dv        (PX.8)
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Conv2d, Embedding, Sequence
from refgen.layers.activation import Activation
from refgen.models.made import centred, refuse_levels
from refgen.models.masks import Masks, Unmasked, masked
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class PixelCNN:
    """Logits of each pixel from those before it, (N, *shape) -> (N, *shape, levels).

    x holds levels 0 .. levels − 1, as integers or as numbers; the network sees them between −1
    and 1. A pixel sees (blocks + 1) (kernel − 1) / 2 pixels far. classes is the number of labels,
    0 for none. Raises ValueError for an even kernel, for features that the channels of the image
    do not divide, and for fewer than 2 levels.
    """

    shape: tuple[int, int, int]
    levels: int = 2
    features: int = 32
    blocks: int = 4
    kernel: int = 5
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        refuse_levels(self.levels)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a PixelCNN takes images (H, W, C), not {self.shape}")
        if self.kernel < 3 or self.kernel % 2 == 0 or self.blocks < 1:
            raise ValueError(
                f"a PixelCNN needs an odd kernel of at least 3, for a middle, and a block, not "
                f"kernel {self.kernel}, blocks {self.blocks}"
            )
        if self.features % self.shape[2] or self.features < 1:
            raise ValueError(
                f"{self.features} features cannot be cut into {self.shape[2]} groups, one for "
                f"each channel: they must be a multiple of {self.shape[2]}"
            )

    @property
    def sequence(self) -> tuple[int, ...]:
        """The numbers of an image as they come: as they lie in memory."""
        return tuple(range(int(np.prod(self.shape))))

    @cached_property
    def masks(self) -> Masks:
        """The masks of all weights, built once."""
        c, size, blocks = self.shape[2], self.kernel, range(self.blocks)
        pixel, inner = np.arange(c), np.arange(self.features) * c // self.features
        out = np.repeat(pixel, self.levels)
        middle = (size - 1) // 2
        rows = np.reshape(np.arange(size), (-1, 1, 1, 1))
        above = {"v/w": rows < middle}  # (PX.5)
        above |= {f"v{i}/conv/w": rows <= middle for i in blocks}
        row = {"h/w": _earlier(size, pixel[:, None] < inner)}  # (PX.6)
        row |= {f"h{i}/conv/w": _earlier(size, inner[:, None] <= inner) for i in blocks}
        row["out/conv/w"] = _earlier(1, inner[:, None] <= out)  # (PX.7)
        return above | row

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; a fresh model gives all images the same probability."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (logits, cache). labels None means the null label, row `classes`, for all.

        Raises ValueError for another shape than the model's, for labels where there are no
        classes, or outside 0 .. classes.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"a PixelCNN for images {self.shape} was given an array of shape {x.shape}: it "
                f"takes (N, {', '.join(map(str, self.shape))})"
            )
        return self.run(masked(params, self.masks), x, labels)

    def run(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (logits, cache) of the network without masks."""
        layers, caches = self._layers(), dict[str, Cache]()
        image = centred(x, self.levels, params["v"]["w"])
        index = Embedding(self.classes, self.features, null=True).labels(labels, len(x))

        def apply(name: str, a: Array) -> Array:
            y: Array
            y, caches[name] = layers[name].forward(params[name], a)
            return y

        v = apply("v", image)
        if self.classes:
            v = v + apply("label", index)[:, None, None, :]
        h = apply("h", image) + apply("link", v)  # (PX.2)
        for i in range(self.blocks):
            v = v + apply(f"v{i}", v)
            h = h + apply(f"h{i}", h) + apply(f"link{i}", v)  # (PX.3)
        logits = apply("out", h)  # (PX.4)
        return np.reshape(logits, (*x.shape, self.levels)), caches  # (PX.1)

    def backward(self, dlogits: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads), dx as if levels were any numbers."""
        layers, grads = self._layers(), dict[str, Any]()

        def undo(name: str, dy: Array) -> Array:
            dx: Array
            dx, grads[name] = layers[name].backward(dy, cache[name])
            return dx

        n, height, width, c, _ = dlogits.shape
        dh = undo("out", np.reshape(dlogits, (n, height, width, c * self.levels)))
        dv = np.zeros_like(dh)
        for i in reversed(range(self.blocks)):
            dv = dv + undo(f"link{i}", dh)
            dh = dh + undo(f"h{i}", dh)
            dv = dv + undo(f"v{i}", dv)  # (PX.8)
        dv = dv + undo("link", dh)
        if self.classes:
            grads["label"] = layers["label"].backward(np.sum(dv, axis=(1, 2)), cache["label"])
        dx = 2.0 / (self.levels - 1) * (undo("h", dh) + undo("v", dv))
        return dx, masked(grads, self.masks)

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        params = masked(self.init(Noise(0)), self.masks)
        return summarize(Unmasked(self), params, np.zeros((1, *self.shape)))

    def _layers(self) -> dict[str, Any]:
        """Return every convolution by name; those after a silu carry it."""
        c, size, ops = self.shape[2], self.features, self.ops

        def after_silu(kernel: int, outputs: int) -> Sequence:
            conv = Conv2d(size, outputs, kernel, gain=0.0, ops=ops)
            return Sequence((("silu", Activation("silu")), ("conv", conv)))

        layers: dict[str, Any] = {
            "v": Conv2d(c, size, self.kernel, gain=1.4, ops=ops),  # half of each filter acts
            "h": Conv2d(c, size, self.kernel, gain=1.4, ops=ops),
            "link": Conv2d(size, size, 1, ops=ops),
            "out": after_silu(1, c * self.levels),
        }
        for i in range(self.blocks):
            layers[f"v{i}"] = after_silu(self.kernel, size)
            layers[f"h{i}"] = after_silu(self.kernel, size)
            layers[f"link{i}"] = after_silu(1, size)
        return layers | ({"label": Embedding(self.classes, size, True)} if self.classes else {})


def _earlier(kernel: int, groups: Array) -> Array:
    """Return the mask of a filter that looks left, and at its own pixel as groups say."""
    mask = np.zeros((kernel, kernel, *groups.shape), bool)
    middle = (kernel - 1) // 2
    mask[middle, :middle], mask[middle, middle] = True, groups
    return mask
