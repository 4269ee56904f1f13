r"""Noise schedules of discrete diffusion. Time runs from data, t = 0, to noise, t = T.

Shapes     every array : (T + 1,) float64, indexed by t; entry 0 is the data, where ᾱ = 1
           geometric : (L,), index 0 is σ_1
Sources    ho2020-ddpm  section 4 (linear);  nichol2021-improved  eq. 17 (cosine);
           chen2023-schedules  (sigmoid);  song2019-ncsn  section 4 (geometric);
           lin2024-zero-snr  algorithm 1 (the last level)

    α_t = 1 − β_t,   ᾱ_t = Π_{s ≤ t} α_s,   x_t = √ᾱ_t data + √(1 − ᾱ_t) noise      (S.1)
    β̃_t = β_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t),   the variance of x_{t−1} given x_t and the data (S.2)

    constant     β_t = β                                                              (S.3)
    linear       β_t from β_1 to β_T in equal steps                                   (S.4)
    quadratic    √β_t from √β_1 to √β_T in equal steps                                (S.5)
    cosine       ᾱ_t = f(t) / f(0),  f(t) = cos²(½π (t/T + o) / (1 + o)),
                 then β_t = min(1 − ᾱ_t / ᾱ_{t−1}, β_max)                             (S.6)
    sigmoid      ᾱ_t = (S(u_1) − S(u)) / (S(u_1) − S(u_0)), u = u_0 + (u_1 − u_0) t/T,
                 S(u) = 1 / (1 + e⁻ᵘ), and β_t as for the cosine                      (S.7)

With offset o = 0 the cosine moves uniformly on the arc (√ᾱ, √(1 − ᾱ)). With any offset
f(T) = 0, and at ᾱ_T = 0 the noise says nothing about the data: β_max < 1 keeps it away from there.
β̃_1 = 0: given the data there is nothing left to draw at the last step.

Lecture 1 writes σ̃_t² for β̃_t. Lecture 4 prints 0.04 for the linear schedule's β_T, which was 0.02,
and clips α_t at both ends where ᾱ_t, or β_t from above, is meant (E13 and E26 of `refgen verify
--errata`).

Most schedules keep some signal at T, but sampling starts from none. What a network has learnt to
read there, the mean brightness of an image say, it then reads from noise. Shifting and stretching
the signal takes it to 0 at T and leaves it where it was at t = 1:

    √ᾱ'_t = (√ᾱ_t − √ᾱ_T) √ᾱ_1 / (√ᾱ_1 − √ᾱ_T),   t ≥ 1                               (S.8)

At T then x = noise: to name the noise says nothing about the data, and a network must predict the
data, v or the mean instead (parametrization.py). A sampler that divides by √ᾱ_T cannot start there.

A walk of Langevin steps has noise levels only; i counts them from the largest:

    geometric    σ_i = σ_1 (σ_L / σ_1)^((i − 1) / (L − 1)),   σ_1 > ... > σ_L          (S.9)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from refgen.ops.home import beside
from refgen.typing import Array


@dataclass(frozen=True)
class Schedule:
    """A sequence of noise levels, built once in float64 from β_1 .. β_T.

    Raises ValueError for a singular schedule: every β must lie strictly between 0 and 1, but for
    a β_T of 1 where zero_terminal says that it is meant.
    """

    name: str
    beta: Array  # (T + 1,); beta[0] = 0
    alpha: Array = field(init=False)  # (T + 1,)
    alpha_bar: Array = field(init=False)  # (T + 1,); 1 at t = 0, falling
    posterior_var: Array = field(init=False)  # (T + 1,)  β̃; 0 at t = 0 and t = 1
    zero_terminal: bool = False  # ᾱ_T = 0

    def __post_init__(self) -> None:
        beta = np.asarray(self.beta, dtype=np.float64)
        if beta.ndim != 1 or beta.size < 2 or beta[0] != 0:
            raise ValueError(f"{self.name} schedule: beta must be (T + 1,) with beta[0] = 0, T ≥ 1")
        inside = beta[1:-1] if self.zero_terminal else beta[1:]
        if self.zero_terminal and beta[-1] != 1:
            raise ValueError(
                f"{self.name} schedule: with zero_terminal the last beta is 1, not {beta[-1]:.6g}; "
                "refgen.processes.zero_terminal(schedule) makes such a schedule"
            )
        for t in np.flatnonzero(~((inside > 0) & (inside < 1)))[:1] + 1:
            why = (
                "ᾱ becomes 0 there and the noise says nothing about the data"
                if beta[t] >= 1
                else "no noise is added there and the bound divides by it"
            )
            raise ValueError(
                f"{self.name} schedule: beta[{t}] = {beta[t]:.6g} is not inside (0, 1): {why}. "
                "Choose beta (or max_beta) strictly between 0 and 1."
            )
        alpha = 1 - beta
        alpha_bar = np.cumprod(alpha)  # (S.1)
        posterior_var = np.zeros_like(beta)
        posterior_var[1:] = beta[1:] * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])  # (S.2)
        for name, value in {
            "beta": beta,
            "alpha": alpha,
            "alpha_bar": alpha_bar,
            "posterior_var": posterior_var,
        }.items():
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def T(self) -> int:
        """The number of noise levels."""
        return len(self.beta) - 1

    def signal(self, t: Array | int) -> Array:
        """Return √ᾱ_t, what is left of the data."""
        root: Array = np.sqrt(beside(self.alpha_bar, t)[t])
        return root

    def spread(self, t: Array | int) -> Array:
        """Return √(1 − ᾱ_t), the standard deviation of the noise."""
        root: Array = np.sqrt(1 - beside(self.alpha_bar, t)[t])
        return root


def constant(T: int, beta: float = 0.02) -> Schedule:
    """Return the schedule of T equal steps."""
    return _from_steps("constant", np.full(_positive(T), beta))  # (S.3)


def linear(T: int, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """Return the linear schedule; the defaults belong to T = 1000.

    >>> round(float(np.log(linear(1000).alpha_bar[-1])), 2)
    -10.12
    """
    return _from_steps("linear", np.linspace(first, last, _positive(T)))  # (S.4)


def quadratic(T: int, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """Return the schedule whose √β grows linearly."""
    if first < 0 or last < 0:
        raise ValueError(f"quadratic schedule: first and last are betas, not {first}, {last}")
    roots = np.linspace(math.sqrt(first), math.sqrt(last), _positive(T))
    return _from_steps("quadratic", roots * roots)  # (S.5)


def cosine(T: int, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """Return the cosine schedule; offset = 0 is the plain one, cos²(πt/2T)."""
    if not 0 <= offset < 1:
        raise ValueError(f"cosine schedule: offset must lie in [0, 1), not {offset}")
    t = np.arange(_positive(T) + 1) / T
    f = np.cos(0.5 * math.pi * (t + offset) / (1 + offset)) ** 2
    f[-1] = 0.0  # cos(½π), which libm rounds to 6e-17
    return _from_steps("cosine", np.minimum(1 - f[1:] / f[:-1], max_beta))  # (S.6)


def sigmoid(T: int, first: float = -3.0, last: float = 3.0, max_beta: float = 0.999) -> Schedule:
    """Return the schedule whose ᾱ falls along a sigmoid; a temperature divides first and last."""
    if not first < last:
        raise ValueError(f"sigmoid schedule: first < last, not {first}, {last}")
    t = np.arange(_positive(T) + 1) / T
    low, high = 0.5 * first, 0.5 * last
    # S(u_1) − S(u) is this without cancellation, but for a factor that the ratio does not see
    kept = np.sinh((1 - t) * (high - low)) / np.cosh((1 - t) * low + t * high)
    return _from_steps("sigmoid", np.minimum(1 - kept[1:] / kept[:-1], max_beta))  # (S.7)


def from_alpha_bar(name: str, alpha_bar: Array) -> Schedule:
    """Return the schedule of given ᾱ_0 = 1 > ᾱ_1 > ...; the last may be 0.

    Raises ValueError where they do not fall, or do not start at 1.
    """
    if alpha_bar.ndim != 1 or alpha_bar.size < 2 or alpha_bar[0] != 1:
        raise ValueError(f"{name} schedule: alpha_bar must be (T + 1,) with alpha_bar[0] = 1")
    if not (np.diff(alpha_bar) < 0).all() or alpha_bar[-1] < 0:
        raise ValueError(f"{name} schedule: alpha_bar must fall from 1 to no less than 0")
    steps = 1 - alpha_bar[1:] / alpha_bar[:-1]
    return Schedule(name, np.concatenate([[0.0], steps]), zero_terminal=bool(alpha_bar[-1] == 0))


def zero_terminal(schedule: Schedule) -> Schedule:
    """Return the schedule stretched so that no signal is left at T; ᾱ_1 stays.

    Raises ValueError for T = 1, whose one level cannot both stay and become 0.

    >>> schedule = zero_terminal(linear(1000))
    >>> float(schedule.alpha_bar[-1]), bool(np.isclose(schedule.beta[1], 1e-4))
    (0.0, True)
    """
    if schedule.T < 2:
        raise ValueError("a schedule of T = 1 keeps its one level or loses it: take T ≥ 2")
    root = np.sqrt(schedule.alpha_bar)
    root[1:] = (root[1:] - root[-1]) * (root[1] / (root[1] - root[-1]))  # (S.8)
    return from_alpha_bar(f"{schedule.name} to zero signal", root * root)


def geometric(L: int, first: float = 1.0, last: float = 0.01) -> Array:
    """Return σ_1 > ... > σ_L from first to last, (L,) float64, in equal ratios.

    Raises ValueError unless 0 < last < first and L ≥ 2.

    >>> geometric(3)
    array([1.  , 0.1 , 0.01])
    """
    if not (0 < last < first and L >= 2):
        raise ValueError(
            f"geometric noise levels: 0 < last < first and L ≥ 2, not {last}, {first} and {L}"
        )
    part = np.arange(L) / (L - 1)
    sigma: Array = first ** (1 - part) * last**part  # (S.9)
    return sigma


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "linear": linear,
    "quadratic": quadratic,
    "cosine": cosine,
    "sigmoid": sigmoid,
}


def stride(T: int, steps: int) -> tuple[int, ...]:
    """Return steps + 1 falling times from T to 0, as evenly apart as integers allow.

    Raises ValueError unless 1 ≤ steps ≤ T: then no time is visited twice.

    >>> stride(1000, 4)
    (1000, 750, 500, 250, 0)
    """
    if not 1 <= steps <= T:
        raise ValueError(f"a schedule of T = {T} levels has 1 .. {T} sampling steps, not {steps}")
    return tuple(T * i // steps for i in range(steps, -1, -1))


def _from_steps(name: str, steps: Array) -> Schedule:
    return Schedule(name, np.concatenate([[0.0], steps]))


def _positive(T: int) -> int:
    if T < 1:
        raise ValueError(f"a schedule needs T ≥ 1 noise levels, not {T}")
    return T
