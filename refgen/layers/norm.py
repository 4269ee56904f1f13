"""Normalizations as layers; see refgen.ops.normalization and refgen.ops.fused."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.normalization import check_groups
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class GroupNorm:
    """Group norm of (N, *S, channels). Raises ValueError unless groups divide channels."""

    channels: int
    groups: int = 8
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_groups("group norm", self.channels, self.groups)

    def init(self, noise: Noise) -> Params:
        """Return {"gamma": ones, "beta": zeros}: nothing is drawn."""
        return {"gamma": np.ones(self.channels), "beta": np.zeros(self.channels)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return self.ops.group_norm_forward(x, params["gamma"], params["beta"], groups=self.groups)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dgamma, dbeta = self.ops.group_norm_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


@dataclass(frozen=True)
class GroupNormSilu(GroupNorm):
    """Group norm and silu in one op."""

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return self.ops.group_norm_silu_forward(
            x, params["gamma"], params["beta"], groups=self.groups
        )

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dgamma, dbeta = self.ops.group_norm_silu_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


@dataclass(frozen=True)
class LayerNorm:
    """Layer norm of (N, *S, channels) over its last axis."""

    channels: int
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Return {"gamma": ones, "beta": zeros}: nothing is drawn."""
        return {"gamma": np.ones(self.channels), "beta": np.zeros(self.channels)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return self.ops.layer_norm_forward(x, params["gamma"], params["beta"])

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, dgamma, dbeta = self.ops.layer_norm_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}
