r"""Guidance: how far a sampler believes what a label changes, and how far it exaggerates it.

Shapes     N examples.   x, answers, gradient : (N, *S)    told, null : (N, ...)
           a, b, σ, γ, w : floats of one time
Lectures   0, 3 (classifier guidance, classifier-free guidance), 4 (classifier-free guidance)
Sources    dhariwal2021-adm  algorithm 2 (classifier);  ho2022-cfg  eq. 6 (without one);
           saharia2022-imagen  eq. 2;  kynkaanniemi2024-interval

On x = a data + b noise the score is −1/b times the mean noise given x: ε̂_y where the label y is
known too, ε̂_∅ where it is not. Bayes' rule, p(y | x) = p(x | y) p(y) / p(x), ties the two, and p(y)
has no x in it:

    ∇log p(y | x) = ∇log p(x | y) − ∇log p(x) = −(ε̂_y − ε̂_∅) / b                 (GU.1)

so a network that answers with and without the label contains a classifier. Its gradient, times
γ, is added to the score without label. What results is the score of p(x) p(y | x)^γ / Z, the
density without label tilted by the classifier: γ = 0 forgets the label, γ = 1 is p(x | y).

    classifier-free     ε̃ = ε̂_∅ + γ (ε̂_y − ε̂_∅)                                   (GU.2)
    classifier          ε̃ = ε̂ − γ b ∇log p(y | x)                                  (GU.3)

(GU.1) makes one of the other; in (GU.3) ε̂ is the answer without label, and the classifier one that
was trained on noisy x. ADM's algorithm 1 moves the mean of a step by γ σ² ∇log p(y | x) instead,
which is the same to first order in the step's length.

Whatever else is predicted, data, v, score or velocity, is c ε̂ + c' x, with the same c and c' for
both answers. The weights of (GU.2), γ and 1 − γ, sum to 1: so that line guides them all. The
gradient in (GU.3) gets the factor c, which is −1/b for the score and −b/a for the data:

    score + γ ∇log p(y | x),   data + γ (b²/a) ∇log p(y | x)                       (GU.4)

The weight has three names. Lecture 3 counts from the answer without label, as here; lecture 4 and
Imagen do as well and write w. Lecture 0 and Ho and Salimans count from the answer with label:

    γ = w_imagen = 1 + w_cfg                                                       (GU.5)

One trap more: lecture 0 writes w in front of a classifier's gradient too, and there it is γ. And
lecture 3, in the line before its (GU.2), prints ε̂_y for ε̃ (`refgen verify --errata`, E18).

Where there is much noise, a large γ drives all samples to one, where there is little it only costs
calls. In between it does its work: γ inside an interval of σ = b/a, and 1, p(x | y), outside

    γ(σ) = γ where low < σ ≤ high, else 1                                          (GU.6)

At γ = 0 and 1 the densities of all levels are noised versions of one, and a sampler ends in p(x) or
p(x | y). At another γ each level has the score of its own tilted density, and these are not noised
versions of one. So samples are not of p(x) p(y | x)^γ / Z at σ = 0, and depend on the sampler; for
γ > 1 they are nearer to the label than those of p(x | y).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen.processes.path import Path
from refgen.processes.schedule import Schedule
from refgen.typing import Array

Predict = Callable[[Array, Any], Array]  # (x, t) -> a prediction
PredictTold = Callable[[Array, Any, Array], Array]  # (x, t, what each example is told) -> the same
LevelsOf = Callable[[Any], tuple[float, float]]  # t -> (a, b)
CONVENTIONS = {"gamma": 0.0, "imagen": 0.0, "cfg": 1.0}  # γ − w
KINDS = ("noise", "score", "data")


def gamma_of(weight: float, convention: str) -> float:
    """Return γ of a weight in one of CONVENTIONS. Raises ValueError for any other.

    >>> gamma_of(2.0, "cfg"), gamma_of(3.0, "imagen")  # the same guidance, twice
    (3.0, 3.0)
    """
    _refuse_convention(convention)
    return weight + CONVENTIONS[convention]  # (GU.5)


def weight_of(gamma: float, convention: str) -> float:
    """Return the weight that a convention writes for γ. Raises ValueError for an unknown one."""
    _refuse_convention(convention)
    return gamma - CONVENTIONS[convention]


@dataclass(frozen=True)
class Guidance:
    """A weight γ for noise levels low < σ ≤ high; outside it is 1.

    Raises ValueError for a γ that is not finite and for an empty interval.
    """

    gamma: float = 1.0
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if not math.isfinite(self.gamma):
            raise ValueError(f"a guidance weight is a finite number, not {self.gamma}")
        if not 0 <= self.low < self.high:
            raise ValueError(f"guidance: 0 ≤ low < high in σ = b/a, not {self.low}, {self.high}")

    @classmethod
    def of(
        cls, weight: float, convention: str, low: float = 0.0, high: float = math.inf
    ) -> "Guidance":
        """Return the guidance of a weight in one of CONVENTIONS."""
        return cls(gamma_of(weight, convention), low, high)

    def at(self, a: float, b: float) -> float:
        """Return γ at a signal and a noise level; without signal σ is infinite.

        >>> mid = Guidance(3.0, low=0.5, high=2.0)
        >>> mid.at(0.8, 0.6), mid.at(0.995, 0.1), mid.at(0.0, 1.0)
        (3.0, 1.0, 1.0)
        """
        sigma = b / a if a > 0 else math.inf
        return self.gamma if self.low < sigma <= self.high else 1.0  # (GU.6)


def levels_of(process: Schedule | Path) -> LevelsOf:
    """Return t ↦ (a, b) of a schedule or of a path, for one time."""

    def levels(t: Any) -> tuple[float, float]:
        if isinstance(process, Schedule):
            return float(process.signal(t)), float(process.spread(t))
        found = process.levels(t)
        return float(found.a), float(found.b)

    return levels


def at_sigma(sigma: float) -> tuple[float, float]:
    """Return (a, b) for samplers whose time is the noise level itself."""
    return 1.0, sigma


def guided(answer: Array, null: Array, gamma: float) -> Array:
    """Return what lies γ times as far from the answer without label as the one with it."""
    mixed: Array = null + gamma * (answer - null)  # (GU.2)
    return mixed


def implied_gradient(noise_hat: Array, null: Array, b: float) -> Array:
    """Return ∇log p(y | x) of the classifier that two answers of one network imply."""
    gradient: Array = (null - noise_hat) / b  # (GU.1)
    return gradient


def classifier_free(
    predict: PredictTold,
    told: Array,
    null: Array,
    guidance: Guidance,
    levels: LevelsOf,
) -> Predict:
    """Return a predictor of any kind that a sampler can call, guided by what examples are told.

    told and null have a row for each example of x. Both answers come from one call with 2 N
    examples. Where γ is 1 or 0 only one answer is needed, and one call with N asks for it. Raises
    ValueError where told and null differ in shape.
    """
    if told.shape != null.shape:
        raise ValueError(f"what is told, {told.shape}, and nothing, {null.shape}, must be alike")

    def predict_guided(x: Array, t: Any) -> Array:
        gamma = guidance.at(*levels(t))
        if gamma in (0.0, 1.0):
            return predict(x, t, told if gamma else null)
        both = predict(np.concatenate([x, x]), t, np.concatenate([told, null]))
        return guided(both[: x.shape[0]], both[x.shape[0] :], gamma)

    return predict_guided


def by_classifier(
    predict: Predict,
    log_gradient: Predict,
    guidance: Guidance,
    levels: LevelsOf,
    *,
    kind: str = "noise",
) -> Predict:
    """Return a predictor of a kind, noise, score or data, guided by a classifier of noisy x.

    log_gradient(x, t) is ∇ log p(y | x) of each example's own label; where γ is 0 nobody asks for
    it. Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"a classifier guides one of {', '.join(KINDS)}, not {kind!r}")

    def predict_guided(x: Array, t: Any) -> Array:
        a, b = levels(t)
        gamma = guidance.at(a, b)
        answer = predict(x, t)
        if gamma == 0:
            return answer
        if kind == "noise":
            per_gradient = -b  # (GU.3)
        else:
            per_gradient = 1.0 if kind == "score" else b * b / a  # (GU.4)
        moved: Array = answer + (gamma * per_gradient) * log_gradient(x, t)
        return moved

    return predict_guided


def _refuse_convention(convention: str) -> None:
    if convention not in CONVENTIONS:
        have = ", ".join(CONVENTIONS)
        raise ValueError(
            f"unknown convention {convention!r} of a guidance weight; there are {have}"
        )
