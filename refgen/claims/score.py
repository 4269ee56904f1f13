r"""Claims on scores: of one datum, of the marginal, and what they have to do with the noise.

Sources    efron2011-tweedie;  song2021-sde;  ho2020-ddpm  section 3.2

The marginal's score is the complex step of a log density, the conditional means are Bayes'
rule on a grid of data (beds.py).
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from refgen.check.witness import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.diffusion_weights import term_weight, weight_in
from refgen.claims.residual import gap
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.ops.step import ddpm_step_forward
from refgen.processes import Schedule
from refgen.processes.parametrization import data_from_noise, score_from_noise
from refgen.processes.path import Levels
from refgen.processes.weights import loss_weight
from refgen.typing import Array

FAMILY = "score"
ROUNDING = 1e-9
POINTS = np.linspace(-2.5, 2.5, 11)


def _derivative(f: Callable[[Array], Array], x: Array) -> Array:
    """Return the derivative of f at each point: f acts point by point."""
    return complex_step(f, [x], [np.ones_like(x)])


def marginal_score(world: Mixture, x: Array, alpha_bar: float) -> Array:
    """Return ∇ log q(x_t) as the complex step of log Σ_grid q(x_t | x_0) q(x_0)."""
    grid, weight = beds.data_line(world)

    def log_q(x: Array) -> Array:
        exponent = -((x[:, None] - math.sqrt(alpha_bar) * grid) ** 2) / (2 * (1 - alpha_bar))
        log_p: Array = np.log(np.exp(exponent) @ weight)
        return log_p

    return _derivative(log_q, x)


def _of_one_datum(form: Form, noise: Noise) -> float:
    keep = beds.between(noise.at("keep"), 0.1, 0.9)
    x0, draw = noise.at("points").normal((2, 5))
    x = math.sqrt(keep) * x0 + math.sqrt(1 - keep) * draw
    truth = _derivative(lambda x: beds.log_normal(x, math.sqrt(keep) * x0, 1 - keep), x)
    return gap(form(draw, keep), truth)


def of_the_marginal(form: Form, noise: Noise) -> float:
    """Compare form(E[noise | x], x, a datum, ᾱ) with the score of the marginal."""
    world, keep = beds.some_mixture(noise.at("world")), beds.between(noise.at("keep"), 0.3, 0.8)
    data_mean = beds.mean_given(world, POINTS, keep, lambda grid: grid)
    noise_mean = (POINTS - math.sqrt(keep) * data_mean) / math.sqrt(1 - keep)
    datum = float(world.sample(1, noise.at("datum"))[0, 0])
    return gap(form(noise_mean, POINTS, datum, keep), marginal_score(world, POINTS, keep))


def _tweedie(form: Form, noise: Noise) -> float:
    world, keep = beds.some_mixture(noise.at("world")), beds.between(noise.at("keep"), 0.3, 0.8)
    truth = beds.mean_given(world, POINTS, keep, lambda grid: grid)
    score = world.score(POINTS[:, None], math.sqrt(keep), math.sqrt(1 - keep))[:, 0]
    return gap(form(POINTS, score, keep), truth)


def _tweedie_form(x: Array, score: Array, keep: float) -> Array:
    return data_from_noise(x, -math.sqrt(1 - keep) * score, keep)


def squared_errors(form: Form, noise: Noise) -> float:
    """Compare form(s_θ, ∇ log q(x_t | x_0), ᾱ) with the squared error of the noise."""
    keep = beds.between(noise.at("keep"), 0.1, 0.9)
    draw, noise_hat = noise.at("pair").normal((2, 4))
    error = float(np.sum((draw - noise_hat) ** 2))
    scores = score_from_noise(noise_hat, keep), score_from_noise(draw, keep)
    return abs(float(form(*scores, keep)) / error - 1)


def _reverse_mean(form: Form, noise: Noise) -> float:
    """Compare with E[x_{t−1} | x_t], by Bayes' rule on a grid of x_{t−1}."""
    world, schedule = beds.some_mixture(noise.at("world")), beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 2, schedule.T - 1)
    before, beta = beds.kept(schedule, t - 1), float(schedule.beta[t])
    grid = np.linspace(-10.0, 10.0, 2000)
    log_q = world.log_density(grid[:, None], math.sqrt(before), math.sqrt(1 - before))
    log_joint = log_q + beds.log_normal(POINTS[:, None], math.sqrt(1 - beta) * grid, beta)
    joint = np.exp(log_joint - np.max(log_joint, axis=1, keepdims=True))
    score = marginal_score(world, POINTS, before * (1 - beta))
    truth = joint @ grid / np.sum(joint, axis=1)
    return gap(form(POINTS, score, schedule, t), truth)


