r"""Causes of a wrong gradient that hold for any set of its entries: a factor, a term's weight.

Shapes     K named terms, M probes.   yours, tolerance : (M,)    terms : (M, K)
Legend     y your gradient, g_k the numerical gradient of term k, g = Σ_k g_k, t the tolerance

A cause is named only if it explains every probe to within what the probes can tell:

    |y − c g| ≤ 2 t max(1, |c|),   c = Σ (y g / t²) / Σ (g² / t²)                      (DC.1)
    |y − Σ_k w_k g_k| ≤ 2 t max(1, |w|),   w by least squares on y / t and g_k / t     (DC.2)
    |δw_k| ≤ 2 Σ_m |A⁺|_km,   A = g_k / t: how far w may be off if every probe is      (DC.3)

and a number gets a name (2, 1/batch, batch/latent, ...) only if no other value fits as well.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from refgen.typing import Array

VISIBLE = 100.0  # an entry has signal where it exceeds so many tolerances
SHARP = 1e-3  # a weight or factor is known where it is known to this


class Cause(NamedTuple):
    """One explanation: the verdict in a word or two, and the sentence for the reader."""

    verdict: str
    text: str


class Constant(NamedTuple):
    """A number that a slip is likely to multiply by, and how it is written."""

    value: float
    text: str
    symbols: int  # how many letters and numerals it takes: the fewest win


class Comparison(NamedTuple):
    """Your gradient and the numerical one of every term, along the same probes."""

    yours: Array  # (M,)
    terms: Array  # (M, K)
    tolerance: Array  # (M,)  infinite where there is a kink

    @property
    def true(self) -> Array:
        """The gradient of the loss: (M,)."""
        return np.asarray(np.sum(self.terms, axis=1))

    @property
    def wrong(self) -> Array:
        """Where the two differ by more than the tolerance: (M,)."""
        return np.asarray(np.abs(self.yours - self.true) > self.tolerance)

    def at(self, chosen: Array) -> "Comparison":
        """Return the comparison at some of the probes."""
        return Comparison(self.yours[chosen], self.terms[chosen], self.tolerance[chosen])


def constants(sizes: Mapping[str, float]) -> list[Constant]:
    """Return ±{1, 2, 1/2} times the named sizes, their inverses, products and quotients.

    Combinations equal to 1 are left out: they would explain nothing.

    >>> [c.text for c in constants({"batch": 5}) if c.value == 0.2]
    ['1/batch']
    """
    found = []
    for numeral, above, below in product((1, 2, -2), _monomials(sizes), _monomials(sizes)):
        if set(above) & set(below) or len(above) + len(below) > 2:
            continue
        up = [str(numeral)] if numeral == 2 else []
        down = ["2"] if numeral == -2 else []
        top, bottom = up + list(above), down + list(below)
        value = math.prod(sizes[s] for s in above) / math.prod(sizes[s] for s in below)
        value *= {1: 1.0, 2: 2.0, -2: 0.5}[numeral]
        text = "·".join(top) or "1"
        if bottom:
            text += "/" + (bottom[0] if len(bottom) == 1 else f"({'·'.join(bottom)})")
        symbols = len(top) + len(bottom)
        if abs(value - 1) > 1e-12:
            found.append(Constant(value, text, symbols))
        if abs(value + 1) > 1e-12:
            found.append(Constant(-value, f"-{text}", symbols + 1))
    return found


def _monomials(sizes: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    names = sorted(sizes)
    yield ()
    yield from ((a,) for a in names)
    yield from ((a, b) for i, a in enumerate(names) for b in names[i:])


def call(known: list[Constant], fits: Callable[[float], bool]) -> str:
    """Return the shortest names of the one value that fits; nothing if two values do."""
    found = [c for c in known if fits(c.value)]
    if not found or any(abs(c.value / found[0].value - 1) > 1e-12 for c in found):
        return ""
    fewest = min(c.symbols for c in found)
    return " or ".join(sorted(c.text for c in found if c.symbols == fewest)[:3])


def number(value: float, name: str = "") -> str:
    """Write a number and, where it has one that says more, its name.

    >>> number(0.2, "1/batch"), number(2.0, "2")
    ('0.2 = 1/batch', '2')
    """
    digits = f"{value:.6g}" if abs(value - 1) > 1e-4 else f"{value:.12g}"
    return digits if name in ("", digits) else f"{digits} = {name}"


def simple(c: Comparison, names: tuple[str, ...], known: list[Constant]) -> list[Cause]:
    """Return the causes that treat all probes alike: zero, factor, sign, weights of terms."""
    if not np.any(np.abs(c.true) > VISIBLE * c.tolerance):
        return []
    if np.all(np.abs(c.yours) <= c.tolerance):
        return [Cause("all zero", "yours is zero everywhere: is it never filled in?")]
    return _factor(c, known) or _weights(c, names, known)


def _factor(c: Comparison, known: list[Constant]) -> list[Cause]:
    true, t = c.true, c.tolerance
    signal = int(np.sum(np.abs(true) > VISIBLE * t))
    factor = float(np.sum(c.yours * true / t**2) / np.sum(true**2 / t**2))
    unsure = 2 * max(1.0, abs(factor)) * float(np.min(t / np.maximum(np.abs(true), 1e-300)))

    def fits(k: float) -> bool:
        return bool(np.all(np.abs(c.yours - k * true) <= 2 * t * max(1.0, abs(k))))  # (DC.1)

    known_well = unsure < SHARP * abs(factor) and abs(factor - 1) > unsure
    if not (known_well and fits(factor)):
        return []
    name = "-1" if fits(-1.0) else call(known, fits)
    if name == "-1":
        return [Cause("sign", "the sign is wrong: yours is -1 x the true gradient")]
    if not name and signal < 2:
        return []  # one number is always a multiple of another
    text = f"yours is {number(factor)} x the true gradient"
    if not name:
        return [Cause("factor", f"{text}, in every entry")]
    equal = f" = {name}" if name != number(factor) else ""
    return [Cause("factor", f"{text}{equal}{_hint(name, factor)}")]


def _hint(name: str, factor: float) -> str:
    """Ask what a factor of that name often comes from."""
    if name == "2":
        return " (is a 1/2 missing, or a path counted twice?)"
    if name == "1/2":
        return " (is the 2 of a square missing?)"
    size = name.removeprefix("1/")
    if not size.isidentifier() or "·" in size:
        return ""
    over = factor if size == name else 1 / factor
    count = abs(over - round(over)) < 1e-6 * abs(over)  # a size is an integer, a weight is not
    if size == name:
        return f" (is the mean over {size} missing?)" if count else f" (is 1/{size} missing?)"
    if count:
        return f" (is a sum over {size} a mean, or the mean taken twice?)"
    return f" (is {size} forgotten?)"


def _weights(c: Comparison, names: tuple[str, ...], known: list[Constant]) -> list[Cause]:
    t = c.tolerance[:, None]
    seen = np.abs(c.terms) > VISIBLE * t
    active = np.any(seen, axis=0)  # (K,)
    spare = int(np.sum(np.any(seen, axis=1)) - np.sum(active))  # probes beyond the unknowns
    if np.sum(active) < 2 or spare < 0:
        return []
    inverse = np.linalg.pinv(c.terms[:, active] / t)
    rest = np.sum(c.terms[:, ~active], axis=1)
    weights, unsure = np.ones(len(names)), np.zeros(len(names))
    weights[active] = inverse @ ((c.yours - rest) / c.tolerance)
    unsure[active] = 2 * np.sum(np.abs(inverse), axis=1)  # (DC.3)
    size = max(1.0, float(np.max(np.abs(weights))))
    left = np.abs(c.yours - c.terms @ weights)
    if np.any(left > 2 * c.tolerance * size) or np.any(unsure > SHARP * size):  # (DC.2)
        return []
    written = [_weight(w, d, known) for w, d in zip(weights, unsure, strict=True)]
    if spare < 2 and ("" in written or np.any(unsure > 1e-6 * size)):
        return []  # so few entries are explained by some weights or other, but not by these
    said = [
        f"{name} has weight {text or number(w)}"
        for name, w, text in zip(names, weights, written, strict=True)
        if text != "1"
    ]
    return [Cause("term", ", ".join(said) + " instead of 1")] if said else []


def _weight(weight: float, unsure: float, known: list[Constant]) -> str:
    """Write a weight that has a name; return "" for one that has none."""
    near = 4 * unsure + 1e-9 * abs(weight)
    if abs(weight) <= near:
        return "0 (it is left out)"
    if abs(weight - 1) <= max(near, 1e-8):
        return "1"
    name = call(known, lambda v: abs(v - weight) <= near)
    return number(weight, name) if name else ""
