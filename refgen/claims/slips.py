r"""Slips of a symbol or an index in a lecture, and what the extraction of its text has lost.

Sources    ho2020-ddpm;  nichol2021-improved

The printed form stands beside the one that is meant, as in errata.py; one check judges both.
"""

import math

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Erratum, Form
from refgen.claims.diffusion import merged, two_steps
from refgen.claims.diffusion_posterior import bayes, posterior_density, without_forward
from refgen.claims.residual import largest
from refgen.noise import Noise
from refgen.processes import cosine, linear, stride
from refgen.typing import Array

ROUNDING = 1e-9


def _about_the_mean(form: Form, noise: Noise) -> float:
    """Compare mean and variance of what x_2 has beyond form(schedule), its parts of x_0 and x_1."""
    schedule = beds.some_schedule(noise)
    matrix = beds.walk_matrix(schedule.beta)
    of_data, of_before = form(schedule)
    rest = matrix[2] - of_before * matrix[1]
    var = 1 - schedule.alpha[2] * schedule.alpha[1]
    return largest(abs(rest[0] - of_data), abs(np.sum(rest[1:] ** 2) - var))


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


ERRATA: tuple[Erratum, ...] = (
    Erratum(
        "E05",
        'L1 "Forward Convergence"',
        "The mean of q(x_2 | x_0) holds x_0, not x_1.",
        lambda s: (0.0, math.sqrt(s.alpha[2] * s.alpha[1])),
        lambda s: (float(s.signal(2)), 0.0),
        _about_the_mean,
        ROUNDING,
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
        "E21",
        'L2 "Diffusion Models: Forward Diffusion Process"',
        "A root ends too early: all of α_t α_{t−1}, and of 1 − α_t α_{t−1}, stands below it.",
        lambda s, t: (s.alpha[t] ** 0.5 * s.alpha[t - 1], s.beta[t] * s.alpha[t - 1] ** 2),
        merged,
        two_steps,
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
        "E26",
        'L4 "DDPM - Noise Schedule"',
        "It is ᾱ_t, or β_t from above, that is kept from its ends; clipping α_t moves every step.",
        _clipped_alpha,
        lambda T, least: cosine(T, 0.0, 1 - least).alpha_bar,
        _kept_from_zero,
        ROUNDING,
    ),
    Erratum(
        "E30",
        'L1 "Denoising Matching Term"',
        "The factor q(x_t | x_{t−1}) of Bayes' rule is lost; the next slide has it.",
        without_forward,
        bayes,
        posterior_density,
        ROUNDING,
    ),
)
