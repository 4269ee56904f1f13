r"""What a network may predict, and how one prediction becomes another.

Shapes     x, noise, data, score, mean, v, velocity : (N, *S)    alpha, alpha_bar : floats, or
           broadcast to it    levels, coefficients : floats, or (N,), one for each example
Sources    ho2020-ddpm  eq. 4, 7, 11;  song2021-sde  (score);  efron2011-tweedie;
           salimans2022-distillation  section 4 and appendix D (v);
           lipman2023-flow-matching  theorem 3 (velocity);  lin2024-zero-snr  section 3.2 (the end)

At noise level ᾱ data, noise and score say the same, since x = √ᾱ data + √(1 − ᾱ) noise:

    data = (x − √(1 − ᾱ) noise) / √ᾱ                                       (PA.1)
    noise = (x − √ᾱ data) / √(1 − ᾱ)                                       (PA.2)
    score = −noise / √(1 − ᾱ)                                              (PA.3)

(PA.3) is ∇ log q(x | data). With the noise's mean given x in its place it is ∇ log q(x); lecture 0
takes the two for one (E09 of `refgen verify --errata`).

The mean of q(x_s | x_t, data), with α = ᾱ_t / ᾱ_s what is kept of the signal's square from s to t.
By Bayes' rule it averages x_t / √α and √ᾱ_s data with the precisions α / (1 − α) and 1 / (1 − ᾱ_s),
whose sum is (1 − ᾱ_t) / ((1 − α) (1 − ᾱ_s)); (PA.1) then puts the noise for the data:

    mean = √α (1 − ᾱ_s) / (1 − ᾱ_t) x_t + √ᾱ_s (1 − α) / (1 − ᾱ_t) data     (PA.4)
    mean = (x_t − (1 − α) / √(1 − ᾱ_t) noise) / √α                         (PA.5)

On any path. Whatever is predicted is a direction in the plane of data and noise, and so is x
(a', b' are rates in t and λ = log a²/b²; the mean is that of a step from a, b to a_s, b_s):

    x = a data + b noise,   y = p data + q noise                           (PA.6)

    kind      p     q           Δ
    data      1     0           −b
    noise     0     1           a
    v         −b    a           a² + b²
    score     0     −1/b        −a/b
    velocity  a'    b'          a b' − b a', which is −½ a b λ'
    mean      a_s   r b_s²/b    −a_s (b² − r² b_s²) / b,   r = a/a_s       (PA.7)

Two directions determine the plane unless they are one. Δ, the area between them, says so:

    Δ = a q − b p,   data = (q x − b y) / Δ,   noise = (a y − p x) / Δ     (PA.8)

and one prediction becomes another, ỹ = p̃ data + q̃ noise, as

    ỹ = ((p̃ q − q̃ p) x + Δ̃ y) / Δ,   Δ̃ = a q̃ − b p̃                        (PA.9)

At given x an error of y is one of ỹ when multiplied by Δ̃/Δ; every weight of a loss follows from
that (weights.py). Where Δ = 0 a prediction says nothing that x does not: the noise and the score
where no signal is left (a = 0), the data where no noise is (b = 0). v says something everywhere.
Score, mean and, where b begins like √t, velocity have no finite value at b = 0.
"""

from typing import NamedTuple

import numpy as np

from refgen.processes.discrete import of_schedule, transition
from refgen.processes.path import Levels, Time
from refgen.processes.schedule import Schedule
from refgen.typing import Array

KINDS = ("data", "noise", "v", "score", "velocity", "mean")


class Direction(NamedTuple):
    """What a kind of prediction is made of."""

    of_data: Time  # p
    of_noise: Time  # q


class Coefficients(NamedTuple):
    """What x and one prediction are multiplied by to make another."""

    of_x: Time
    of_y: Time


def data_from_noise(x: Array, noise: Array, alpha_bar: Array | float) -> Array:
    """Return the data that x and its noise imply."""
    data: Array = (x - np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha_bar)  # (PA.1)
    return data


