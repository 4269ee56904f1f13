"""Changes of resolution with something to learn; see refgen.ops.resample and refgen.ops.conv."""

from dataclasses import dataclass, field
from typing import Any

from refgen import ops as reference
from refgen.layers.conv import Conv2d
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Halve:
    """A convolution of stride 2, (N, H, W, C) -> (N, H/2, W/2, C) for even sizes."""

    channels: int
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Draw the filter."""
        return self._conv.init(noise)

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError for an odd size."""
        for axis, size in (("height", x.shape[1]), ("width", x.shape[2])):
            if size % 2:
                raise ValueError(f"an image of {axis} {size} cannot be halved: make it even")
        return self._conv.forward(params, x)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        return self._conv.backward(dy, cache)

    @property
    def _conv(self) -> Conv2d:
        return Conv2d(self.channels, self.channels, stride=2, ops=self.ops)


@dataclass(frozen=True)
class Double:
    """Every pixel repeated 2 × 2 times, then a convolution, (N, H, W, C) -> (N, 2H, 2W, O).

    outputs is O, as many as channels for 0. Repeating first spreads every pixel evenly; a
    transposed convolution whose kernel is no multiple of its stride reaches some pixels more
    often than others. See refgen.ops.upsample_conv.
    """

    channels: int
    outputs: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Draw the filter."""
        return self._conv.init(noise)

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return self.ops.upsample_conv2d_forward(x, params["w"], params["b"], padding=1)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dw, db = self.ops.upsample_conv2d_backward(dy, cache)
        return dx, {"w": dw, "b": db}

    @property
    def _conv(self) -> Conv2d:
        return Conv2d(self.channels, self.outputs or self.channels, ops=self.ops)