def _step_by_score(x: Array, score: Array, schedule: Schedule, t: int, bar: int = 0) -> Array:
    """Return the project's step with the noise that the score stands for."""
    levels = {"alpha_bar": float(schedule.alpha_bar[t]), "sigma": 0.0}
    alpha = float((schedule.alpha_bar if bar else schedule.alpha)[t])
    noise_hat = -float(schedule.spread(t)) * score
    return ddpm_step_forward(x, noise_hat, 0 * x, alpha=alpha, **levels)[0]


def _two_processes(form: Form, noise: Noise) -> float:
    """Compare form(s_VP, x, ᾱ) with the score at x of data + σ noise, σ² = (1 − ᾱ)/ᾱ."""
    world, keep = beds.some_mixture(noise.at("world")), beds.between(noise.at("keep"), 0.3, 0.8)
    sigma = math.sqrt(1 / keep - 1)
    grid, weight = beds.data_line(world)

    def log_q(x: Array) -> Array:
        log_p: Array = np.log(np.exp(-0.5 * ((x[:, None] - grid) / sigma) ** 2) @ weight)
        return log_p

    def variance_preserving(x: Array) -> Array:
        return world.score(x[:, None], math.sqrt(keep), math.sqrt(1 - keep))[:, 0]

    return gap(form(variance_preserving, POINTS, keep), _derivative(log_q, POINTS))


_score_weight = partial(weight_in, "score")


def _simple_in_scores(s: Array, of_datum: Array, keep: float) -> float:
    """Return the simple loss of two scores: the weight is the project's."""
    levels = Levels(math.sqrt(keep), math.sqrt(1 - keep), 0.0, 0.0)
    return float(loss_weight("simple", "score", levels)) * _square(s, of_datum)


def _square(s: Array, of_datum: Array) -> float:
    return float(np.sum((s - of_datum) ** 2))