def noise_from_data(x: Array, data: Array, alpha_bar: Array | float) -> Array:
    """Return the noise that x and its data imply."""
    noise: Array = (x - np.sqrt(alpha_bar) * data) / np.sqrt(1 - alpha_bar)  # (PA.2)
    return noise


def score_from_noise(noise: Array, alpha_bar: Array | float) -> Array:
    """Return ∇ log q(x), when noise is its expectation given x."""
    score: Array = -noise / np.sqrt(1 - alpha_bar)  # (PA.3)
    return score


def mean_from_data(
    x: Array, data: Array, alpha_bar: Array | float, alpha_bar_next: Array | float
) -> Array:
    """Return the posterior mean of the step from ᾱ down to ᾱ_next, given the data."""
    alpha = alpha_bar / alpha_bar_next
    of_x = np.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar)
    of_data = np.sqrt(alpha_bar_next) * (1 - alpha) / (1 - alpha_bar)
    mean: Array = of_x * x + of_data * data  # (PA.4)
    return mean


def mean_from_noise(
    x: Array, noise: Array, alpha_bar: Array | float, alpha: Array | float
) -> Array:
    """Return the same mean, given the noise instead: line 4 of the ancestral sampler."""
    mean: Array = (x - (1 - alpha) / np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha)  # (PA.5)
    return mean


def clip_noise(x: Array, noise: Array, alpha_bar: float, limit: float) -> Array:
    """Return the noise whose data estimate is the given one's, clipped to ±limit.

    Clipping the data and clipping inside any sampler's step are one thing: this.
    """
    data = np.clip(data_from_noise(x, noise, alpha_bar), -limit, limit)
    return noise_from_data(x, data, alpha_bar).astype(x.dtype)  # ᾱ is float64, a walk need not be


def direction(kind: str, levels: Levels, earlier: Levels | None = None) -> Direction:
    """Return p and q of a kind of prediction; the mean's are those of the step to earlier levels.

    Raises ValueError for a kind that is not one of KINDS, for a mean of no step, and where the
    kind has no finite value.
    """
    a, b, da, db = levels
    if kind in ("score", "mean") and anywhere(b == 0):
        raise ValueError(f"without noise (b = 0) there is no {kind}: predict v or the noise there")
    if kind == "data":
        found = Direction(1.0, 0.0)
    elif kind == "noise":
        found = Direction(0.0, 1.0)
    elif kind == "v":
        found = Direction(-b, a)
    elif kind == "score":
        found = Direction(0.0, -1 / b)
    elif kind == "velocity":
        found = Direction(da, db)
        if anywhere(~np.isfinite(da)) or anywhere(~np.isfinite(db)):
            raise ValueError("the levels' rates are infinite here, and so is the velocity")
    elif kind == "mean":
        if earlier is None:
            raise ValueError("a mean is that of a step: give the levels it leads to, earlier=...")
        found = Direction(earlier.a, a / earlier.a * earlier.b**2 / b)  # (PA.7)
    else:
        raise ValueError(f"unknown prediction {kind!r}; there are {', '.join(KINDS)}")
    return found


def area(kind: str, levels: Levels, earlier: Levels | None = None) -> Time:
    """Return Δ, by how much a kind of prediction tells more than x. Raises as direction does."""
    if kind == "mean" and earlier is not None:  # no difference of what is nearly equal
        direction(kind, levels, earlier)
        return -earlier.a * transition(levels, earlier).var / levels.b
    p, q = direction(kind, levels, earlier)
    return levels.a * q - levels.b * p  # (PA.8)


def coefficients(
    source: str, target: str, levels: Levels, earlier: Levels | None = None
) -> Coefficients:
    """Return what x and a prediction are multiplied by to make another; the adjoint needs them too.

    Raises ValueError as direction does, and where the source says nothing that x does not.
    """
    p, q = direction(source, levels, earlier)
    p_new, q_new = direction(target, levels, earlier)
    known = area(source, levels, earlier)
    if anywhere(known == 0):
        gone = "signal" if anywhere(levels.a == 0) else "noise"
        raise ValueError(
            f"where no {gone} is left {source} says nothing that x does not, so {target} cannot be "
            "told from it: predict v there"
        )
    new = area(target, levels, earlier)
    return Coefficients((p_new * q - q_new * p) / known, new / known)  # (PA.9)


