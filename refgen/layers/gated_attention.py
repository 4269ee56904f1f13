r"""The attention block of SAGAN: attention whose gate is learned and starts shut.

Shapes     N batch, H, W image, L = H W places, C channels, C' = C / reduction.
           x, y, dx, dy : (N, H, W, C)    gate : (1,)
Sources    zhang2019-sagan  eq. 1-3 and figure 2

    f = x W_f,   g = x W_g,   h = x W_h      1 × 1 convolutions to C', C', C'     (SA.1)
    A = softmax over places j of g_i · f_j,   o = (A h) W_v                       (SA.2)
    y = x + gate · o                                                              (SA.3)

The scores are not divided by √C', as in the paper. The gate is one number that starts at 0: the
network first learns from neighbours, and then from afar as far as that helps.

Adjoint. The gate felt every entry of o, so it gets their sum:

    dgate = Σ dy o,   do = gate dy,   dx = dy + what returns through f, g and h     (SA.4)
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.dense import Dense
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class GatedAttention:
    """Map (N, H, W, channels) to the same. Raises ValueError unless reduction divides channels."""

    channels: int
    reduction: int = 8
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.reduction < 1 or self.channels % self.reduction:
            raise ValueError(
                f"gated attention: {self.channels} channels cannot be reduced {self.reduction} "
                f"times: channels must be a multiple of {max(self.reduction, 1)}"
            )

    def init(self, noise: Noise) -> Params:
        """Draw the projections; the gate starts at 0."""
        drawn = {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}
        return {**drawn, "gate": np.zeros(1)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers, caches = self._layers(), dict[str, Cache]()
        places = np.reshape(x, (x.shape[0], -1, self.channels))
        three = []
        for name in ("f", "g", "h"):
            projected, caches[name] = layers[name].forward(params[name], places)  # (SA.1)
            three.append(projected)
        f, g, h = three
        taken, caches["attend"] = self.ops.attention_forward(self._scale * g, f, h, heads=1)
        o, caches["v"] = layers["v"].forward(params["v"], taken)  # (SA.2)
        caches["o"], caches["gate"] = o, params["gate"]
        return x + np.reshape(params["gate"] * o, x.shape), caches  # (SA.3)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers, grads = self._layers(), dict[str, Any]()
        dplaces = np.reshape(dy, cache["o"].shape)
        grads["gate"] = np.reshape(np.sum(dplaces * cache["o"]), (1,))
        dtaken, grads["v"] = layers["v"].backward(cache["gate"] * dplaces, cache["v"])
        dg, df, dh = self.ops.attention_backward(dtaken, cache["attend"])
        dx = dplaces
        for name, d in (("f", df), ("g", self._scale * dg), ("h", dh)):
            through, grads[name] = layers[name].backward(d, cache[name])
            dx = dx + through  # (SA.4)
        return np.reshape(dx, dy.shape), grads

    @property
    def _scale(self) -> float:
        """√C', which undoes the division in attention."""
        return math.sqrt(self.channels // self.reduction)

    def _layers(self) -> dict[str, Dense]:
        c, few = self.channels, self.channels // self.reduction
        down = {name: Dense(c, few, 1.0, self.ops) for name in ("f", "g", "h")}
        return {**down, "v": Dense(few, c, 1.0, self.ops)}
