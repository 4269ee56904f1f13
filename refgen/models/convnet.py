r"""A small convolutional network that names the class of a picture.

Shapes     N batch, H W C image, F features, K classes.
           x : (N, H, W, C), or (N, D) points    h : (N, F)    logits : (N, K)
Sources    lecun1989-backprop  (convolutions that share weights, then halve)

A stage looks at every neighbourhood and halves the image; the next has twice the channels. The
image is halved down to 4 .. 7 pixels, or as long as its sides are even.

    x ← halve(silu(conv(x))),   the last stage without halving            (CN.1)
    h = silu(W_h vec(x) + b_h)                                            (CN.2)
    logits = W_o h + b_o                                                  (CN.3)

Adjoint. A chain is read backwards; vec, which only renames positions, is undone by its
inverse. Points have no neighbourhoods, hence no stages.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, Conv2d, Dense, Layer, Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Average:
    """Means of 2 × 2 pixels, (N, H, W, C) -> (N, H/2, W/2, C), without parameters."""

    def init(self, noise: Noise) -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return reference.average_downsample_forward(x, factor=2)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, {})."""
        return reference.average_downsample_backward(dy, cache), {}


@dataclass(frozen=True)
class ConvNet:
    """Stages of convolutions, a hidden layer, and one logit a class.

    channels are those of the first stage, hidden is F. Raises ValueError for sizes below 1.
    """

    shape: tuple[int, ...]
    classes: int
    channels: int = 16
    hidden: int = 64
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classifier tells at least 2 classes apart, not {self.classes}")
        if len(self.shape) not in (1, 3):
            raise ValueError(f"{self.shape} is neither (H, W, C) of images nor (D,) of points")
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw {"stages", "hidden", "out"}; points have no stages."""
        drawn = {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}
        return {name: params for name, params in drawn.items() if params}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (logits, cache)."""
        h, cache = self._hidden(params, x)
        logits, out = self._layers()["out"].forward(params["out"], h)  # (CN.3)
        return logits, (*cache, out)

    def features(self, params: Any, x: Array) -> Array:
        """Return h, the activations of the last layer but one, (N, F)."""
        return self._hidden(params, x)[0]

    def backward(self, dlogits: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, (shape, stages, hidden, out) = self._layers(), cache
        grads: Grads = {}
        dh, grads["out"] = layers["out"].backward(dlogits, out)
        dx, grads["hidden"] = layers["hidden"].backward(dh, hidden)
        dx, of_stages = layers["stages"].backward(np.reshape(dx, shape), stages)
        return dx, grads | ({"stages": of_stages} if of_stages else {})

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, *self.shape)))

    def _hidden(self, params: Any, x: Array) -> tuple[Array, tuple[Any, ...]]:
        if x.shape[1:] != self.shape:
            raise ValueError(f"the classifier of {self.shape} was given examples of {x.shape[1:]}")
        layers = self._layers()
        y, stages = layers["stages"].forward(params.get("stages", {}), x)  # (CN.1)
        flat = np.reshape(y, (len(y), -1))
        h, hidden = layers["hidden"].forward(params["hidden"], flat)  # (CN.2)
        return h, (y.shape, stages, hidden)

    def _layers(self) -> dict[str, Sequence]:
        """Return the stages, the hidden layer and the map to the logits."""
        stages: list[tuple[str, Layer]] = []
        shape = self.shape
        if len(shape) == 3:
            height, width, inputs = shape
            times = halvings(height, width)
            for i in range(times + 1):
                outputs = self.channels * 2**i
                stages.append((f"conv{i}", Conv2d(inputs, outputs, gain=1.4, ops=self.ops)))
                stages.append((f"silu{i}", Activation("silu", self.ops)))
                if i < times:
                    stages.append((f"average{i}", Average()))
                inputs = outputs
            shape = (height >> times, width >> times, inputs)
        hidden = Dense(math.prod(shape), self.hidden, 1.4, self.ops)
        return {
            "stages": Sequence(tuple(stages)),
            "hidden": Sequence((("dense", hidden), ("silu", Activation("silu", self.ops)))),
            "out": Sequence((("dense", Dense(self.hidden, self.classes, 1.0, self.ops)),)),
        }


def halvings(height: int, width: int) -> int:
    """Count how often both sides can be halved and stay at least 4.

    >>> [halvings(n, n) for n in (7, 8, 28, 64)]
    [0, 1, 2, 4]
    """
    count = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    return count
