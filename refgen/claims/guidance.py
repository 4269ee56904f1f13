r"""Claims on guidance: what a label changes of a score, and what is sampled when it counts more.

Source     dhariwal2021-adm

The bed is a mixture of two components on a line that are the two labels. Truths are complex steps
of log densities, which know no noise prediction; Bayes' rule on a grid of data; and enumeration.
"""

import math
from collections.abc import Callable

import numpy as np

from refgen.check.witness import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes.guidance import Guidance, by_classifier, guided
from refgen.typing import Array

FAMILY = "guidance"
ROUNDING = 1e-9
POINTS = np.linspace(-2.5, 2.5, 11)
LABEL = 0
LECTURE_0 = 'L0 "Classifier-Guided Diffusion"'
LECTURE_3 = 'L3 "Classifier guidance"'
LECTURE_3_FREE = 'L3 "Classifier-free guidance"'


class Bed:
    """A labelled mixture at a noise level: what the forms are given, and log densities."""

    def __init__(self, noise: Noise) -> None:
        self.world: Mixture = beds.some_mixture(noise.at("world"))
        self.keep = beds.between(noise.at("keep"), 0.3, 0.8)
        self.a, self.b = math.sqrt(self.keep), math.sqrt(1 - self.keep)
        self.gamma = beds.between(noise.at("gamma"), 1.5, 4.0)

    def noise_hat(self, label: int | None = None) -> Array:
        """Return E[noise | x, label] at POINTS, by Bayes' rule on a grid of data."""
        part = self.world if label is None else self.world.components([label])
        data = beds.mean_given(part, POINTS, self.keep, lambda grid: grid)
        return (POINTS - self.a * data) / self.b

    def log_joint(self, x: Array, label: int) -> Array:
        """Return log p(x, label)."""
        var = self.keep * self.world.var[label] + 1 - self.keep
        log_p = beds.log_normal(x, self.a * self.world.means[label, 0], var)
        joint: Array = np.log(self.world.weights[label]) + log_p
        return joint

    def log_p(self, x: Array) -> Array:
        """Return log p(x)."""
        total: Array = np.log(sum(np.exp(self.log_joint(x, k)) for k in range(2)))
        return total

    def log_label(self, x: Array) -> Array:
        """Return log p(LABEL | x)."""
        return self.log_joint(x, LABEL) - self.log_p(x)

    def slope(self, f: Callable[[Array], Array]) -> Array:
        """Return the derivative of f at POINTS."""
        return complex_step(f, [POINTS], [np.ones_like(POINTS)])

    def tilted(self, gamma: float) -> Array:
        """Return the score of p(x) p(LABEL | x)^γ."""
        return self.slope(lambda x: self.log_p(x) + gamma * self.log_label(x))


def _bayes_score(form: Form, noise: Noise) -> float:
    bed = Bed(noise)
    truth = bed.slope(lambda x: bed.log_joint(x, LABEL))
    return gap(form(bed.slope(bed.log_p), bed.slope(bed.log_label), bed), truth)


def _score_by_classifier(score: Array, of_label: Array, bed: Bed) -> Array:
    predict = by_classifier(
        lambda x, t: score, lambda x, t: of_label, Guidance(1.0), lambda t: t, kind="score"
    )
    return predict(POINTS, (bed.a, bed.b))


def _classifier_eps(form: Form, noise: Noise) -> float:
    bed = Bed(noise)
    truth = -bed.b * bed.tilted(bed.gamma)
    return gap(form(bed.noise_hat(), bed.slope(bed.log_label), bed.gamma, bed.a, bed.b), truth)


def _noise_by_classifier(
    noise_hat: Array, of_label: Array, gamma: float, a: float, b: float
) -> Array:
    predict = by_classifier(
        lambda x, t: noise_hat, lambda x, t: of_label, Guidance(gamma), lambda t: t
    )
    return predict(POINTS, (a, b))


def _sharpened(form: Form, noise: Noise) -> float:
    bed = Bed(noise)
    scores = bed.slope(lambda x: bed.log_joint(x, LABEL)), bed.slope(bed.log_p)
    return gap(form(*scores, bed.gamma), bed.tilted(bed.gamma))


def _levels_agree(form: Form, noise: Noise) -> float:
    """Return the largest L1 distance, over γ, of the tilted densities of two levels.

    One is p_t(x) p_t(y | x)^γ / Z; the other the noised p_0(x) p_0(y | x)^γ / Z.
    """
    bed = Bed(noise)
    grid = np.linspace(-12.0, 12.0, 801)
    h = float(grid[1] - grid[0])
    clean = Bed(noise)
    clean.keep, clean.a, clean.b = 1.0, 1.0, 0.0
    kernel = np.exp(beds.log_normal(grid[:, None], bed.a * grid, 1 - bed.keep))
    gaps = []
    for gamma in form():
        p_0, p_t = (np.exp(at.log_p(grid) + gamma * at.log_label(grid)) for at in (clean, bed))
        noised = kernel @ (p_0 / np.sum(p_0))
        gaps.append(h * np.sum(np.abs(p_t / np.sum(p_t) / h - noised)))
    return largest(*gaps)


