r"""Batch norm as a layer, plain and by class; see refgen.ops.batch_norm.

Shapes     N batch, *S image axes, C channels, K classes.   x, y : (N, *S, C)    labels : (N,)
Sources    ioffe2015-batch-norm;  brock2019-biggan  (gains and biases by class)

A layer keeps nothing, so the statistics of a batch come back beside its output, and the running
ones stand in a tree of their own that no gradient reaches:

    y, seen, cache = layer.train(params, x)        # normalized by the batch's own statistics
    running = layer.collect(running, seen)         # (BN.3)
    y, cache = layer.forward(params, x, running)   # normalized by what was collected

By class, γ and β are rows of a table, so scale and shift are those of FiLM after a norm without
its own:  y = (1 + a[label]) x̂ + b[label].
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


class Seen(NamedTuple):
    """The statistics of one batch, (C,) each."""

    mean: Array
    var: Array
    size: int  # numbers a channel


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm of (N, *S, channels)."""

    channels: int
    momentum: float = 0.1
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Return {"gamma": ones, "beta": zeros}: nothing is drawn."""
        return {"gamma": np.ones(self.channels), "beta": np.zeros(self.channels)}

    def start(self) -> Params:
        """Return the running statistics before the first batch, {"mean": 0, "var": 1}."""
        return {"mean": np.zeros(self.channels), "var": np.ones(self.channels)}

    def collect(self, running: Any, seen: Seen) -> Params:
        """Return the running statistics after one more batch."""
        mean, var = reference.running_step(
            running["mean"],
            running["var"],
            seen.mean,
            seen.var,
            count=seen.size,
            momentum=self.momentum,
        )
        return {"mean": mean, "var": var}

    def train(self, params: Any, x: Array) -> tuple[Array, Seen, Cache]:
        """Return (y, statistics of this batch, cache)."""
        y, mean, var, cache = self.ops.batch_norm_forward(x, params["gamma"], params["beta"])
        return y, Seen(mean, var, x.size // self.channels), cache

    def train_backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads) of train; the statistics are taken for results that no loss uses."""
        none = np.zeros_like(cache.gamma)
        dx, dgamma, dbeta = self.ops.batch_norm_backward(dy, none, none, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}

    def forward(self, params: Any, x: Array, running: Any) -> tuple[Array, Cache]:
        """Return (y, cache), normalized by running statistics."""
        return reference.fixed_norm_forward(
            x, params["gamma"], params["beta"], running["mean"], running["var"]
        )

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads) of forward."""
        dx, dgamma, dbeta, _, _ = reference.fixed_norm_backward(dy, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


@dataclass(frozen=True)
class ClassBatchNorm:
    """Batch norm whose scale and shift belong to the class of an example.

    Both tables start at 0, so all classes start alike. Raises ValueError for labels outside
    0 .. classes − 1.
    """

    channels: int
    classes: int
    momentum: float = 0.1
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Return {"scale", "shift"}, (classes, channels) zeros: nothing is drawn."""
        empty = np.zeros((self.classes, self.channels))
        return {"scale": empty, "shift": empty}

    def start(self) -> Params:
        """Return the running statistics before the first batch."""
        return self._norm.start()

    def collect(self, running: Any, seen: Seen) -> Params:
        """Return the running statistics after one more batch."""
        return self._norm.collect(running, seen)

    def train(self, params: Any, x: Array, labels: Array) -> tuple[Array, Seen, Cache]:
        """Return (y, statistics of this batch, cache)."""
        h, seen, norm = self._norm.train(self._bare(x), x)
        y, steer = self._steer(params, h, labels)
        return y, seen, (norm, steer)

    def train_backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads) of train."""
        norm, steer = cache
        dh, grads = self._steer_backward(dy, steer)
        return self._norm.train_backward(dh, norm)[0], grads

    def forward(self, params: Any, x: Array, labels: Array, running: Any) -> tuple[Array, Cache]:
        """Return (y, cache), normalized by running statistics."""
        h, norm = self._norm.forward(self._bare(x), x, running)
        y, steer = self._steer(params, h, labels)
        return y, (norm, steer)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads) of forward."""
        norm, steer = cache
        dh, grads = self._steer_backward(dy, steer)
        return self._norm.backward(dh, norm)[0], grads

    @property
    def _norm(self) -> BatchNorm:
        return BatchNorm(self.channels, self.momentum, self.ops)

    def _bare(self, x: Array) -> Params:
        """Return a scale of 1 and a shift of 0, in the dtype of x."""
        init = self._norm.init(Noise(0))
        return {name: np.asarray(a).astype(x.dtype) for name, a in init.items()}

    def _steer(self, params: Any, h: Array, labels: Array) -> tuple[Array, Cache]:
        scale, look = reference.embedding_lookup_forward(labels, params["scale"])
        shift, _ = reference.embedding_lookup_forward(labels, params["shift"])
        y, film = reference.film_forward(h, scale, shift)
        return y, (look, film)

    def _steer_backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        look, film = cache
        dh, dscale, dshift = reference.film_backward(dy, film)
        return dh, {
            "scale": reference.embedding_lookup_backward(dscale, look),
            "shift": reference.embedding_lookup_backward(dshift, look),
        }
