r"""Claims on guidance without a classifier: one network, two answers, and three names of a weight.

Sources    ho2022-cfg;  saharia2022-imagen

The bed is that of guidance.py: what the network would answer is Bayes' rule on a grid of data, and
truths are complex steps of log densities, which know no noise prediction. On trial is the
project's wrapper, which asks a network twice.
"""

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Erratum, Form
from refgen.claims.guidance import FAMILY, LABEL, LECTURE_3_FREE, POINTS, ROUNDING, Bed
from refgen.claims.residual import gap
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes.guidance import Guidance, classifier_free, guided, implied_gradient
from refgen.typing import Array

LECTURE_0 = 'L0 "Classifier-Free-Guided Diffusion"'
LECTURE_4 = 'L4 "Conditional Models, Classifier-Free Guidance"'


def _implicit_classifier(form: Form, noise: Noise) -> float:
    bed = Bed(noise)
    found = form(bed.noise_hat(LABEL), bed.noise_hat(), bed.a, bed.b)
    return gap(found, bed.slope(bed.log_label))


def conventions(form: Form, noise: Noise) -> float:
    """Compare form(ε̂_y, ε̂_∅, w) with the noise of p(x | y) p(y | x)^w, as lecture 0 counts w."""
    bed = Bed(noise)
    w = bed.gamma
    truth = -bed.b * bed.slope(lambda x: bed.log_joint(x, LABEL) + w * bed.log_label(x))
    found = form(bed.noise_hat(LABEL), bed.noise_hat(), w)
    return gap(found, truth + 0 * found)  # forms may answer once, or with a row for each name


def sharpened(form: Form, noise: Noise) -> float:
    """Compare form(ε̂_y, ε̂_∅, γ) with the noise of p(x) p(y | x)^γ, as lecture 3 counts γ."""
    bed = Bed(noise)
    truth = -bed.b * bed.tilted(bed.gamma)
    return gap(form(bed.noise_hat(LABEL), bed.noise_hat(), bed.gamma), truth)


def _velocities(form: Form, noise: Noise) -> float:
    """Compare form(v_y, v_∅, w) with the flow of p(x) p(y | x)^w, f x − ½ g² times its score."""
    bed = Bed(noise)
    da, db = -beds.between(noise.at("da"), 0.3, 2.0), beds.between(noise.at("db"), 0.3, 2.0)

    def velocity(label: int | None) -> Array:
        noise_hat = bed.noise_hat(label)
        field: Array = da * (POINTS - bed.b * noise_hat) / bed.a + db * noise_hat
        return field

    f = da / bed.a
    half_square = bed.b * (db - f * bed.b)  # ½ g², g² = (b²)' − 2 f b²
    truth = f * POINTS - half_square * bed.tilted(bed.gamma)
    return gap(form(velocity(LABEL), velocity(None), bed.gamma), truth)


def _asked_twice(convention: str) -> Form:
    """Return the project's wrapper around a network, with the weight of a convention."""

    def form(answer: Array, null: Array, weight: float) -> Array:
        def both(x: Array, t: object, told: Array) -> Array:
            return np.where(told > 0, np.tile(answer, 2), np.tile(null, 2))

        ones, guidance = np.ones_like(POINTS), Guidance.of(weight, convention)
        return classifier_free(both, ones, 0 * ones, guidance, lambda t: (1.0, 1.0))(POINTS, 0)

    return form


_cfg, _gamma, _imagen = (_asked_twice(name) for name in ("cfg", "gamma", "imagen"))


def _by_three_names(answer: Array, null: Array, w: float) -> Array:
    return np.stack(
        [_cfg(answer, null, w), _gamma(answer, null, 1 + w), _imagen(answer, null, 1 + w)]
    )


def _without_label(form: Form, noise: Noise) -> float:
    bed = Bed(noise)
    answers = np.stack([bed.noise_hat(k) for k in range(2)], axis=1)
    return gap(form(answers, bed.world, bed.a, bed.b), bed.noise_hat())


def _averaged(answers: Array, world: Mixture, a: float, b: float) -> Array:
    shares = world.responsibilities(POINTS[:, None], a, b)
    return np.asarray(np.sum(shares * answers, axis=1))


def _by_density(answers: Array, world: Mixture, a: float, b: float) -> Array:
    density = np.exp(world.log_density(POINTS[:, None], a, b))
    return density * _averaged(answers, world, a, b)


