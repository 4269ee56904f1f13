r"""Following a flow: explicit Runge-Kutta rules, and the density that is carried along.

Shapes     x, v, e : (N, *S), D entries an example    divergence : (N,), in nats    times : floats
Lectures   3 (ODESolve, Euler), 4 (Euler, midpoint)
Sources    hairer1993-ode  section II.1 (the rules);  grathwohl2019-ffjord  (the density);
           hutchinson1990-trace  (the estimate)

The flow dx/dt = v(x, t) is followed from one time of a list to the next, h = next − t, forwards
or backwards. A rule asks for s slopes and takes their weighted mean:

    k_i = v(x + h Σ_{j<i} A_ij k_j, t + c_i h),   x' = x + h Σ_i w_i k_i                  (OD.1)

    rule        calls  order    A, row by row           w                  c
    Euler       1      1                                1                  0
    midpoint    2      2        ½                       0, 1               0, ½
    Heun        2      2        1                       ½, ½               0, 1
    Runge 4     4      4        ½;  0, ½;  0, 0, 1      ⅙, ⅓, ⅓, ⅙         0, ½, ½, 1     (OD.2)

Over a fixed stretch a rule of order p errs by O(h^p). Each term of a sum is an Euler step along
one slope, which is the op that backends have.

Mass is carried along: what a volume loses in size its density gains. A volume changes at the rate
div v, so along a path of the flow

    d/dt log p(x_t, t) = −div v(x_t, t)
    log p(x_0, t_0) = log p(x_1, t_1) + ∫ div v(x_t, t) dt,   from t_0 to t_1              (OD.3)

and the integral, by the same rule at the same points, turns the density at one end into that at the
other. The divergence is the trace of J = ∂v/∂x, of which a network's backward gives products Jᵀ e.
One for every unit vector e_d is exact. One for random signs e is right on average, since e_i e_j
is 1 for i = j and 0 on average for others:

    div v = tr J = Σ_d e_dᵀ Jᵀ e_d,   or   E eᵀ Jᵀ e,   e_i = ±1                           (OD.4)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.samplers.walk import numbers
from refgen.typing import Array

Velocity = Callable[[Array, float], Array]  # (x, t) -> v


class Field(Protocol):
    """A velocity that can be differentiated."""

    def __call__(self, x: Array, t: float) -> Array:
        """Return v(x, t)."""

    def pullback(self, x: Array, t: float) -> tuple[Array, Callable[[Array], Array]]:
        """Return v(x, t) and e ↦ Jᵀ e, each example by itself."""


class Tableau(NamedTuple):
    """The numbers of a rule."""

    order: int
    A: tuple[tuple[float, ...], ...]  # one row for every slope but the first
    w: tuple[float, ...]
    c: tuple[float, ...]

    @property
    def calls(self) -> int:
        """How often a step asks for the velocity."""
        return len(self.w)


TABLEAUX = {  # (OD.2)
    "euler": Tableau(1, (), (1.0,), (0.0,)),
    "midpoint": Tableau(2, ((0.5,),), (0.0, 1.0), (0.0, 0.5)),
    "heun": Tableau(2, ((1.0,),), (0.5, 0.5), (0.0, 1.0)),
    "rk4": Tableau(
        4, ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0)
    ),
}


def tableau(rule: str) -> Tableau:
    """Return a rule by its name. Raises ValueError for one that does not exist."""
    if rule not in TABLEAUX:
        raise ValueError(f"unknown rule {rule!r}; there are {', '.join(TABLEAUX)}")
    return TABLEAUX[rule]


def solve(
    velocity: Velocity,
    x: Array,
    times: Sequence[float],
    *,
    rule: str = "heun",
    ops: Ops = reference,
) -> Array:
    """Return x at the last time, having followed the flow from the first.

    Raises ValueError for an unknown rule and for fewer than two times.

    >>> x = solve(lambda x, t: -x, np.ones((1, 1)), [0.0, 0.5, 1.0], rule="rk4")
    >>> round(float(x[0, 0]), 3), round(float(np.exp(-1)), 3)
    (0.368, 0.368)
    """
    found = tableau(rule)
    for t, s in pairwise(_checked(times)):
        x = _step(velocity, x, t, s - t, found, ops)
    return x


def solve_with_density(
    field: Field,
    x: Array,
    times: Sequence[float],
    *,
    rule: str = "rk4",
    noise: Noise | None = None,
    ops: Ops = reference,
) -> tuple[Array, Array]:
    """Return (x at the last time, ∫ div v dt along the way), (N, *S) and (N,).

    The divergence is exact, at one product with Jᵀ for every coordinate; with a noise it is
    estimated along signs drawn once there, the same at all times, so the estimate is that of the
    integral, without bias. Raises ValueError as `solve` does.
    """
    found = tableau(rule)
    total = np.sum(0 * np.reshape(x, (x.shape[0], -1)), axis=1)
    signs = None if noise is None else _signs(x, noise)
    seen: list[Array] = []  # the divergence at every point where the rule asks for a slope

    def velocity(y: Array, at: float) -> Array:
        v, divergence = _with_divergence(field, y, at, signs)
        seen.append(divergence)
        return v

    for t, s in pairwise(_checked(times)):
        seen.clear()
        x = _step(velocity, x, t, s - t, found, ops)
        for weight, divergence in zip(found.w, seen, strict=True):
            total = total + (s - t) * weight * divergence  # (OD.3)
    return x, total


def _step(velocity: Velocity, x: Array, t: float, h: float, rule: Tableau, ops: Ops) -> Array:
    slopes: list[Array] = []
    for row, c in zip(((), *rule.A), rule.c, strict=True):
        slopes.append(velocity(_along(x, slopes, row, h, ops), t + c * h))
    return _along(x, slopes, rule.w, h, ops)


def _along(
    x: Array, slopes: Sequence[Array], weights: Sequence[float], h: float, ops: Ops
) -> Array:
    """Return x + h times the weighted sum of slopes: both sums of (OD.1)."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            x, _ = ops.euler_step_forward(x, slope, dt=h * weight)  # (OD.1)
    return x


def _with_divergence(field: Field, x: Array, t: float, signs: Array | None) -> tuple[Array, Array]:
    v, pull = field.pullback(x, t)
    axes = tuple(range(1, x.ndim))
    if signs is not None:
        return v, np.sum(signs * pull(signs), axis=axes)  # (OD.4)
    flat = 0 * np.reshape(x, (x.shape[0], -1))
    divergence = np.sum(flat, axis=1)
    for d in range(flat.shape[1]):
        unit = np.concatenate([flat[:, :d], flat[:, :1] + 1, flat[:, d + 1 :]], axis=1)
        direction = np.reshape(unit, x.shape)
        divergence = divergence + np.sum(direction * pull(direction), axis=axes)  # (OD.4)
    return v, divergence


def _signs(x: Array, noise: Noise) -> Array:
    """Return random signs of x's shape and type: the same for every slice of a batch."""
    drawn = 2.0 * noise.integers(2, x.shape) - 1.0
    return np.asarray(drawn.astype(x.dtype), like=x)


def _checked(times: Sequence[float]) -> list[float]:
    if len(times) < 2:
        raise ValueError(f"a walk has two times at least, not {list(times)}")
    return numbers(times)