def convert(
    x: Array,
    y: Array,
    source: str,
    target: str,
    levels: Levels,
    *,
    earlier: Levels | None = None,
) -> Array:
    """Return the prediction of one kind that a prediction of another implies, in x's dtype.

    Raises ValueError as coefficients does.

    >>> x, v = np.array([[1.0]]), np.array([[0.7]])
    >>> convert(x, v, "v", "data", Levels(0.6, 0.8, 0.0, 0.0)).round(12)  # a x − b v
    array([[0.04]])
    """
    of_x, of_y = coefficients(source, target, levels, earlier)
    new: Array = _factor(of_x, x) * x + _factor(of_y, x) * y
    return new


def taught(
    kind: str, data: Array, noise: Array, levels: Levels, *, earlier: Levels | None = None
) -> Array:
    """Return what a network of a kind is taught to say at x = a data + b noise.

    Raises ValueError as direction does.
    """
    p, q = direction(kind, levels, earlier)
    y: Array = _factor(p, data) * data + _factor(q, data) * noise  # (PA.6)
    return y


def clip(
    x: Array,
    y: Array,
    kind: str,
    limit: float,
    levels: Levels,
    *,
    earlier: Levels | None = None,
) -> Array:
    """Return the prediction whose data estimate is the given one's, clipped to ±limit.

    Raises ValueError as coefficients does, for the way there and for the way back.
    """
    data = np.clip(convert(x, y, kind, "data", levels, earlier=earlier), -limit, limit)
    return convert(x, data, "data", kind, levels, earlier=earlier)


def refuse_blind(kind: str, schedule: Schedule) -> None:
    """Raise ValueError for an unknown kind, or one that says nothing at some level of a schedule.

    >>> from refgen.processes.schedule import linear, zero_terminal
    >>> refuse_blind("v", zero_terminal(linear(10)))
    >>> refuse_blind("noise", zero_terminal(linear(10)))
    Traceback (most recent call last):
        ...
    ValueError: linear to zero signal schedule: at t = 10 no signal is left, so the noise is x \
itself and says nothing about the data. Predict data, v, velocity, mean, or keep some signal.
    """
    path, t = of_schedule(schedule), np.arange(1, schedule.T + 1)
    levels, earlier = path.levels(t), path.levels(t - 1)
    blind = {k: t[np.asarray(area(k, levels, earlier)) == 0] for k in dict.fromkeys((kind, *KINDS))}
    if blind[kind].size:
        rest = ", ".join(k for k in KINDS if not blind[k].size)
        raise ValueError(
            f"{schedule.name} schedule: at t = {blind[kind][0]} no signal is left, so the {kind} "
            f"is {'x itself' if kind == 'noise' else 'x, scaled,'} and says nothing about the "
            "data. "
            f"Predict {rest}, or keep some signal."
        )


def anywhere(mask: Array | bool) -> bool:
    """Tell whether a mask holds anywhere; on a device, where to look is to wait, it does not."""
    return bool(np.any(mask)) if isinstance(mask, bool | np.generic | np.ndarray) else False


def column(c: Time, x: Array) -> Array:
    """(N,) -> (N, 1, ..., 1), ready to multiply (N, *S), in the precision and at the place of x."""
    each: Array = np.reshape(c, (-1,) + (1,) * (x.ndim - 1))
    each = each if each.dtype.kind == "c" else each.astype(x.real.dtype)
    there = isinstance(x, np.ndarray) or not isinstance(each, np.ndarray)
    return each if there else np.asarray(each, like=x)


def _factor(c: Time, x: Array) -> Array | float:
    """Return a coefficient ready to multiply x: a number as it is, one an example as a column."""
    if np.ndim(c) == 0:
        scalar: float = c.item() if hasattr(c, "item") else c
        return scalar
    return column(c, x)