def _by_likelihood(answers: Array, world: Mixture, a: float, b: float) -> Array:
    return _averaged(answers, Mixture(0 * world.weights + 0.5, world.means, world.var), a, b)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="guid.cfg_implicit_classifier",
        statement=r"\nabla\log p(y\mid x_t)=-\frac{\epsilon_\theta(x_t,y)"
        r"-\epsilon_\theta(x_t,\emptyset)}{\sqrt{1-\bar\alpha_t}}",
        family=FAMILY,
        sources=(LECTURE_0, LECTURE_3_FREE, "ho2022-cfg"),
        right=lambda noise_hat, null, a, b: implied_gradient(noise_hat, null, b),
        wrong={
            "the sign of the noise": lambda e, null, a, b: (e - null) / b,
            "1 − ᾱ without its root": lambda e, null, a, b: (null - e) / b**2,
            "√ᾱ in place of √(1 − ᾱ)": lambda e, null, a, b: (null - e) / a,
        },
        check=_implicit_classifier,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.cfg_w0",
        statement=r"(1+w)\,\epsilon_\theta(x_t,y)-w\,\epsilon_\theta(x_t,\emptyset)"
        r"=-\sqrt{1-\bar\alpha_t}\,\nabla\log\bigl(p(x_t\mid y)\,p(y\mid x_t)^w\bigr)",
        family=FAMILY,
        sources=(LECTURE_0, "ho2022-cfg"),
        right=_cfg,
        wrong={
            "counted from the answer without label": _imagen,
            "the two exchanged": lambda e, null, w: _cfg(null, e, w),
            "the null answer added": lambda e, null, w: (1 + w) * e + w * null,
            "w with, 1 − w without": lambda e, null, w: w * e + (1 - w) * null,
        },
        check=conventions,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.cfg_gamma",
        statement=r"\gamma\,\epsilon_\theta(x_t,y)+(1-\gamma)\,\epsilon_\theta(x_t)"
        r"=-\sqrt{1-\bar\alpha_t}\,\nabla\log\bigl(p(x_t)\,p(y\mid x_t)^\gamma\bigr)",
        family=FAMILY,
        sources=(LECTURE_3_FREE,),
        right=_gamma,
        wrong={
            "counted from the answer with label": _cfg,
            "γ and 1 − γ exchanged": lambda e, null, g: (1 - g) * e + g * null,
            "γ times the answer with label": lambda e, null, g: g * e,
            "the weights' sum is 2": lambda e, null, g: g * e + (2 - g) * null,
        },
        check=sharpened,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.cfg_velocity",
        statement=r"v_t(x,\emptyset)+w\,(v_t(x,y)-v_t(x,\emptyset))=fx-\tfrac12g^2\,\nabla\log"
        r"\bigl(p(x)\,p(y\mid x)^w\bigr)",
        family=FAMILY,
        sources=(LECTURE_4, "saharia2022-imagen"),
        right=_imagen,
        wrong={
            "counted from the answer with label": _cfg,
            "the difference alone": lambda v, null, w: w * (v - null),
            "the difference's sign": lambda v, null, w: null - w * (v - null),
            "w times the labelled field": lambda v, null, w: null + w * v,
        },
        check=_velocities,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.convention_map",
        statement=r"(1+w_0)\epsilon_y-w_0\epsilon_\emptyset=\gamma\epsilon_y+(1-\gamma)"
        r"\epsilon_\emptyset=\epsilon_\emptyset+w_4(\epsilon_y-\epsilon_\emptyset),\ "
        r"\gamma=w_4=1+w_0",
        family=FAMILY,
        sources=(LECTURE_0, LECTURE_3_FREE, LECTURE_4, "ho2022-cfg", "saharia2022-imagen"),
        right=_by_three_names,
        wrong={
            "one number for all": lambda e, null, w: np.stack(
                [_cfg(e, null, w), _gamma(e, null, w), _imagen(e, null, w)]
            ),
            "γ = w_0 − 1": lambda e, null, w: _gamma(e, null, w - 1),
            "w_4 = 1 + γ": lambda e, null, w: np.stack(
                [_gamma(e, null, 1 + w), _imagen(e, null, 2 + w)]
            ),
        },
        check=conventions,
        tolerance=ROUNDING,
    ),
    Claim(
        id="guid.uncond_is_resp_mixture",
        statement=r"\epsilon^*(x_t,\emptyset)=\sum_yp(y\mid x_t)\,\epsilon^*(x_t,y)",
        family=FAMILY,
        sources=(LECTURE_3_FREE, LECTURE_4),
        right=_averaged,
        wrong={
            "the shares of the classes": lambda answers, world, a, b: answers @ world.weights,
            "a plain mean": lambda answers, world, a, b: np.mean(answers, axis=1),
            "the joint density": _by_density,
            "the likelihoods alone": _by_likelihood,
        },
        check=_without_label,
        tolerance=ROUNDING,
    ),
)

ERRATA: tuple[Erratum, ...] = (
    Erratum(
        "E18",
        'L3 "Classifier-free guidance"',
        "The left side is the guided answer; as printed it says that the label changes nothing.",
        lambda e, null, gamma: e,
        guided,
        sharpened,
        ROUNDING,
    ),
    Erratum(
        "E28",
        'L0 "Classifier-Free-Guided Diffusion"; L3, L4 "Classifier-Free Guidance"',
        "One number means three weights: γ of lecture 3 is w of lecture 4 and 1 + w of lecture 0.",
        lambda e, null, w: np.stack([_cfg(e, null, w), _gamma(e, null, w), _imagen(e, null, w)]),
        _by_three_names,
        conventions,
        ROUNDING,
    ),
)
