r"""A stack of affine couplings: an invertible network with a cheap log-determinant.

Shapes     N batch, D data.   x, z, dx, dz : (N, D)    logdet, dlogdet : (N,)
Sources    dinh2017-realnvp  eq. 4-8, sections 3.4 (the parts) and 3.5 (that they alternate)

Layer k keeps one part a of the features and moves the other part b; parts alternate:

    (t, r) = network(a),   s = S tanh(r / S)                           (FL.1)
    b ← b exp(s) + t,   logdet ← logdet + Σ s                          (FL.2)

S bounds the log-scale, so that one layer scales no feature by more than e^S. The inverse walks
the layers backwards; a is unchanged, so s and t are computed as before:

    b ← (b − t) exp(−s)                                                (FL.3)

Adjoint. The coupling gives db, dt and ds. a is felt twice: it passes on unchanged, and it decided
s and t.

    dr = ds (1 − (s / S)²),   da ← da + networkᵀ(dt, dr)               (FL.4)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Sequence
from refgen.models.mlp import mlp
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

BOUND = 2.0  # S


@dataclass(frozen=True)
class CouplingFlow:
    """Map data to a latent of the same size, (N, dim) -> (N, dim), and back.

    Raises ValueError for dim < 2, since a coupling needs a part to keep and a part to move, and for
    layers < 1.
    """

    dim: int
    layers: int = 8
    hidden: int = 64
    depth: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dim < 2:
            raise ValueError(f"a coupling flow needs at least 2 features, not {self.dim}")
        if self.layers < 1:
            raise ValueError(f"a coupling flow needs at least 1 layer, not {self.layers}")
        self._network(0)  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the networks; the last map of each is 0, so the flow starts as the identity."""
        return {f"coupling{k}": self._network(k).init(noise.at(k)) for k in range(self.layers)}

    def forward(self, params: Any, x: Array) -> tuple[Array, Array, Cache]:
        """Return (z, logdet, cache): data to latent."""
        logdet, caches = 0.0 * x[:, 0], []
        for k in range(self.layers):
            a, b = self._split(k, x)
            stats, network_cache = self._network(k).forward(params[f"coupling{k}"], a)
            shift, log_scale = _shift_and_scale(stats)
            b, added, coupling_cache = self.ops.affine_coupling_forward(b, shift, log_scale)
            x, logdet = self._join(k, a, b), logdet + added  # (FL.2)
            caches.append((network_cache, log_scale, coupling_cache))
        return x, logdet, caches

    def inverse(self, params: Any, z: Array) -> Array:
        """Return the data whose latent is z."""
        for k in reversed(range(self.layers)):
            a, b = self._split(k, z)
            stats, _ = self._network(k).forward(params[f"coupling{k}"], a)
            b = self.ops.affine_coupling_inverse(b, *_shift_and_scale(stats))  # (FL.3)
            z = self._join(k, a, b)
        return z

    def backward(self, dz: Array, dlogdet: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        grads: Grads = {}
        for k in reversed(range(self.layers)):
            network_cache, log_scale, coupling_cache = cache[k]
            da, db = self._split(k, dz)
            db, dshift, dlog_scale = self.ops.affine_coupling_backward(db, dlogdet, coupling_cache)
            draw = dlog_scale * (1.0 - (log_scale / BOUND) ** 2)
            dstats = np.concatenate([dshift, draw], axis=1)
            da_network, grads[f"coupling{k}"] = self._network(k).backward(dstats, network_cache)
            dz = self._join(k, da + da_network, db)  # (FL.4)
        return dz, grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, self.dim)))

    def _order(self, k: int) -> tuple[Array, int]:
        """Return the features in the order (kept, moved) of layer k, and how many are kept.

        Even features move odd ones, then the reverse, then the first half the second, then the
        reverse: after four layers every feature depends on every other.
        """
        index = np.arange(self.dim)
        part = (index % 2 if k % 4 < 2 else index >= self.dim // 2) ^ (k % 2)
        order = np.argsort(part, kind="stable")
        return order, int(np.sum(part == 0))

    def _split(self, k: int, x: Array) -> tuple[Array, Array]:
        order, kept = self._order(k)
        return x[:, order[:kept]], x[:, order[kept:]]

    def _join(self, k: int, a: Array, b: Array) -> Array:
        order, _ = self._order(k)
        return np.concatenate([a, b], axis=1)[:, np.argsort(order)]

    def _network(self, k: int) -> Sequence:
        kept = self._order(k)[1]
        sizes = (kept, *[self.hidden] * self.depth, 2 * (self.dim - kept))
        return mlp(sizes, "silu", gain=0.0, ops=self.ops)


def _shift_and_scale(stats: Array) -> tuple[Array, Array]:
    shift, raw = np.split(stats, 2, axis=1)
    return shift, BOUND * np.tanh(raw / BOUND)  # (FL.1)
