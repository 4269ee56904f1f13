"""The dense layer; see refgen.ops.dense."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Dense:
    """An affine map of the last axis, (N, *S, inputs) -> (N, *S, outputs).

    Weights start with variance gain² / inputs (he2015-rectifiers), biases at 0. gain 0 starts the
    layer as the zero map, so that a residual branch ending in it starts as the identity.
    """

    inputs: int
    outputs: int
    gain: float = 1.0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a dense layer needs sizes of at least 1, not {self}")

    def init(self, noise: Noise) -> Params:
        """Draw {"w": (inputs, outputs), "b": (outputs,)}."""
        std = self.gain / math.sqrt(self.inputs)
        w = std * noise.at("w").normal((self.inputs, self.outputs))
        return {"w": w, "b": np.zeros(self.outputs)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError where the last axis of x is not `inputs` long."""
        if x.shape[-1] != self.inputs:
            raise ValueError(
                f"a dense layer of {self.inputs} inputs was given an array of shape {x.shape}: "
                f"its last axis must be {self.inputs}"
            )
        return self.ops.dense_forward(x, params["w"], params["b"])

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dw, db = self.ops.dense_backward(dy, cache)
        return dx, {"w": dw, "b": db}
