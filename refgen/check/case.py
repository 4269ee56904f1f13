"""A derivation at one point: calls the reader's functions, and asks what could excuse them.

Every call gets fresh float64 arrays, so that a function that writes into its arguments can be
judged, and told so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen import tree
from refgen.check.numeric import EPS, POINTS, SPACING, rounding_noise
from refgen.noise import Noise
from refgen.typing import Array

NOISE = Noise(0).at("check_grad")
Flat = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """The reader's two functions and the point at which they are compared."""

    loss: Callable[[Any], Any]
    grads: Callable[[Any], Any]
    params: Any  # the tree
    point: Flat  # its arrays in float64

    def fresh(self, point: Flat) -> Any:
        """Return fresh arrays in the reader's tree."""
        return _rebuild(self.params, {name: x.copy() for name, x in point.items()})

    def terms(self, point: Flat) -> dict[str, Array]:
        """Return the named terms of the loss, each a scalar. Raises ValueError for others."""
        value = self.loss(self.fresh(point))
        named = value if isinstance(value, dict) else {"loss": value}
        out = {str(name): np.asarray(term) for name, term in named.items()}
        for name, term in out.items():
            if term.size != 1 or term.dtype.kind not in "fiuc":
                got = f"shape {term.shape}" if term.dtype.kind in "fiuc" else repr(named[name])
                raise ValueError(
                    f"{name} must be a number, not {got}: take its mean or sum over the batch"
                )
        return {name: term.reshape(()) for name, term in out.items()}

    def values(self, point: Flat) -> Array:
        """Return the terms in their order: (K,)."""
        return np.array(list(self.terms(point).values()))

    def gradient(self, point: Flat) -> Flat:
        """Return the arrays of grads by their paths, whatever they are."""
        given = self.grads(self.fresh(point))
        if given is None or (isinstance(given, dict) and not given):
            return {}
        return {name: np.asarray(g) for name, g in tree.flatten(given).items()}

    def trouble(self) -> str:
        """Return why no gradient can be judged here, if so."""
        first, again = self.terms(self.point), self.values(self.point)
        for (name, value), second in zip(first.items(), again, strict=True):
            if not np.isfinite(value):
                return f"{name} is {value} at these params: move or shrink them"
            if abs(value - second) > 1e-9 * max(abs(value), abs(second)):
                return (
                    f"{name} is {value:.9g}, then {second:.9g} at the same params: "
                    "draw the noise once, outside the loss"
                )
        given, second_time = self.gradient(self.point), self.gradient(self.point)
        for name, g in given.items():
            h = second_time.get(name)
            if h is None or not np.array_equal(g, h, equal_nan=g.dtype.kind == "f"):
                return (
                    f"grads gives two values of {name} at the same params: "
                    "draw the noise once, and give loss and grads the same"
                )
        return ""

    def changed(self) -> dict[str, list[str]]:
        """Return which arguments each function writes into."""
        found: dict[str, list[str]] = {}
        for what, f in (("loss", self.loss), ("grads", self.grads)):
            after = {name: x.copy() for name, x in self.point.items()}
            f(_rebuild(self.params, after))
            for name, x in self.point.items():
                if not np.array_equal(x, after[name]):
                    text = f"{what}(params) writes into params: let it work on a copy"
                    found.setdefault(name, []).append(text)
        return found

    def rounding(self) -> tuple[Array, Flat]:
        """Return the rounding in every term, (K,), and in every array of grads, scalars."""
        loss_noise = EPS * np.abs(self.values(self.point))
        grad_noise: Flat = {}
        for direction in range(2):
            where = NOISE.at("path", direction)
            step = {
                name: SPACING * np.maximum(1, np.abs(x)) * where.at(name).normal(x.shape)
                for name, x in self.point.items()
            }
            path = [{n: x + k * step[n] for n, x in self.point.items()} for k in range(POINTS)]
            terms = np.array([self.values(p) for p in path])
            loss_noise = np.maximum(loss_noise, rounding_noise(terms))
            walked = [self.gradient(p) for p in path]
            for name, g in walked[0].items():
                if g.size and g.dtype.kind == "f" and all(name in w for w in walked):
                    r = np.max(rounding_noise(np.array([w[name] for w in walked], np.float64)))
                    grad_noise[name] = np.maximum(grad_noise.get(name, np.zeros(())), r)
        return loss_noise, grad_noise


def _rebuild(like: Any, arrays: Flat, prefix: str = "") -> Any:
    """Return a tree with the keys of another and the arrays of a flat one."""
    if not isinstance(like, dict):
        return arrays[prefix]
    return {k: _rebuild(v, arrays, f"{prefix}/{k}" if prefix else k) for k, v in like.items()}
