r"""The block of a transformer: tokens look at each other, then each thinks for itself.

Shapes     N batch, L tokens, D features.   x, y, dx, dy : (N, L, D)
           mask : (L, L), true where a token (row) may look (column)
Sources    vaswani2017-attention  section 3;  xiong2020-prenorm  figure 1b (norm first)

    h = x + attention(norm₁(x) W, mask) W_o                                      (TF.1)
    y = h + mlp(norm₂(h))                                                        (TF.2)

Only attention mixes tokens: norm and mlp read one token each, so what the mask forbids stays
forbidden through any number of blocks. Both branches end in a map that starts at 0, the block
therefore starts as the identity.

Adjoint. Each sum passes dy around its branch and through it:

    dh = dy + norm₂ᵀ mlpᵀ dy,   dx = dh + norm₁ᵀ attentionᵀ dh                     (TF.3)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.activation import Activation
from refgen.layers.dense import Dense
from refgen.layers.norm import LayerNorm
from refgen.layers.sequence import Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class TransformerBlock:
    """Map tokens (N, L, features) to tokens.

    Raises ValueError for features that heads do not divide.
    """

    features: int
    heads: int = 4
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.heads < 1 or self.features % self.heads:
            raise ValueError(
                f"{self.features} features cannot be cut into {self.heads} heads: they must be a "
                f"multiple of {max(self.heads, 1)}"
            )

    def init(self, noise: Noise) -> Params:
        """Draw the parameters of every part."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, mask: Array | None = None) -> tuple[Array, Cache]:
        """Return (y, cache). mask None lets every token see all."""
        layers, caches = self._layers(), dict[str, Cache]()
        h, caches["norm1"] = layers["norm1"].forward(params["norm1"], x)
        qkv, caches["qkv"] = layers["qkv"].forward(params["qkv"], h)
        q, k, v = np.split(qkv, 3, axis=-1)
        h, caches["attend"] = self.ops.attention_forward(q, k, v, mask, heads=self.heads)
        h, caches["merge"] = layers["merge"].forward(params["merge"], h)
        x = x + h  # (TF.1)
        h, caches["norm2"] = layers["norm2"].forward(params["norm2"], x)
        h, caches["mlp"] = layers["mlp"].forward(params["mlp"], h)
        return x + h, caches  # (TF.2)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["mlp"] = layers["mlp"].backward(dy, cache["mlp"])
        dh, grads["norm2"] = layers["norm2"].backward(dh, cache["norm2"])
        dy = dy + dh
        dh, grads["merge"] = layers["merge"].backward(dy, cache["merge"])
        dqkv = np.concatenate(self.ops.attention_backward(dh, cache["attend"]), axis=-1)
        dh, grads["qkv"] = layers["qkv"].backward(dqkv, cache["qkv"])
        dh, grads["norm1"] = layers["norm1"].backward(dh, cache["norm1"])
        return dy + dh, grads  # (TF.3)

    def _layers(self) -> dict[str, Any]:
        size, ops = self.features, self.ops
        mlp = (
            ("dense0", Dense(size, 4 * size, 1.4, ops)),
            ("gelu", Activation("gelu", ops)),
            ("dense1", Dense(4 * size, size, 0.0, ops)),
        )
        return {
            "norm1": LayerNorm(size, ops),
            "qkv": Dense(size, 3 * size, 1.0, ops),
            "merge": Dense(size, size, 0.0, ops),
            "norm2": LayerNorm(size, ops),
            "mlp": Sequence(mlp),
        }
