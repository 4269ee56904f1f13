r"""Policies: a distribution of actions for every situation, fitted by likelihood.

Shapes     N batch, C condition, A action, B bins of a coordinate, K = B^A cells.
           condition : (N, C)    action, mean : (N, A)    logvar : (A,)    logits : (N, K)
           loss, dloss : (N,), in nats
Lectures   0 (imitation learning as conditional generation)
Sources    bishop2006-prml  sections 1.2.5, 3.1 and 4.3;  pomerleau1988-alvinn

    loss = −log π(action | condition)                                          (PO.1)

Gaussian, one variance for each coordinate of the action and f any network:

    π(a | c) = N(f(c), diag exp(logvar))                                       (PO.2)

With a linear f the best f is least squares, whatever logvar, and the best variance exp(logvar) the
mean square of what it leaves. With any f the optimum is the mean of the actions shown at c, also
where nobody ever took that mean.

Categorical, over cells of width w = 2L/B that divide [−L, L]^A, uniform within a cell, so that it
too is a density and its nats compare with the Gaussian's. What lies beyond ±L is taken for the
nearest cell's:

    i_d = ⌊(a_d + L) / w⌋, cut to 0 .. B − 1,   k = Σ_d i_d B^d                (PO.3)
    π(a | c) = softmax(f(c))_k w^−A                                            (PO.4)

With a free logit for each (situation, cell) the optimum is the table of counts, each row divided by
its sum. A draw u ~ U(0, 1) falls into the cell where the running sum of the row passes u:

    k = #{j : softmax_0 + .. + softmax_j ≤ u},   a_d = −L + w (i_d + v_d),   v_d ~ U(0, 1)  (PO.5)

Adjoints are those of refgen.ops.likelihood, then of f.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Sequence
from refgen.models.mlp import mlp
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

MOST_CELLS = 4096


@dataclass(frozen=True)
class GaussianPolicy:
    """An MLP for the mean, `depth` 0 for an affine one, and a free log-variance.

    Raises ValueError for sizes below 1 and a negative depth.
    """

    conditions: int
    actions: int
    hidden: int = 128
    depth: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ = self.network  # refuses sizes that cannot be

    @property
    def network(self) -> Sequence:
        """The map f, (N, C) -> (N, A)."""
        return _layers(self.conditions, self.actions, self.hidden, self.depth, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"mean": ..., "logvar": (A,)}."""
        return {"mean": self.network.init(noise), "logvar": np.zeros(self.actions)}

    def forward(self, params: Any, condition: Array, action: Array) -> tuple[Array, Cache]:
        """Return (loss, cache)."""
        mean, network_cache = self.network.forward(params["mean"], condition)
        loss, cache = reference.gaussian_nll_forward(action, mean, params["logvar"])  # (PO.2)
        return loss, (network_cache, cache)  # (PO.1)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        network_cache, nll_cache = cache
        _, dmean, dlogvar = reference.gaussian_nll_backward(dloss, nll_cache)
        _, grads = self.network.backward(dmean, network_cache)
        return {"mean": grads, "logvar": dlogvar}

    def mode(self, params: Any, condition: Array) -> Array:
        """Return the likeliest action, (N, A): the mean."""
        return self.network.forward(params["mean"], condition)[0]

    def draw(self, params: Any, condition: Array, noise: Noise) -> Array:
        """Draw an action for each condition, (N, A)."""
        mean, std = self.mode(params, condition), np.exp(0.5 * params["logvar"])
        drawn = noise.normal(mean.shape, dtype=mean.dtype, normals=self.ops.normals)
        action: Array = mean + std * drawn
        return action


@dataclass(frozen=True)
class CategoricalPolicy:
    """An MLP for the logits of B^A cells of [−limit, limit]^A; `depth` 0 for affine ones.

    Raises ValueError for sizes below 1, a negative depth, and cells without number.
    """

    conditions: int
    actions: int
    bins: int = 20
    limit: float = 2.0
    hidden: int = 128
    depth: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.bins < 1 or not self.limit > 0:
            raise ValueError(
                f"a categorical policy has bins ≥ 1 of [−limit, limit], limit > 0, not {self.bins} "
                f"bins and limit {self.limit}"
            )
        if self.actions * math.log(self.bins) > math.log(MOST_CELLS):
            raise ValueError(
                f"{self.bins} bins of each of {self.actions} coordinates are more than "
                f"{MOST_CELLS} cells: take fewer bins, or plan one action at a time (chunk=1)"
            )
        _ = self.network  # refuses sizes that cannot be

    @property
    def network(self) -> Sequence:
        """The map f, (N, C) -> (N, K)."""
        cells = self.bins**self.actions
        return _layers(self.conditions, cells, self.hidden, self.depth, self.ops)

    @property
    def width(self) -> float:
        """The width w of a cell."""
        return 2 * self.limit / self.bins

    def cells(self, action: Array) -> Array:
        """Return the number k of each action's cell, (N,) int64."""
        index = np.floor((action + self.limit) / self.width).astype(np.int64)
        index = np.clip(index, 0, self.bins - 1)
        k = index[:, 0]
        for d in range(1, self.actions):
            k = k + index[:, d] * self.bins**d
        return k  # (PO.3)

    def corners(self, cells: Array) -> Array:
        """Return the lower end of every cell in every coordinate, (N, A) float64."""
        index = [cells // self.bins**d % self.bins for d in range(self.actions)]
        low: Array = self.width * np.stack(index, axis=1) - self.limit
        return low

    def init(self, noise: Noise) -> Params:
        """Draw {"logits": ...}."""
        return {"logits": self.network.init(noise)}

    def forward(self, params: Any, condition: Array, action: Array) -> tuple[Array, Cache]:
        """Return (loss, cache)."""
        logits, network_cache = self.network.forward(params["logits"], condition)
        nll, cache = reference.categorical_nll_forward(self.cells(action), logits)
        return nll + self.actions * math.log(self.width), (network_cache, cache)  # (PO.4)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        network_cache, nll_cache = cache
        dlogits = reference.categorical_nll_backward(dloss, nll_cache)
        _, grads = self.network.backward(dlogits, network_cache)
        return {"logits": grads}

    def mode(self, params: Any, condition: Array) -> Array:
        """Return the middle of the likeliest cell, (N, A)."""
        logits, _ = self.network.forward(params["logits"], condition)
        middle = self.corners(np.argmax(logits, axis=1)) + 0.5 * self.width
        return middle.astype(condition.dtype)

    def draw(self, params: Any, condition: Array, noise: Noise) -> Array:
        """Draw an action for each condition, (N, A)."""
        logits, _ = self.network.forward(params["logits"], condition)
        weights = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        running = np.cumsum(weights, axis=1) / np.sum(weights, axis=1, keepdims=True)
        lots = noise.at("cell").uniform((len(condition), 1))
        u = self.ops.put(lots).astype(running.dtype)
        cells = np.minimum(np.sum(running <= u, axis=1), running.shape[1] - 1)
        inside = self.ops.put(noise.at("inside").uniform((len(condition), self.actions)))
        action = self.corners(cells) + self.width * inside  # (PO.5)
        return action.astype(condition.dtype)


def _layers(inputs: int, outputs: int, hidden: int, depth: int, ops: Ops) -> Sequence:
    if depth < 0:
        raise ValueError(f"depth counts hidden layers, 0 for none, not {depth}")
    return mlp((inputs, *[hidden] * depth, outputs), ops=ops)
