r"""A residual MLP: a plain one whose layers only correct what they were given.

Shapes     N batch, I inputs, H hidden, O outputs.   x : (N, I)    h : (N, H)    y : (N, O)
Sources    he2016-identity  figure 1b

    h = W_in x,   h ← h + W₂ silu(W₁ silu(h))   for each block,   y = W_out silu(h)   (RM.1)

Adjoint. A sum passes its gradient to both summands: around each block and through it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, Dense, Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class ResidualMLP:
    """Map (N, inputs) to (N, outputs); every block starts as the identity.

    Raises ValueError for sizes below 1.
    """

    inputs: int
    outputs: int
    hidden: int = 128
    blocks: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"blocks must be at least 1, not {self.blocks}")
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers, caches = self._layers(), {}
        h, caches["in"] = layers["in"].forward(params["in"], x)
        for i in range(self.blocks):
            branch, caches[f"block{i}"] = layers[f"block{i}"].forward(params[f"block{i}"], h)
            h = h + branch
        y, caches["out"] = layers["out"].forward(params["out"], h)  # (RM.1)
        return y, caches

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["out"] = layers["out"].backward(dy, cache["out"])
        for i in reversed(range(self.blocks)):
            through, grads[f"block{i}"] = layers[f"block{i}"].backward(dh, cache[f"block{i}"])
            dh = dh + through
        dx, grads["in"] = layers["in"].backward(dh, cache["in"])
        return dx, grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, self.inputs)))

    def _layers(self) -> dict[str, Any]:
        h, silu = self.hidden, Activation("silu", self.ops)
        layers: dict[str, Any] = {
            "in": Dense(self.inputs, h, 1.0, self.ops),
            "out": Sequence((("silu", silu), ("dense", Dense(h, self.outputs, 1.0, self.ops)))),
        }
        for i in range(self.blocks):
            layers[f"block{i}"] = Sequence(
                (
                    ("silu0", silu),
                    ("dense0", Dense(h, h, 1.4, self.ops)),
                    ("silu1", silu),
                    ("dense1", Dense(h, h, 0.0, self.ops)),
                )
            )
        return layers
