r"""Adam on a tree of parameters, with a learning rate that rises, then falls like a cosine.

Shapes     every tree has the shape of the parameters of one player
Sources    kingma2015-adam;  loshchilov2017-sgdr  (the cosine)

At update k = 1, 2, ... of K, with W updates of warm-up:

    lr_k = lr · min(1, k/W) · ½ (1 + cos(π (k − 1)/K))                 (OP.1)
    δ_k = min(δ, k / (9 + k)),   the moving average's decay            (OP.2)

The last update is the smallest. (OP.2) lets the average forget the random start: early on it is
nearly the plain mean of what it has seen.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refgen import tree
from refgen.ops.protocol import Ops
from refgen.typing import Grads, Params


@dataclass(frozen=True)
class Adam:
    """The optimizer's settings. Raises ValueError for settings outside their range."""

    updates: int  # K
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    warmup: int = 100  # W
    decay: float = 0.999  # δ

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr must be a positive number, not {self.lr}")
        for name in ("beta1", "beta2", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        if self.warmup < 1:
            raise ValueError(f"warmup counts updates from 1, not {self.warmup}")

    def start(self, params: Params) -> Params:
        """Return {"m", "v", "average"} before the first update."""
        return {
            "m": tree.map(np.zeros_like, params),
            "v": tree.map(np.zeros_like, params),
            "average": tree.map(np.copy, params),
        }

    def lr_at(self, k: int) -> float:
        """Return the learning rate of update k."""
        rise = min(1.0, k / self.warmup)
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * (k - 1) / self.updates))  # (OP.1)

    def update(
        self, ops: Ops, params: Params, grads: Grads, moments: Any, k: int
    ) -> tuple[Params, Params]:
        """Return (params, moments) after update k, leaf by leaf through the table of ops."""
        lr, decay = self.lr_at(k), min(self.decay, k / (9 + k))  # (OP.2)
        step = partial(
            ops.adam_ema_step,
            step=k,
            lr=lr,
            beta1=self.beta1,
            beta2=self.beta2,
            decay=decay,
        )
        before = (grads, moments["m"], moments["v"], moments["average"])
        p, m, v, average = tree.split(step, 4, params, *before)
        return p, {"m": m, "v": v, "average": average}
