"""Convolutions as layers; see refgen.ops.conv."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Conv2d:
    """A convolution, (N, H, W, inputs) -> (N, H', W', outputs).

    padding None keeps the size at stride 1 and halves even sizes at stride 2, for odd kernels:
    (kernel − 1) / 2. Weights start with variance gain² / (kernel² inputs / groups)
    (he2015-rectifiers), biases at 0.
    """

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    groups: int = 1
    gain: float = 1.0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_sizes("convolution", self.inputs, self.outputs, self.kernel, self.groups)
        if self.padding is None and self.kernel % 2 == 0:
            raise ValueError(f"an even kernel, {self.kernel}, has no padding that keeps the size")

    def init(self, noise: Noise) -> Params:
        """Draw {"w": (kernel, kernel, inputs / groups, outputs), "b": (outputs,)}."""
        shape = (self.kernel, self.kernel, self.inputs // self.groups, self.outputs)
        std = self.gain / math.sqrt(math.prod(shape[:3]))
        return {"w": std * noise.at("w").normal(shape), "b": np.zeros(self.outputs)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError unless x is (N, H, W, inputs)."""
        _refuse_image(x, self.inputs)
        around = (self.kernel - 1) // 2 if self.padding is None else self.padding
        return self.ops.conv2d_forward(
            x,
            params["w"],
            params["b"],
            stride=self.stride,
            padding=around,
            groups=self.groups,
        )

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dw, db = self.ops.conv2d_backward(dy, cache)
        return dx, {"w": dw, "b": db}


@dataclass(frozen=True)
class ConvTranspose2d:
    """A transposed convolution, (N, H, W, inputs) -> (N, (H − 1) stride + kernel − 2 padding, ...).

    kernel 4, stride 2, padding 1 double an image. Each output pixel is reached by about
    (kernel / stride)² entries of the filter for every input, so weights start with variance
    gain² stride² / (kernel² inputs / groups).
    """

    inputs: int
    outputs: int
    kernel: int = 4
    stride: int = 2
    padding: int = 1
    output_padding: int = 0
    groups: int = 1
    gain: float = 1.0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_sizes("transposed convolution", self.inputs, self.outputs, self.kernel, self.groups)

    def init(self, noise: Noise) -> Params:
        """Draw {"w": (kernel, kernel, outputs / groups, inputs), "b": (outputs,)}."""
        shape = (self.kernel, self.kernel, self.outputs // self.groups, self.inputs)
        fan_in = self.kernel**2 * (self.inputs // self.groups) / self.stride**2
        std = self.gain / math.sqrt(fan_in)
        return {"w": std * noise.at("w").normal(shape), "b": np.zeros(self.outputs)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError unless x is (N, H, W, inputs)."""
        _refuse_image(x, self.inputs)
        return self.ops.conv_transpose2d_forward(
            x,
            params["w"],
            params["b"],
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
        )

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dw, db = self.ops.conv_transpose2d_backward(dy, cache)
        return dx, {"w": dw, "b": db}


def _refuse_sizes(name: str, inputs: int, outputs: int, kernel: int, groups: int) -> None:
    if min(inputs, outputs, kernel, groups) < 1:
        raise ValueError(
            f"a {name} needs sizes of at least 1, not {inputs} inputs, {outputs} outputs, "
            f"kernel {kernel}, {groups} groups"
        )
    for what, size in (("inputs", inputs), ("outputs", outputs)):
        if size % groups:
            raise ValueError(
                f"a {name} of {groups} groups needs {what} that are a multiple of {groups}, "
                f"not {size}"
            )


def _refuse_image(x: Array, inputs: int) -> None:
    if x.ndim != 4 or x.shape[-1] != inputs:
        raise ValueError(
            f"a convolution of {inputs} channels was given an array of shape {x.shape}: it takes "
            f"(N, H, W, {inputs})"
        )
