r"""The block of a diffusion transformer: attention and an MLP, both steered by the condition.

Shapes     N batch, L tokens, D features, E embedding.   x, y, dx, dy : (N, L, D)
           e, de : (N, E)    each of the six numbers of (DB.1) : (N, D)
Sources    peebles2023-dit  section 3.2 and figure 3 (AdaLN-Zero)

    (a₁, b₁, g₁, a₂, b₂, g₂) = V e                                               (DB.1)
    h = x + g₁ attention((1 + a₁) norm(x) + b₁)                                  (DB.2)
    y = h + g₂ mlp((1 + a₂) norm(h) + b₂)                                        (DB.3)

norm is the layer norm without parameters of its own. V starts at 0, so all gates are shut and
the block starts as the identity; the gates open first, since dg sees the branch.

Adjoint. A sum passes its gradient to both summands, so each of (DB.2) and (DB.3) adds the
gradient of its branch to dh. e decided six numbers, which come back side by side:

    de = Vᵀ (da₁, db₁, dg₁, da₂, db₂, dg₂)                                       (DB.4)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.activation import Activation
from refgen.layers.dense import Dense
from refgen.layers.sequence import Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class DiTBlock:
    """Map tokens (N, L, features) and an embedding (N, embedding) to tokens.

    Raises ValueError for features that heads do not divide.
    """

    features: int
    embedding: int
    heads: int = 4
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.heads < 1 or self.features % self.heads:
            raise ValueError(
                f"{self.features} features cannot be cut into {self.heads} heads: they must be a "
                f"multiple of {self.heads}"
            )

    def init(self, noise: Noise) -> Params:
        """Draw the parameters of every part."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, e: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self._layers()
        six, steer = layers["steer"].forward(params["steer"], e)
        a1, b1, g1, a2, b2, g2 = np.split(six, 6, axis=1)  # (DB.1)
        h, norm1 = reference.adaln_forward(x, a1, b1)
        qkv, project = layers["qkv"].forward(params["qkv"], h)
        q, k, v = np.split(qkv, 3, axis=-1)
        h, attend = self.ops.attention_forward(q, k, v, heads=self.heads)
        h, merge = layers["merge"].forward(params["merge"], h)
        x, gate1 = reference.gate_forward(x, h, g1)  # (DB.2)
        h, norm2 = reference.adaln_forward(x, a2, b2)
        h, mlp = layers["mlp"].forward(params["mlp"], h)
        y, gate2 = reference.gate_forward(x, h, g2)  # (DB.3)
        return y, (steer, norm1, project, attend, merge, gate1, norm2, mlp, gate2)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Grads]:
        """Return (dx, de, grads)."""
        steer, norm1, project, attend, merge, gate1, norm2, mlp, gate2 = cache
        layers, grads = self._layers(), dict[str, Any]()
        around, dh, dg2 = reference.gate_backward(dy, gate2)
        dh, grads["mlp"] = layers["mlp"].backward(dh, mlp)
        dh, da2, db2 = reference.adaln_backward(dh, norm2)
        around, dh, dg1 = reference.gate_backward(around + dh, gate1)
        dh, grads["merge"] = layers["merge"].backward(dh, merge)
        dqkv = np.concatenate(self.ops.attention_backward(dh, attend), axis=-1)
        dh, grads["qkv"] = layers["qkv"].backward(dqkv, project)
        dh, da1, db1 = reference.adaln_backward(dh, norm1)
        dsix = np.concatenate([da1, db1, dg1, da2, db2, dg2], axis=1)
        de, grads["steer"] = layers["steer"].backward(dsix, steer)  # (DB.4)
        return around + dh, de, grads

    def _layers(self) -> dict[str, Any]:
        size, ops = self.features, self.ops
        mlp = (
            ("dense0", Dense(size, 4 * size, 1.4, ops)),
            ("gelu", Activation("gelu", ops)),
            ("dense1", Dense(4 * size, size, 1.0, ops)),
        )
        return {
            "steer": Dense(self.embedding, 6 * size, 0.0, ops),
            "qkv": Dense(size, 3 * size, 1.0, ops),
            "merge": Dense(size, size, 1.0, ops),
            "mlp": Sequence(mlp),
        }
