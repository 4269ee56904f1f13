r"""Where a lecture is false as printed: the printed form beside the one that is meant.

Sources    ho2020-ddpm;  song2021-ddim;  song2021-sde

One check judges both forms. Most are those of claims, which name the misprint as a wrong form.
A slip may be the extractor's and not the slide's; only the text is quoted here.
"""

import math
from functools import partial

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Erratum, Form
from refgen.claims.diffusion_bound import consistency, is_minus_elbo
from refgen.claims.diffusion_weights import mean_weight, step_weight, term_weight
from refgen.claims.residual import gap, largest
from refgen.claims.sampling import (
    ancestral_step,
    follows_gaussian,
    jump_law,
    printed_step,
    strided,
)
from refgen.claims.score import of_the_marginal, squared_errors
from refgen.noise import Noise
from refgen.processes import Schedule, cosine, linear, stride
from refgen.processes.parametrization import score_from_noise
from refgen.samplers import sample_ancestral
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


def _mean_form(weight_of: Form, constant: bool = True) -> Form:
    """Return weight_of(σ², d) ‖μ̃ − μ‖² + C, or without C."""

    def form(schedule: Schedule, t: int, apart: Array, var: float) -> float:
        ratio = float(schedule.posterior_var[t]) / var
        C = 0.5 * len(apart) * (ratio - 1 - math.log(ratio)) if constant else 0.0
        return float(weight_of(var, len(apart)) * np.sum(apart**2)) + C

    return form


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


def _linear_end(form: Form, noise: Noise) -> float:
    """Compare log ᾱ_T with the −10.1177 of the literature's configuration."""
    return abs(float(np.log(form(1000).alpha_bar[-1])) + 10.1177)


def _strides(form: Form, noise: Noise) -> float:
    """Return how far the last regular time of form(T, S) is from T / S, S a divisor of T."""
    steps = beds.integer(noise, 2, 40)
    T = steps * beds.integer(noise.at("T"), 5, 25)
    return abs(float(form(T, steps)) - T / steps)


def _kept_from_zero(form: Form, noise: Noise) -> float:
    """Return how far ᾱ moved by more than ε in keeping it from 0: form(T, ε) is ᾱ."""
    T, least = beds.integer(noise, 300, 1000), 1e-3
    moved = np.abs(form(T, least) - np.cos(0.5 * math.pi * np.arange(T + 1) / T) ** 2)
    return largest(0.0, float(np.max(moved)) - least)


def _clipped_alpha(T: int, least: float) -> Array:
    alpha = cosine(T, 0.0).alpha[1:]
    return np.cumprod(np.concatenate([[1.0], np.clip(alpha, least, 1 - least)]))


ERRATA = (
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
        _mean_form(lambda var, d: 1 / (2 * var**2)),
        _mean_form(lambda var, d: 1 / (2 * var)),
        mean_weight,
        ROUNDING,
    ),
    Erratum(
        "E08",
        'L4 "DDPM - Deriving Loss using Jensen\'s Inequality"',
        "‖σ_t I‖² is σ_t² in the operator norm only; the usual norm of a matrix gives D σ_t².",
        _mean_form(lambda var, d: 1 / (2 * d * var)),
        _mean_form(lambda var, d: 1 / (2 * var)),
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
        "E13",
        'L4 "DDPM - Noise Schedule"',
        "The linear schedule of T = 1000 ends at β = 0.02, not 0.04.",
        lambda T: linear(T, 1e-4, 0.04),
        linear,
        _linear_end,
        1e-3,
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
        "E19",
        'L3 "NCSN objective"',
        "Two objectives without their coefficients are not almost the same: 1 − ᾱ_t remains.",
        lambda s, of_datum, keep: np.sum((s - of_datum) ** 2),
        lambda s, of_datum, keep: (1 - keep) * np.sum((s - of_datum) ** 2),
        squared_errors,
        ROUNDING,
    ),
    Erratum(
        "E23",
        'L4 "Denoising Diffusion Implicit Models"',
        "Of S regular steps from T the last but 0 is T/S, not 1.",
        lambda T, steps: 1,
        lambda T, steps: stride(T, steps)[-2],
        _strides,
        0.0,
    ),
    Erratum(
        "E24",
        'L4 "Denoising Diffusion Implicit Models", DDPM on a subsequence',
        "α_t belongs to one step; a jump needs the ratio of two ᾱ.",
        strided,
        lambda predict, x, s, noise, times: sample_ancestral(predict, x, s, noise, times=times),
        jump_law,
        ROUNDING,
    ),
    Erratum(
        "E26",
        'L4 "DDPM - Noise Schedule"',
        "It is ᾱ_t, or β_t from above, that is kept from its ends; clipping α_t moves every step.",
        _clipped_alpha,
        lambda T, least: cosine(T, 0.0, 1 - least).alpha_bar,
        _kept_from_zero,
        ROUNDING,
    ),
    Erratum(
        "E33",
        'L0 "ELBO Derivation"; L4 "DDPM - Reparametrizing Model Prediction"',
        "C is left out; it is 0 for σ_t² = β̃_t only, and no constant when Σ_θ is learned.",
        _mean_form(lambda var, d: 1 / (2 * var), constant=False),
        _mean_form(lambda var, d: 1 / (2 * var)),
        mean_weight,
        ROUNDING,
    ),
)
