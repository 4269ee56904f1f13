"""Activations as layers without parameters; see refgen.ops.activation."""

from dataclasses import dataclass, field
from typing import Any

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "softplus", "gelu")


@dataclass(frozen=True)
class Activation:
    """One of NAMES, applied entry by entry."""

    name: str
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown activation {self.name!r}; there are {', '.join(NAMES)}")

    def init(self, noise: Noise) -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        y, cache = getattr(self.ops, f"{self.name}_forward")(x)
        return y, cache

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, {})."""
        return getattr(self.ops, f"{self.name}_backward")(dy, cache), {}
