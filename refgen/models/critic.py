r"""A residual critic: one number an image, and no image can change it faster than it moves.

Shapes     N batch, H, W image, C channels, K classes.   x, dx : (N, H, W, C)    y, dy : (N, 1)
           labels : (N,) in 0 .. K − 1
Sources    miyato2018-spectral-norm  appendix B (the residual critic);
           miyato2018-projection  eq. 3 (labels by projection)

    first:   h = average(conv₂(relu(conv₁(x)))) + skip(average(x))                (RC.1)
    block:   h ← average(conv₂(relu(conv₁(relu(h))))) + average(skip(h))          (RC.2)
    φ = Σ_pixels relu(h),   y = φ · w + b + φ · E[label]                           (RC.3)

Every weight is divided by its spectral norm, which keeps slopes bounded; there is no batch
norm, so an example is judged alone. Without classes the last term is left out.

Adjoint. Both ways around a block add; averages share out; the sum over pixels hands dφ to each.
φ is felt by w and by the row of the label: dφ = dy (w + E[label]), dE[label] += dy φ.   (RC.4)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Conv2d, Dense, Spectral
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class CriticBlock:
    """One residual block that halves an image, or keeps its size at the lowest level."""

    inputs: int
    outputs: int
    first: bool = False  # no activation before the first convolution, which would cut the image
    halve: bool = True
    ops: Ops = field(default=reference, repr=False, compare=False)

    def layers(self) -> dict[str, Spectral]:
        """Return the convolutions by name."""
        convs = {
            "conv1": Conv2d(self.inputs, self.outputs, gain=1.4, ops=self.ops),
            "conv2": Conv2d(self.outputs, self.outputs, gain=1.4, ops=self.ops),
            "skip": Conv2d(self.inputs, self.outputs, kernel=1, ops=self.ops),
        }
        return {name: Spectral(conv) for name, conv in convs.items()}

    def forward(self, params: Any, x: Array, state: Any) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self.layers()
        h, act1 = (x, None) if self.first else reference.relu_forward(x)
        h, conv1 = layers["conv1"].forward(params["conv1"], h, state["conv1"])
        h, act2 = reference.relu_forward(h)
        h, conv2 = layers["conv2"].forward(params["conv2"], h, state["conv2"])
        around, skip = layers["skip"].forward(params["skip"], x, state["skip"])
        y, average = self._average(h + around)  # averaging is linear: once, after the sum
        return y, (act1, conv1, act2, conv2, skip, average)  # (RC.1), (RC.2)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        act1, conv1, act2, conv2, skip, average = cache
        layers, grads = self.layers(), dict[str, Any]()
        dsum = reference.average_downsample_backward(dy, average) if self.halve else dy
        around, grads["skip"] = layers["skip"].backward(dsum, skip)
        dh, grads["conv2"] = layers["conv2"].backward(dsum, conv2)
        dh, grads["conv1"] = layers["conv1"].backward(reference.relu_backward(dh, act2), conv1)
        return around + (dh if self.first else reference.relu_backward(dh, act1)), grads

    def _average(self, x: Array) -> tuple[Array, Cache]:
        return reference.average_downsample_forward(x, factor=2) if self.halve else (x, None)


@dataclass(frozen=True)
class Critic:
    """Score images, (N, *shape) -> (N, 1), with the vectors of its spectral norms as a state.

    Raises ValueError for sides that are no multiple of 2^halvings, naming the divisor.
    """

    shape: tuple[int, int, int]
    channels: int = 32
    halvings: int = 1
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or self.halvings < 1:
            raise ValueError(
                f"a critic takes images (H, W, C) and halves them at least once, not {self.shape} "
                f"{self.halvings} times"
            )
        for axis, size in (("height", self.shape[0]), ("width", self.shape[1])):
            if size % 2**self.halvings:
                raise ValueError(
                    f"a critic that halves {self.halvings} times needs {axis} as a multiple of "
                    f"{2**self.halvings}, not {size}"
                )

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        params: Params = {}
        for name, block in self._blocks().items():
            place = noise.at(name)
            params[name] = {k: conv.init(place.at(k)) for k, conv in block.layers().items()}
        params["out"] = self._out.init(noise.at("out"))
        if self.classes:
            table = noise.at("label").normal((self.classes, self.channels))
            params["label"] = table / np.sqrt(self.channels)
        return params

    def start(self, params: Any, noise: Noise) -> Params:
        """Return the state: the vectors of every spectral norm."""
        place = noise.at("spectral")
        state: Params = {}
        for name, block in self._blocks().items():
            state[name] = {
                k: conv.start(params[name][k], place.at(name, k))
                for k, conv in block.layers().items()
            }
        state["out"] = self._out.start(params["out"], place.at("out"))
        return state

    def advance(self, params: Any, state: Any) -> Params:
        """Return the state after one more power iteration for every weight."""
        moved: Params = {}
        for name, block in self._blocks().items():
            moved[name] = {
                k: conv.advance(params[name][k], state[name][k])
                for k, conv in block.layers().items()
            }
        moved["out"] = self._out.advance(params["out"], state["out"])
        return moved

    def forward(
        self, params: Any, x: Array, state: Any, labels: Array | None = None
    ) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError where labels are missing or of no use."""
        if (labels is None) != (self.classes == 0):
            said = "needs labels" if self.classes else "has no use for labels"
            raise ValueError(f"a critic of {self.classes} classes {said}")
        if x.shape[1:] != self.shape:
            raise ValueError(f"a critic of images {self.shape} was given {x.shape[1:]}")
        caches: dict[str, Cache] = {}
        for name, block in self._blocks().items():
            x, caches[name] = block.forward(params[name], x, state[name])
        h, caches["relu"] = reference.relu_forward(x)
        phi = np.sum(h, axis=(1, 2))
        y, caches["out"] = self._out.forward(params["out"], phi, state["out"])
        if labels is not None:
            rows, caches["label"] = reference.embedding_lookup_forward(labels, params["label"])
            y = y + np.sum(phi * rows, axis=1, keepdims=True)  # (RC.3)
            caches["phi"], caches["rows"] = phi, rows
        caches["size"] = h.shape
        return y, caches

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        grads: dict[str, Any] = {}
        dphi, grads["out"] = self._out.backward(dy, cache["out"])
        if self.classes:
            dphi = dphi + dy * cache["rows"]
            grads["label"] = reference.embedding_lookup_backward(
                dy * cache["phi"], cache["label"]
            )  # (RC.4)
        dh = np.broadcast_to(dphi[:, None, None, :], cache["size"])
        dx = reference.relu_backward(dh, cache["relu"])
        for name, block in reversed(self._blocks().items()):
            dx, grads[name] = block.backward(dx, cache[name])
        return dx, grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        params, x = self.init(Noise(0)), np.zeros((1, *self.shape))
        labels = (np.zeros(1, int),) if self.classes else ()
        return summarize(self, params, x, self.start(params, Noise(0)), *labels)

    @property
    def _out(self) -> Spectral:
        return Spectral(Dense(self.channels, 1, 1.0, self.ops))

    def _blocks(self) -> dict[str, CriticBlock]:
        c, ops = self.channels, self.ops
        blocks = {"block0": CriticBlock(self.shape[2], c, first=True, ops=ops)}
        for i in range(1, self.halvings):
            blocks[f"block{i}"] = CriticBlock(c, c, ops=ops)
        blocks[f"block{self.halvings}"] = CriticBlock(c, c, halve=False, ops=ops)
        return blocks
