r"""Where a lecture is false as printed: the printed form beside the one that is meant.

Sources    ho2020-ddpm;  song2021-sde

One check judges both forms. Most are those of claims, which name the misprint as a wrong form.
A slip may be the extractor's and not the slide's; only the text is quoted here. Here are equations
that are false; slips of a symbol or an index are in slips.py, what needs an assumption that is not
stated is in unstated.py, and what a weight of guidance means in classifier_free.py.
"""

import math
from functools import partial

import numpy as np

from refgen.claims import beds, classifier_free, latent, slips, unstated
from refgen.claims.claim import Erratum, Form
from refgen.claims.diffusion_bound import consistency, is_minus_elbo
from refgen.claims.diffusion_weights import (
    mean_term,
    mean_weight,
    reweighted,
    step_weight,
    term_weight,
)
from refgen.claims.residual import gap, largest
from refgen.claims.sampling import ancestral_step, follows_gaussian, printed_step
from refgen.claims.score import of_the_marginal
from refgen.noise import Noise
from refgen.processes import Schedule
from refgen.processes.parametrization import score_from_noise
from refgen.typing import Array

ROUNDING = 1e-9


def _between_log_p(form: Form, noise: Noise) -> float:
    """Return by how much form(−log p, −ELBO) = (smaller, larger) is out of order."""
    chain, x0 = beds.some_chain(noise.at("chain")), noise.at("x0").normal(3)
    smaller, larger = form(-chain.log_density(x0), -beds.bound_by_paths(chain, x0))
    return largest(0.0, float(np.max(smaller - larger)))


def _posterior_exponent(form: Form, noise: Noise) -> float:
    """Compare −½ form, up to a constant, with log q(x_{t−1} | x_t, x_0) on a grid of x_{t−1}."""
    schedule = beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 2, schedule.T)
    xt, x0 = noise.at("points").normal(2)
    p, q, v = beds.posterior(schedule, t)
    x = np.linspace(-2.0, 2.0, 9)
    rest = -0.5 * form(schedule, t, x, xt, x0) - beds.log_normal(x, p * xt + q * x0, v)
    return float(np.max(rest) - np.min(rest))


def _exponent(s: Schedule, t: int, x: Array, xt: float, x0: float, power: int = 2) -> Array:
    """Return the exponent of Bayes' rule; with power 1 as printed, x_t in the second term too."""
    second = x if power == 2 else xt
    keep, before = s.alpha_bar[t], s.alpha_bar[t - 1]
    total = (xt - np.sqrt(s.alpha[t]) * x) ** power / s.beta[t]
    total = total + (second - np.sqrt(before) * x0) ** power / (1 - before)
    exponent: Array = total - (xt - np.sqrt(keep) * x0) ** power / (1 - keep)
    return exponent


def _moments_of_x(form: Form, noise: Noise) -> float:
    """Compare form(schedule, t, x0) = (mean, variance) of q(x_t | x_0)."""
    schedule, x0 = beds.some_schedule(noise), float(noise.at("x0").normal(1)[0])
    matrix, worst = beds.walk_matrix(schedule.beta), 0.0
    for t in range(1, schedule.T + 1):
        mean, var = form(schedule, t, x0)
        true_var = float(np.sum(matrix[t, 1:] ** 2))
        worst = largest(worst, abs(mean - matrix[t, 0] * x0), abs(var - true_var))
    return worst


def _alternating(form: Form, noise: Noise) -> float:
    """Compare with 2000 alternating steps of min_x max_y x y, each written out."""
    rate, (x, y) = beds.between(noise.at("rate"), 0.05, 0.2), noise.at("start").normal(2)
    found = np.linalg.matrix_power(form(rate), 2000) @ np.array([x, y])
    for _ in range(2000):
        x = x - rate * y
        y = y + rate * x
    return gap(found, np.array([x, y]))


def _finite_weights(form: Form, noise: Noise) -> float:
    """Count the times of form(T) at which (1 − α_t)² / 2 β̃_t α_t is not finite."""
    schedule = beds.some_schedule(noise)
    with np.errstate(divide="ignore"):
        weight = schedule.beta[1:] ** 2 / (2 * schedule.posterior_var * schedule.alpha)[1:]
    return float(sum(not np.isfinite(weight[t - 1]) for t in form(schedule.T)))


