r"""Toy distributions whose density, score and optimal prediction are known at every noise level.

Shapes     N points, D coordinates (1 for bimodal, else 2), K components.   x : (N, D)
Sources    grathwohl2019-ffjord  (the pictures; the parametrisations are this page's own)

Each toy is an exact world with a name. Three have modes that can be counted:

    bimodal       two Gaussians on the line at ∓1.5, weights ⅓ and ⅔, std 0.4        (TY.1)
    ring          eight Gaussians on the circle of radius 2, std 0.1                 (TY.2)
    grid          twenty-five Gaussians on {−2, −1, 0, 1, 2}², std 0.05              (TY.3)

Three look like curves and are mixtures as well: components of std σ at equal steps h of arc
length. Along the curve their sum has a relative ripple of 2 exp(−2π² σ²/h²), at most 6e-9.

    moons         half circles of radius 1.6, one above (−0.8, −0.4), one below
                  (0.8, 0.4); σ = 0.1, h = 0.079                                     (TY.4)
    spiral        r = 0.3 + 0.17 φ, 0 ≤ φ ≤ 4π; σ = 0.08, h = 0.078                  (TY.5)
    pinwheel      five arms φ = 2πj/5 + 0.8 r, 0.4 ≤ r ≤ 2.4, growing in width:
                  σ = 0.04 + 0.05 r, h = 0.059                                       (TY.6)

One has edges, and its score is exact at every noise level all the same (exact.Boxes):

    checkerboard  the unit squares [i, i + 1) × [j, j + 1) of [−2, 2)², i + j even   (TY.7)

All lie within [−3, 3] but for tails, with variance 0.5 to 2.2 in each coordinate, so a network
needs no further scaling.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from refgen.exact.boxes import Boxes
from refgen.exact.mixture import Mixture
from refgen.exact.world import Scale, World
from refgen.noise import Noise
from refgen.typing import Array


class Modes(NamedTuple):
    """The modes of a toy that has modes."""

    means: Array  # (K, D)
    weights: Array  # (K,)
    std: Array  # (K,) of one coordinate


@dataclass(frozen=True, eq=False)
class Toy(World):
    """A named exact world. `modes` is None where no mode stands apart: curves and squares."""

    name: str
    world: Mixture | Boxes
    modes: Modes | None

    @property
    def dim(self) -> int:
        """The number D of coordinates."""
        return self.world.dim

    @property
    def entropy(self) -> float:
        """The differential entropy, in nats: exact for checkerboard, else quadrature to 1e-11."""
        return self.world.entropy

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw (count, D) float64."""
        return self.world.sample(count, noise)

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats; −inf outside the checkerboard where b is 0."""
        return self.world.log_density(x, a, b)

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D)."""
        return self.world.score(x, a, b)

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D)."""
        return self.world.data_mean(x, a, b)

    def noise_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[noise | x], (N, D)."""
        return self.world.noise_mean(x, a, b)


@cache
def toy(name: str) -> Toy:
    """Return the toy of that name, one of NAMES. Raises ValueError for any other.

    >>> from refgen.noise import Noise
    >>> toy("ring").sample(3, Noise(0).at("data")).shape
    (3, 2)
    """
    if name not in WORLDS:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(NAMES)}"
        raise ValueError(f"no toy is called {name!r}: {hint}")
    world = WORLDS[name]()
    if name in WITH_MODES and isinstance(world, Mixture):
        return Toy(name, world, Modes(world.means, world.weights, np.sqrt(world.var)))
    return Toy(name, world, None)


def _bimodal() -> Mixture:
    means = np.array([[-1.5], [1.5]])
    return Mixture(np.array([1.0, 2.0]) / 3, means, np.full(2, 0.4**2))  # (TY.1)


def _ring() -> Mixture:
    return _equal(2.0 * _turn(np.arange(8) * (np.pi / 4)), np.full(8, 0.1))  # (TY.2)


def _grid() -> Mixture:
    side = np.arange(-2.0, 3.0)
    means = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    return _equal(means, np.full(25, 0.05))  # (TY.3)


def _moons() -> Mixture:
    half = 1.6 * _turn(np.linspace(0, np.pi, 2001))
    upper = _steps(half, 64) + np.array([-0.8, -0.4])
    return _equal(np.concatenate([upper, -upper]), np.full(128, 0.1))  # (TY.4)


def _spiral() -> Mixture:
    phi = np.linspace(0, 4 * np.pi, 20001)
    curve = (0.3 + 0.17 * phi)[:, None] * _turn(phi)
    return _equal(_steps(curve, 224), np.full(224, 0.08))  # (TY.5)


def _pinwheel() -> Mixture:
    r = np.linspace(0.4, 2.4, 2001)
    arm = _steps(r[:, None] * _turn(0.8 * r), 52)
    angles = np.arange(5) * (2 * np.pi / 5)
    turns = np.stack([_turn(angles), _turn(angles + np.pi / 2)], axis=1)  # (5, 2, 2)
    means = np.einsum("kd,jdc->jkc", arm, turns).reshape(-1, 2)
    return _equal(means, 0.04 + 0.05 * np.linalg.norm(means, axis=1))  # (TY.6)


def _checkerboard() -> Boxes:
    corners = [(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0]
    low = np.array(corners, dtype=np.float64)
    return Boxes(np.full(8, 1 / 8), low, low + 1.0)  # (TY.7)


def _turn(angles: Array) -> Array:
    """Return the unit vectors of some angles: (M,) -> (M, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _steps(curve: Array, count: int) -> Array:
    """Return count points in the middle of equal arc lengths of a polyline (M, 2)."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    middles = (np.arange(count) + 0.5) * (length[-1] / count)
    return np.stack([np.interp(middles, length, curve[:, d]) for d in range(2)], axis=1)


def _equal(means: Array, std: Array) -> Mixture:
    """Return the mixture of equal weights."""
    return Mixture(np.full(len(means), 1 / len(means)), means, std * std)


WORLDS: dict[str, Callable[[], Mixture | Boxes]] = {
    "ring": _ring,
    "grid": _grid,
    "bimodal": _bimodal,
    "pinwheel": _pinwheel,
    "moons": _moons,
    "spiral": _spiral,
    "checkerboard": _checkerboard,
}
WITH_MODES = ("ring", "grid", "bimodal")
NAMES: tuple[str, ...] = tuple(WORLDS)
