r"""Attention as a layer: among the pixels of an image, or from an image to a row of tokens.

Shapes     N batch, *S axes of places, C channels, L tokens of size D.
           x, y, dx, dy : (N, *S, C)    tokens, dtokens : (N, L, D)
Sources    zhang2019-sagan;  ho2020-ddpm  appendix B;  rombach2022-latent  section 3.3

    self:    (q, k, v) = norm(x) W,                          y = x + attention(q, k, v) W_o   (LA.1)
    cross:   q = norm(x) W_q,   (k, v) = tokens W_kv,        y = x + attention(q, k, v) W_o   (LA.2)

W_o starts at 0, the layer therefore as the identity. A place is told apart by its features
alone: shuffle the places and the output is shuffled with them.

Adjoint. The sum passes dy around the attention and through it; tokens were read by every place,
which is why attention already returns their gradients summed.                          (LA.3)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.dense import Dense
from refgen.layers.norm import GroupNorm
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class SelfAttention:
    """Attention among the places of x, with the way around it, (N, *S, channels) -> the same.

    Raises ValueError for channels that heads or groups do not divide.
    """

    channels: int
    heads: int = 4
    groups: int = 8
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_heads(self.channels, self.heads)
        self._layers()  # refuses groups that do not fit

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self._layers()
        h, norm = layers["norm"].forward(params["norm"], x)
        qkv, project = layers["qkv"].forward(params["qkv"], _places(h))
        q, k, v = np.split(qkv, 3, axis=-1)
        h, attend = self.ops.attention_forward(q, k, v, heads=self.heads)
        h, merge = layers["out"].forward(params["out"], h)
        return x + np.reshape(h, x.shape), (norm, project, attend, merge)  # (LA.1)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        norm, project, attend, merge = cache
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["out"] = layers["out"].backward(_places(dy), merge)
        dqkv = np.concatenate(self.ops.attention_backward(dh, attend), axis=-1)
        dh, grads["qkv"] = layers["qkv"].backward(dqkv, project)
        dx, grads["norm"] = layers["norm"].backward(np.reshape(dh, dy.shape), norm)
        return dy + dx, grads  # (LA.3)

    def _layers(self) -> dict[str, Any]:
        c, ops = self.channels, self.ops
        return {
            "norm": GroupNorm(c, self.groups, ops),
            "qkv": Dense(c, 3 * c, 1.0, ops),
            "out": Dense(c, c, 0.0, ops),
        }


@dataclass(frozen=True)
class CrossAttention:
    """Attention from the places of x to tokens (N, L, context), with the way around it.

    Raises ValueError for channels that heads or groups do not divide.
    """

    channels: int
    context: int
    heads: int = 4
    groups: int = 8
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_heads(self.channels, self.heads)
        self._layers()  # refuses groups that do not fit

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, tokens: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self._layers()
        h, norm = layers["norm"].forward(params["norm"], x)
        q, ask = layers["q"].forward(params["q"], _places(h))
        kv, answer = layers["kv"].forward(params["kv"], tokens)
        k, v = np.split(kv, 2, axis=-1)
        h, attend = self.ops.attention_forward(q, k, v, heads=self.heads)
        h, merge = layers["out"].forward(params["out"], h)
        return x + np.reshape(h, x.shape), (norm, ask, answer, attend, merge)  # (LA.2)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Grads]:
        """Return (dx, dtokens, grads)."""
        norm, ask, answer, attend, merge = cache
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["out"] = layers["out"].backward(_places(dy), merge)
        dq, dk, dv = self.ops.attention_backward(dh, attend)
        dkv = np.concatenate([dk, dv], axis=-1)
        dtokens, grads["kv"] = layers["kv"].backward(dkv, answer)
        dh, grads["q"] = layers["q"].backward(dq, ask)
        dx, grads["norm"] = layers["norm"].backward(np.reshape(dh, dy.shape), norm)
        return dy + dx, dtokens, grads

    def _layers(self) -> dict[str, Any]:
        c, ops = self.channels, self.ops
        return {
            "norm": GroupNorm(c, self.groups, ops),
            "q": Dense(c, c, 1.0, ops),
            "kv": Dense(self.context, 2 * c, 1.0, ops),
            "out": Dense(c, c, 0.0, ops),
        }


def _places(x: Array) -> Array:
    """Return (N, *S, C) as a row of places, (N, S, C)."""
    return np.reshape(x, (x.shape[0], -1, x.shape[-1]))


def _refuse_heads(channels: int, heads: int) -> None:
    if heads < 1 or channels % heads:
        raise ValueError(
            f"attention: {channels} channels cannot be cut into {heads} heads: channels must be a "
            f"multiple of {max(heads, 1)}"
        )
