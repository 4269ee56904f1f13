r"""What a network may predict, and how one prediction becomes another.

Shapes     x, noise, data, score, mean : one shape    alpha, alpha_bar : floats, or broadcast to it
Sources    ho2020-ddpm  eq. 4, 7, 11;  song2021-sde  (score);  efron2011-tweedie

At noise level ᾱ data, noise and score say the same, since x = √ᾱ data + √(1 − ᾱ) noise:

    data = (x − √(1 − ᾱ) noise) / √ᾱ                                       (PA.1)
    noise = (x − √ᾱ data) / √(1 − ᾱ)                                       (PA.2)
    score = −noise / √(1 − ᾱ)                                              (PA.3)

The mean of q(x_s | x_t, x_0), with α = ᾱ_t / ᾱ_s the signal kept from s to t. By Bayes' rule it
averages x_t / √α and √ᾱ_s data with the precisions α / (1 − α) and 1 / (1 − ᾱ_s), whose sum is
(1 − ᾱ_t) / ((1 − α) (1 − ᾱ_s)); (PA.1) then puts the noise for the data:

    mean = √α (1 − ᾱ_s) / (1 − ᾱ_t) x_t + √ᾱ_s (1 − α) / (1 − ᾱ_t) data     (PA.4)
    mean = (x_t − (1 − α) / √(1 − ᾱ_t) noise) / √α                         (PA.5)
"""

import numpy as np

from refgen.typing import Array


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
    return noise_from_data(x, data, alpha_bar)