def _of_squares(form: Form, noise: Noise) -> float:
    """Tell E_q log p(x | z) of one q from its expected square, and from both of another q."""
    here = latent.case(noise)
    squares, log_p = [], []
    for shift in (0.0, 0.7):
        z, weights = latent.nodes(here.mean + shift, here.cov)
        error = here.x - z @ here.model.weight.T - here.model.bias
        squares.append(float(weights @ np.sum(error * error, axis=1)))
        cov = here.model.var * np.eye(error.shape[1])
        log_p.append(float(weights @ latent.log_normal(error, np.zeros(error.shape[1]), cov)))
    return gap(form(*squares, log_p[0], here.model.var, error.shape[1]), log_p[1])


FALSE = (
    Erratum(
        "E01",
        "L0 Algorithm 2, line 4; L4 likewise",
        "Every α has a bar: that is the estimate of the data plus noise, not the mean of a step.",
        printed_step,
        ancestral_step,
        follows_gaussian,
        0.02,
    ),
    Erratum(
        "E02",
        'L1 "ϵ_t Predictor", the weight of the loss',
        "Bars on α in three places; only the last, 1 − ᾱ_t, has one.",
        lambda s, t: (1 - s.alpha_bar[t]) / (2 * s.beta[t] * s.alpha_bar[t]),
        step_weight,
        partial(term_weight, "noise", "beta"),
        ROUNDING,
    ),
    Erratum(
        "E03",
        'L1 "ELBO", four copies',
        "The inequality is reversed: −log p is at most the negative bound.",
        lambda minus_log_p, minus_elbo: (minus_elbo, minus_log_p),
        lambda minus_log_p, minus_elbo: (minus_log_p, minus_elbo),
        _between_log_p,
        ROUNDING,
    ),
    Erratum(
        "E04",
        'L1 "Consistency Term"',
        "The term is not an expected divergence: given x_{t−1}, x_t and x_{t+1} are dependent.",
        partial(consistency, dependent=False),
        consistency,
        is_minus_elbo,
        ROUNDING,
    ),
    Erratum(
        "E06",
        'L1 "q(x_{t-1} | x_t, x_0)", the exponent',
        "All three numerators are squares, and the second holds x_{t−1}, not x_t.",
        partial(_exponent, power=1),
        _exponent,
        _posterior_exponent,
        ROUNDING,
    ),
    Erratum(
        "E07",
        'L0 "ELBO Derivation", the weight of L_{t-1}',
        "The norm of Σ = σ² I is squared once too often: 1/2σ⁴ for 1/2σ².",
        reweighted(lambda var, d: 1 / (2 * var**2)),
        mean_term,
        mean_weight,
        ROUNDING,
    ),
    Erratum(
        "E09",
        'L0 "Classifier-Guided Diffusion", the score function',
        "The score of q(x_t | x_0) is called that of q(x_t), which averages the noise given x_t.",
        lambda noise_mean, x, datum, keep: -(x - math.sqrt(keep) * datum) / (1 - keep),
        lambda noise_mean, x, datum, keep: score_from_noise(noise_mean, keep),
        of_the_marginal,
        1e-8,
    ),
    Erratum(
        "E14",
        'L4 "DDPM - Noise Schedule"',
        "Zero mean and unit variance are the marginal's; q(x_t | x_0) has neither.",
        lambda s, t, x0: (0.0, 1.0),
        lambda s, t, x0: (s.signal(t) * x0, s.spread(t) ** 2),
        _moments_of_x,
        ROUNDING,
    ),
    Erratum(
        "E15",
        'L4 "GANs are Problematic to Train"',
        "The matrix is that of simultaneous steps; alternating ones have determinant 1 and cycle.",
        lambda a: np.array([[1, -a], [a, 1]]),
        lambda a: np.array([[1, -a], [a, 1 - a * a]]),
        _alternating,
        1e-8,
    ),
    Erratum(
        "E17",
        'L3 "DDPM objective"',
        "The weighted loss draws t from 2 .. T: β̃_1 = 0 stands below the weight.",
        lambda T: range(1, T + 1),
        lambda T: range(2, T + 1),
        _finite_weights,
        0.0,
    ),
    Erratum(
        "E20",
        'L2 "Variational AutoEncoder (VAE): Details about Loss"',
        "The log-likelihood is −1/2σ² times the square plus a constant, not proportional to it.",
        lambda first, second, log_p, var, d: log_p * second / first,
        lambda first, second, log_p, var, d: (
            -0.5 * (second / var + d * math.log(2 * math.pi * var))
        ),
        _of_squares,
        ROUNDING,
    ),
)
ERRATA: tuple[Erratum, ...] = tuple(
    sorted((*FALSE, *slips.ERRATA, *unstated.ERRATA, *classifier_free.ERRATA), key=lambda e: e.id)
)