def _forward_chain(form: Form, noise: Noise) -> float:
    """Enumerate labels, states and two steps: compare form(steps) with q(x_2 | x_1, y)."""

    def table(place: Noise, *shape: int) -> Array:
        raw = 0.1 + place.uniform(shape)
        shares: Array = raw / np.sum(raw, axis=-1, keepdims=True)
        return shares

    label, data = table(noise.at("label"), 2), table(noise.at("data"), 2, 3)
    first, second = table(noise.at("first"), 3, 3), table(noise.at("second"), 3, 3)
    joint = np.einsum("y,yi,ij,jk->yijk", label, data, first, second)
    pairs = np.sum(joint, axis=1)
    truth = pairs / np.sum(pairs, axis=2, keepdims=True)
    return gap(form(first, second, joint), truth)


def _reversed(first: Array, second: Array, joint: Array) -> Array:
    """Return q(x_1 | x_2) where q(x_2 | x_1) is asked, label or not."""
    pairs = np.sum(joint, axis=(0, 1))
    return np.stack([(pairs / np.sum(pairs, axis=0)).T] * 2)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="guid.bayes_score",
        statement=r"\nabla\log p(x_t\mid y)=\nabla\log p(x_t)+\nabla\log p(y\mid x_t)",
        family=FAMILY,
        sources=(LECTURE_3, LECTURE_0),
        right=_score_by_classifier,
        wrong={
            "minus": lambda score, label, bed: score - label,
            "the classifier alone": lambda score, label, bed: label,
            "half of it": lambda score, label, bed: score + 0.5 * label,
        },
        check=_bayes_score,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.classifier_eps",
        statement=r"\bar\epsilon=\epsilon_\theta(x_t)-\gamma\sqrt{1-\bar\alpha_t}\,"
        r"\nabla\log p(y\mid x_t)",
        family=FAMILY,
        sources=(LECTURE_0, LECTURE_3, "dhariwal2021-adm"),
        right=_noise_by_classifier,
        wrong={
            "plus": lambda e, g, gamma, a, b: e + gamma * b * g,
            "1 − ᾱ without its root": lambda e, g, gamma, a, b: e - gamma * b * b * g,
            "√ᾱ in place of √(1 − ᾱ)": lambda e, g, gamma, a, b: e - gamma * a * g,
            "no factor": lambda e, g, gamma, a, b: e - gamma * g,
            "γ counted from 1": lambda e, g, gamma, a, b: e - (1 + gamma) * b * g,
        },
        check=_classifier_eps,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.gamma_sharpen",
        statement=r"(1-\gamma)\nabla\log p(x)+\gamma\nabla\log p(x\mid y)"
        r"=\nabla\log\frac{p(y\mid x)^\gamma p(x)}Z",
        family=FAMILY,
        sources=(LECTURE_3, LECTURE_3_FREE),
        right=guided,
        wrong={
            "(1 + γ) with label, −γ without": lambda s, null, g: (1 + g) * s - g * null,
            "a power of p(x | y)": lambda s, null, g: g * s,
            "γ and 1 − γ exchanged": lambda s, null, g: g * null + (1 - g) * s,
        },
        check=_sharpened,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.gamma1_is_diffusion",
        statement=r"\text{only for }\gamma\in\{0,1\}\text{ is }p_t(x)p_t(y\mid x)^\gamma/Z_t"
        r"\text{ the diffused }p_0p_0(y\mid\cdot)^\gamma/Z_0",
        family=FAMILY,
        sources=(LECTURE_3,),
        right=lambda: (0.0, 1.0),
        wrong={
            "γ = 4": lambda: (4.0,),
            "γ = 2": lambda: (2.0,),
            "γ = ½": lambda: (0.5,),
        },
        check=_levels_agree,
        tolerance=1e-6,
    ),
    Claim(
        id="guid.forward_cond_markov",
        statement=r"q(x_t\mid x_{t-1},y)=q(x_t\mid x_{t-1})",
        family=FAMILY,
        sources=('L3 "Guidance"',),
        right=lambda first, second, joint: np.stack([second, second]),
        wrong={
            "the reverse step": _reversed,
            "two steps": lambda first, second, joint: np.stack([first @ second] * 2),
            "the step before": lambda first, second, joint: np.stack([first, first]),
        },
        check=_forward_chain,
        tolerance=ROUNDING,
    ),
)
