"""Predictors whose every number is known, and the witness that all objectives share."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen import check, tree
from refgen.processes.parametrization import convert
from refgen.processes.path import Levels


class Line:
    """y = slope[t] x + offset[t], the same for every coordinate: t indexes the tables."""

    def forward(self, params, x, t):
        """Return (y, cache)."""
        slope, offset = (column(params[name][t], x) for name in ("slope", "offset"))
        return slope * x + offset, (params, x, t)

    def backward(self, dy, cache):
        """Return (dx, grads)."""
        params, x, t = cache
        axes = tuple(range(1, dy.ndim))
        grads = {name: np.zeros_like(params[name]) for name in ("slope", "offset")}
        np.add.at(grads["slope"], t, np.sum(dy * x, axis=axes))
        np.add.at(grads["offset"], t, np.sum(dy, axis=axes))
        return column(params["slope"][t], dy) * dy, grads


@dataclass
class Best:
    """The exact prediction of a world at the levels of a path; there is nothing to learn."""

    world: Any
    path: Any
    kind: str = "noise"
    clock: float = 1.0  # what times are multiplied by before the network is told them

    def forward(self, params, x, t):
        """Return (y, None)."""
        at = t if self.clock == 1 else t / self.clock
        levels = self.path.levels(at)
        data = self.world.data_mean(x, levels.a, levels.b)
        earlier = self.path.levels(at - 1) if self.kind == "mean" else None
        if self.kind == "data":
            return data, None
        return convert(x, data, "data", self.kind, levels, earlier=earlier), None

    def backward(self, dy, cache):
        """Return (dx, {})."""
        return dy, {}


@dataclass
class Same:
    """What one network names as noise, said as another kind at the levels of a path."""

    network: Any
    path: Any
    kind: str

    def forward(self, params, x, t):
        """Return (y, cache)."""
        noise, cache = self.network.forward(params, x, t)
        y = convert(x, noise, "noise", self.kind, self.path.levels(t))
        return y, (self.path.levels(t), cache)

    def backward(self, dy, cache):
        """Return (dx, grads), dx being of no use here."""
        levels, inner = cache
        scale = convert(0 * dy, np.ones_like(dy), "noise", self.kind, Levels(*levels))
        return self.network.backward(scale * dy, inner)


def column(c, x):
    """(N,) -> (N, 1, ..., 1)."""
    return np.reshape(c, (-1,) + (1,) * (x.ndim - 1))


def some(network, place, scale=0.3):
    """Return parameters of a network, none of them at some start."""
    rng = np.random.default_rng(int(place.integers(2**31, 1)[0]))
    return tree.map(lambda a: a + scale * rng.normal(size=a.shape), network.init(place))


def witness(forward, backward, params, rng):
    """Return the adjoint gap of a loss (N,) along a random direction of its parameters.

    forward(params) -> (loss, cache) must be analytic; backward(dloss, cache) -> grads.
    """
    loss, cache = forward(params)
    assert loss.shape == (len(loss),)
    dloss = rng.normal(size=loss.shape)
    grads = backward(dloss, cache)
    names = list(tree.flatten(params))
    assert list(tree.flatten(grads)) == names
    leaves = list(tree.leaves(params))
    directions = [rng.normal(size=a.shape) for a in leaves]

    def of(*moved):
        return forward(tree.unflatten(dict(zip(names, moved, strict=True))))[0]

    along = check.complex_step(of, leaves, directions)
    return check.adjoint_gap(directions, list(tree.leaves(grads)), [dloss], [along])


def witnessed(objective, params, data, place, rng, **given):
    """Return the adjoint gap of an objective."""

    def forward(p):
        terms, cache = objective.forward(p, data, place, **given)
        return terms["loss"], cache

    return witness(forward, objective.backward, params, rng)


def signs(count):
    """Return every way to choose count signs, (2^count, count): a quadratic's mean is exact."""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=count)))


def gauss(points=40):
    """Return nodes and weights of the standard normal, weights summing to 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return nodes, weights / weights.sum()


def outer(a, wa, b, wb):
    """Return all pairs of two lists with the products of their weights: (M,), (M,), (M,)."""
    return np.repeat(a, len(b)), np.tile(b, len(a)), np.outer(wa, wb).ravel()
