"""What a layer is: a frozen description whose arrays travel beside it."""

from typing import Protocol

from refgen.noise import Noise
from refgen.typing import Array, Cache, Grads, Params


class Layer(Protocol):
    """One input, one output, and the parameters between them.

    A layer may be applied several times before any backward: nothing is kept in it.
    """

    def init(self, noise: Noise) -> Params:
        """Draw the parameters, float64."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads); grads has the tree of params."""
