r"""Numerical derivatives of a loss, each with its noise: what a derivation is judged by.

Shapes     K named terms of the loss, M probes of one tensor of P entries.
           x, tangent : (P,)    f(x) : (K,)    Numeric.value, Numeric.noise : (M, K)
Sources    squire1998-complex-step;  richardson1911;  more2011-noise  (the noise of f)

A probe is a tangent t: a basis vector, which sees one entry, or a random direction of length
one, which sees them all. Along each, central differences with two Richardson steps

    D(h) = (f(x + h t) − f(x − h t)) / 2h,   R(h) = (4 D(h/2) − D(h)) / 3              (NG.1)
    f* = (16 R(h/2) − R(h)) / 15                                                       (NG.2)

miss a kink close to x, for D is the mean of the slopes on both sides. Their gap does not:

    G(h) = (f(x + h t) − 2 f(x) + f(x − h t)) / h,   J = (16 G(h/4) − 10 G(h/2) + G(h)) / 7
    vanishes up to h⁵ where f is smooth and is the jump of the slope at a kink         (NG.3)
    noise = |f* − R(h/2)| + |f* − R(h)| / 16 + ½ |J| + (16 s + 4 ε |x f*|) / h         (NG.4)

where s is the standard deviation of the rounding in f and ε |x| that of the step. Of the steps
tried that no shorter step contradicts, the one with the least noise counts. s is measured: in
the k-th differences of f at equidistant points nothing smooth is left, so that, with the median
in place of the mean lest a kink count as noise,

    s² = (k!)² / (2k)! · E (Δᵏf)²,   k = 6                                             (NG.5)

The complex step is taken instead where it agrees with every central difference, and one of
them is more than noise: it subtracts nothing, and its noise is what a change of x by a few
roundings makes of it. A kink at x is one where |G| does not fall with h.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refgen.check.witness import complex_step
from refgen.noise import Noise
from refgen.typing import Array

EPS = float(np.finfo(np.float64).eps)
ENTRIES = 400  # a tensor with more entries is probed at a subset, and along directions
DIRECTIONS = 8
STEPS = (1e-2, 1e-1, 1e-3, 1e-4, 1e-6)  # in units of max(1, |x|)
ORDER = 6  # k of (NG.5)
COARSE = 1e-6  # noise, relative to the largest derivative, that calls for a look for kinks
SPACING, POINTS = 1e-6, 24  # of the points of (NG.5)

Terms = Callable[[Array], Array]


@dataclass(frozen=True)
class Probes:
    """The tangents along which one tensor is judged."""

    entries: Array  # (E,) flat indices
    directions: Array  # (R, P), each of length 1; R = 0 where every entry is probed

    def __len__(self) -> int:
        return len(self.entries) + len(self.directions)

    def tangent(self, m: int, x: Array) -> Array:
        """Return probe m: (P,)."""
        if m >= len(self.entries):
            return np.asarray(self.directions[m - len(self.entries)])
        basis = np.zeros(x.shape)
        basis[self.entries[m]] = 1.0
        return basis

    def project(self, gradient: Array) -> Array:
        """Return what a gradient (*S) predicts along every probe: (M,)."""
        flat = np.reshape(gradient, -1)
        return np.asarray(np.concatenate([flat[self.entries], self.directions @ flat]))

    def reach(self, x: Array) -> Array:
        """Return the length that counts as one along every probe: (M,)."""
        typical = np.sqrt(np.mean(x * x)) if x.size else 0.0
        size = np.concatenate([np.abs(x[self.entries]), np.full(len(self.directions), typical)])
        return np.asarray(np.maximum(1.0, size))


def choose_probes(size: int, noise: Noise) -> Probes:
    """Probe every entry of a small tensor; of a large one a drawn subset, and directions."""
    if size <= ENTRIES:
        return Probes(np.arange(size), np.zeros((0, size)))
    drawn = np.argsort(noise.at("entries").uniform(size), kind="stable")[:ENTRIES]
    directions = noise.at("directions").normal((DIRECTIONS, size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Probes(np.sort(drawn), directions)


class Numeric(NamedTuple):
    """The numerical derivative of every term along every probe."""

    value: Array  # (M, K)
    noise: Array  # (M, K)  a bound on the error of value, as estimated
    kink: Array  # (M,)  True where f has no derivative
    method: str


def differentiate(f: Terms, x: Array, probes: Probes, rounding: Array, noise: Noise) -> Numeric:
    """Return the derivatives of f : (P,) -> (K,) at x; rounding is s of each term, (K,)."""
    shape = (len(probes), len(rounding))
    with np.errstate(all="ignore"):
        reach, here = probes.reach(x), f(x)
        rows = [
            _central(f, x, here, probes.tangent(m, x), reach[m], rounding)
            for m in range(len(probes))
        ]
        value = np.reshape([row[0] for row in rows], shape)
        error = np.reshape([row[1] for row in rows], shape)
        size = float(np.max(np.abs(value), initial=0.0))
        kink = [
            _kink(f, x, here, probes.tangent(m, x), reach[m], rounding, size)
            if np.sum(error[m]) > COARSE * size
            else False
            for m in range(len(probes))
        ]
        exact = None if any(kink) else _complex(f, x, probes, noise, shape)
        if exact is not None and np.all(np.isfinite(error)):
            agree = np.all(np.abs(exact[0] - value) <= 4 * error + 1e-9 * np.abs(value))
            if agree and np.any(np.abs(value) > 4 * error):
                return Numeric(*exact, np.array(kink, bool), "complex step")
        return Numeric(value, error, np.array(kink, bool), "central difference")


def rounding_noise(values: Array) -> Array:
    """Return the standard deviation of the rounding in values (points, ...) of a smooth path.

    >>> t = np.arange(200.0)
    >>> noisy = np.sin(1e-3 * t) + 1e-8 * Noise(0).normal(200)
    >>> bool(0.5e-8 < rounding_noise(noisy) < 2e-8)
    True
    """
    gamma = math.factorial(ORDER) ** 2 / math.factorial(2 * ORDER)
    typical = np.median(np.abs(np.diff(values, ORDER, axis=0)), axis=0) / 0.6745
    return np.asarray(math.sqrt(gamma) * typical)  # (NG.5)


def _central(
    f: Terms, x: Array, here: Array, tangent: Array, reach: float, rounding: Array
) -> tuple[Array, Array]:
    tried: list[tuple[float, Array, Array]] = []
    for step in STEPS:
        h = step * reach
        (d1, g1), (d2, g2), (d4, g4) = (
            _both_sides(f, x, here, tangent, at) for at in (h, h / 2, h / 4)
        )
        coarse, fine = (4 * d2 - d1) / 3, (4 * d4 - d2) / 3  # (NG.1)
        value = (16 * fine - coarse) / 15  # (NG.2)
        jump = (16 * g4 - 10 * g2 + g1) / 7  # (NG.3)
        noise = np.abs(value - fine) + np.abs(value - coarse) / 16
        slip = 16 * rounding + 4 * EPS * reach * np.abs(value)
        noise = noise + 0.5 * np.abs(jump) + slip / h  # (NG.4)
        if not np.all(np.isfinite(value)):
            continue
        tried.append((h, value, noise))
        if np.all(noise <= 1e-10 * np.abs(value) + 5000 * rounding):
            break
    sound = [
        (value, noise)
        for h, value, noise in tried
        if all(np.all(np.abs(value - v) <= noise + n) for g, v, n in tried if g < h)
    ]
    nothing = np.zeros(rounding.shape), np.full(rounding.shape, np.inf)
    return min(sound, key=lambda found: float(np.sum(found[1])), default=nothing)


def _both_sides(f: Terms, x: Array, here: Array, tangent: Array, h: float) -> tuple[Array, Array]:
    """Return the mean D and the gap G of the slopes on both sides of x."""
    up, down = f(x + h * tangent), f(x - h * tangent)
    return (up - down) / (2 * h), (up - 2 * here + down) / h


def _complex(
    f: Terms, x: Array, probes: Probes, noise: Noise, shape: tuple[int, int]
) -> tuple[Array, Array] | None:
    """Return the complex step and its noise, or None where f cannot take complex numbers."""
    nearby = x * (1 + 4 * EPS * noise.at("nearby").normal(x.shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a cast that discards the imaginary part only warns
            value, moved = (
                np.reshape(
                    [complex_step(f, [at], [probes.tangent(m, x)]) for m in range(len(probes))],
                    shape,
                )
                for at in (x, nearby)
            )
    except Exception:  # whatever the reader's code raises on complex numbers
        return None
    if not np.all(np.isfinite(value)):
        return None
    drift = np.max(np.abs(moved - value), axis=0, initial=0.0)
    size = np.max(np.abs(value), axis=0, initial=0.0)
    return value, np.broadcast_to(8 * drift + 32 * EPS * size, value.shape)


def _kink(
    f: Terms,
    x: Array,
    here: Array,
    tangent: Array,
    reach: float,
    rounding: Array,
    size: float,
) -> bool:
    h = 1e-5 * reach
    wide, narrow = (np.abs(_both_sides(f, x, here, tangent, at)[1]) for at in (h, h / 4))
    visible = narrow > 100 * rounding / h + 1e-6 * size
    return bool(np.any(visible & (narrow > 0.6 * wide)))
