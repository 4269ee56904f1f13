"""Dropout as a layer; see refgen.ops.regularization."""

from dataclasses import dataclass

from refgen import ops
from refgen.noise import Noise
from refgen.typing import Array, Cache


@dataclass(frozen=True)
class Dropout:
    """Drop a share of the entries while training; afterwards, simply leave it out.

    It has no parameters, and which entries go is decided by a place in the noise: the same place
    drops the same entries. Raises ValueError unless 0 ≤ rate < 1.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"dropout drops a share in [0, 1), not {self.rate}")

    def train(self, x: Array, noise: Noise) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        uniform = noise.uniform(x.shape).astype(x.real.dtype)
        return ops.dropout_forward(x, uniform, rate=self.rate)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """Return dx."""
        return ops.dropout_backward(dy, cache)