CLAIMS = (
    Claim(
        "score.cond_gauss",
        r"\nabla_{x_t} \log q(x_t \mid x_0) = -\frac{x_t - \sqrt{\bar\alpha_t}\,x_0}{1 - "
        r"\bar\alpha_t} "
        r"= -\frac{\epsilon}{\sqrt{1 - \bar\alpha_t}}",
        FAMILY,
        ('L0 "Classifier-Guided Diffusion"', 'L3 "DDPM objective"', "song2021-sde"),
        score_from_noise,
        {
            "sign": lambda e, keep: -score_from_noise(e, keep),
            "no root below": lambda e, keep: -e / (1 - keep),
            "√ᾱ below": lambda e, keep: -e / math.sqrt(keep),
        },
        _of_one_datum,
        ROUNDING,
    ),
    Claim(
        "score.eps_relation",
        r"\nabla \log q(x_t) = -\mathbb E[\epsilon \mid x_t]/\sqrt{1 - \bar\alpha_t}",
        FAMILY,
        ('L0 "Classifier-Guided Diffusion"', 'L3 "NCSN objective"', "song2021-sde"),
        lambda noise_mean, x, datum, keep: score_from_noise(noise_mean, keep),
        {
            "the score of one datum": lambda noise_mean, x, datum, keep: (
                -(x - math.sqrt(keep) * datum) / (1 - keep)
            ),
            "times the root": lambda noise_mean, x, datum, keep: -noise_mean * math.sqrt(1 - keep),
            "sign": lambda noise_mean, x, datum, keep: -score_from_noise(noise_mean, keep),
        },
        of_the_marginal,
        1e-8,
    ),
    Claim(
        "score.tweedie",
        r"\mathbb E[x_0 \mid x_t] = (x_t + (1 - \bar\alpha_t) \nabla \log "
        r"q(x_t))/\sqrt{\bar\alpha_t}",
        FAMILY,
        ('L1 "x_0 Predictor"', "efron2011-tweedie"),
        _tweedie_form,
        {
            "sign": lambda x, score, keep: _tweedie_form(x, -score, keep),
            "the deviation for the variance": lambda x, score, keep: (
                (x + math.sqrt(1 - keep) * score) / math.sqrt(keep)
            ),
            "the signal not divided out": lambda x, score, keep: x + (1 - keep) * score,
        },
        _tweedie,
        1e-8,
    ),
    Claim(
        "score.Lt_score_weight",
        r"L_t = \mathbb E \frac{(1 - \alpha_t)^2}{2\tilde\beta_t\alpha_t} \Vert s_\theta - \nabla "
        r"\log "
        r"q(x_t \mid x_0) \Vert^2",
        FAMILY,
        ('L3 "DDPM objective"',),
        _score_weight,
        {
            "the weight of the noise": lambda s, t: _score_weight(s, t) / (1 - s.alpha_bar[t]),
            "no α_t": lambda s, t: _score_weight(s, t) * s.alpha[t],
            "β_t for β̃_t": lambda s, t: s.beta[t] / (2 * s.alpha[t]),
        },
        partial(term_weight, "score", "posterior"),
        ROUNDING,
    ),
    Claim(
        "score.simple_vs_ncsn_weight",
        r"\Vert \epsilon - \epsilon_\theta \Vert^2 = (1 - \bar\alpha_t) \Vert s_\theta - \nabla "
        r"\log "
        r"q(x_t \mid x_0) \Vert^2",
        FAMILY,
        ('L3 "NCSN objective"', "song2021-sde"),
        _simple_in_scores,
        {
            "equal weights": lambda s, of_datum, keep: _square(s, of_datum),
            "the root": lambda s, of_datum, keep: math.sqrt(1 - keep) * _square(s, of_datum),
        },
        squared_errors,
        ROUNDING,
    ),
    Claim(
        "ddpm.ancestral_score_form",
        r"\mathbb E[x_{t-1} \mid x_t] = \frac1{\sqrt{\alpha_t}} x_t + \frac{1 - "
        r"\alpha_t}{\sqrt{\alpha_t}} "
        r"\nabla \log q(x_t)",
        FAMILY,
        ('L3 "DDPM sampling"', "song2021-sde"),
        _step_by_score,
        {
            "a bar on every α": lambda x, score, s, t: _step_by_score(x, score, s, t, bar=1),
            "sign": lambda x, score, s, t: _step_by_score(x, -score, s, t),
            "the deviation for the score": lambda x, score, s, t: _step_by_score(
                x, score * s.spread(t), s, t
            ),
        },
        _reverse_mean,
        1e-8,
    ),
    Claim(
        "score.vp_ve_rescale",
        r"\frac{x_t}{\sqrt{\bar\alpha_t}} = x_0 + \sigma\epsilon,\ \sigma^2 = \tfrac{1 - "
        r"\bar\alpha_t}"
        r"{\bar\alpha_t}: \quad s_{VE}(x/\sqrt{\bar\alpha_t}) = \sqrt{\bar\alpha_t}\,s_{VP}(x)",
        FAMILY,
        ('L1 "VP-SDE vs. VE-SDE"', "song2021-sde"),
        lambda s, x, keep: math.sqrt(keep) * s(math.sqrt(keep) * x),
        {
            "the same score": lambda s, x, keep: s(math.sqrt(keep) * x),
            "divided": lambda s, x, keep: s(math.sqrt(keep) * x) / math.sqrt(keep),
            "the point not scaled": lambda s, x, keep: math.sqrt(keep) * s(x),
        },
        _two_processes,
        1e-8,
    ),
)
