r"""Claims on the ancestral sampler.

Source     ho2020-ddpm  algorithm 2

For Gaussian data the exact predictor is affine, and so is every step: mean and variance of
what the sampler returns follow without a draw.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from refgen.check.witness import order_of_convergence
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.ops.step import ddpm_step_forward
from refgen.processes import Schedule, linear
from refgen.processes.parametrization import noise_from_data
from refgen.samplers import sample_ancestral
from refgen.samplers.walk import Predict
from refgen.typing import Array

FAMILY = "sampling"
ROUNDING = 1e-9


def sampled_gaussian(
    step: Form, schedule: Schedule, mean: float, var: float
) -> tuple[float, float]:
    """Return mean and variance of what step(x, noise_hat, noise, alpha=...) makes of N(0, 1).

    The probes are 0, 1 and 0 with noise: an affine map is known from its values there.
    """
    m, v = 0.0, 1.0
    probe, draws = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    for t in range(schedule.T, 0, -1):
        keep = float(schedule.alpha_bar[t])
        marginal = keep * var + 1 - keep
        noise_hat = math.sqrt(1 - keep) / marginal * (probe - math.sqrt(keep) * mean)
        sigma = math.sqrt(schedule.posterior_var[t])
        offset, one, noisy = step(
            probe, noise_hat, draws, alpha=float(schedule.alpha[t]), alpha_bar=keep, sigma=sigma
        )
        m, v = float(offset + (one - offset) * m), float((one - offset) ** 2 * v)
        v += float((noisy - offset) ** 2)
    return m, v


def follows_gaussian(form: Form, noise: Noise) -> float:
    """Return how far mean and variance are from the data's after T = 1000 ancestral steps."""
    mean, var = beds.between(noise.at("mean"), 0.3, 0.8), beds.between(noise.at("var"), 0.4, 0.9)
    m, v = sampled_gaussian(form, linear(1000), mean, var)
    return largest(abs(m - mean), abs(v - var))


def ancestral_step(x: Array, noise_hat: Array, noise: Array, **levels: float) -> Array:
    """Return the project's ancestral step without its cache."""
    return ddpm_step_forward(x, noise_hat, noise, **levels)[0]


def printed_step(
    x: Array, noise_hat: Array, noise: Array, *, alpha: float, alpha_bar: float, sigma: float
) -> Array:
    """Return the step with a bar on every α: the estimate of the data, plus noise."""
    return ancestral_step(x, noise_hat, noise, alpha=alpha_bar, alpha_bar=alpha_bar, sigma=sigma)


def _variance_as_deviation(x: Array, noise_hat: Array, noise: Array, **levels: float) -> Array:
    return ancestral_step(x, noise_hat, noise, **{**levels, "sigma": levels["sigma"] ** 2})


def _first_order(form: Form, noise: Noise) -> float:
    """Return how far the order in T, total noise being fixed, is from 1."""
    mean, var = beds.between(noise.at("mean"), 0.3, 0.8), beds.between(noise.at("var"), 0.4, 0.7)
    counts, errors = (400, 800, 1600), []
    for T in counts:
        schedule = linear(T, 0.1 / T, 20 / T)
        errors.append(abs(sampled_gaussian(form, schedule, mean, var)[1] - var))
    return abs(order_of_convergence(counts, errors) - 1)


def returns_datum(form: Form, noise: Noise) -> float:
    """Compare with the datum what comes of its exact predictor, with variance β."""
    schedule, datum = beds.some_schedule(noise.at("schedule")), noise.at("datum").normal((4, 2))
    x = noise.at("x").normal((4, 2))

    def predict(x: Array, t: int) -> Array:
        return noise_from_data(x, datum, beds.kept(schedule, t))

    return gap(form(predict, x, schedule, noise.at("sampler")), datum)


def quiet_at_the_end(predict: Predict, x: Array, schedule: Schedule, noise: Noise) -> Array:
    """Return the project's ancestral sampler with variances β."""
    return sample_ancestral(predict, x, schedule, noise, variance="beta")


def noisy_to_the_end(predict: Predict, x: Array, schedule: Schedule, noise: Noise) -> Array:
    """Return the same with noise in the last step too."""
    x = quiet_at_the_end(predict, x, schedule, noise)
    return x + math.sqrt(schedule.beta[1]) * noise.at("step", 1).normal(x.shape)


def jump_law(form: Form, noise: Noise) -> float:
    """Compare where a sampler lands in a jump from T to s with q(x_s | x_T, x_0), draw by draw.

    The jump after it, to 0, must return the x_0 that every prediction has pointed to.
    """
    schedule = beds.some_schedule(noise.at("schedule"), 6)
    T, s = schedule.T, beds.integer(noise.at("s"), 2, schedule.T - 2)
    x0, draw = noise.at("x0").normal(5), noise.at("draw").normal(5)
    x = math.sqrt(beds.kept(schedule, T)) * x0 + math.sqrt(1 - beds.kept(schedule, T)) * draw
    visited: dict[int, Array] = {}

    def predict(x: Array, t: int) -> Array:
        visited[t] = x
        return noise_from_data(x, x0, beds.kept(schedule, t))

    returned = form(predict, x, schedule, noise.at("sampler"), (T, s, 0))
    p, q, v = beds.posterior(schedule, T, s)
    z = noise.at("sampler").at("step", T).normal(5)
    return largest(gap(visited[s], p * x + q * x0 + math.sqrt(v) * z), gap(returned, x0))


def strided(
    predict: Predict, x: Array, schedule: Schedule, noise: Noise, times: Sequence[int]
) -> Array:
    """Return the ancestral sampler on some of the times, as for all of them: with α_t, β̃_t."""
    for t, s in pairwise(times):
        z = noise.at("step", t).normal(x.shape)
        sigma = math.sqrt(schedule.posterior_var[t]) if s > 0 else 0.0
        alpha, alpha_bar = float(schedule.alpha[t]), float(schedule.alpha_bar[t])
        x = ancestral_step(x, predict(x, t), z, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma)
    return x


CLAIMS = (
    Claim(
        "ddpm.alg2_ancestral",
        r"x_{t-1} = \frac1{\sqrt{\alpha_t}}\Bigl(x_t - \frac{1 - \alpha_t}"
        r"{\sqrt{1 - \bar\alpha_t}}\,\epsilon_\theta\Bigr) + \sigma_t z",
        FAMILY,
        ('L2 "Algorithm 2 Sampling"', 'L3 "Sampling"', "ho2020-ddpm"),
        ancestral_step,
        {
            "a bar on every α": printed_step,
            "σ_t² for σ_t": _variance_as_deviation,
            "the noise added back": lambda x, e, z, **levels: ancestral_step(x, -e, z, **levels),
        },
        follows_gaussian,
        0.02,  # the error of 1000 steps is about 0.007 and falls as 1/T
    ),
    Claim(
        "ddpm.alg2_rate_O(1/T)",
        r"\text{the variance of what } T \text{ ancestral steps return is off by } O(1/T)",
        FAMILY,
        ('L0 "DDPM algorithm"', "ho2020-ddpm"),
        ancestral_step,
        {"a bar on every α": printed_step, "σ_t² for σ_t": _variance_as_deviation},
        _first_order,
        0.15,
    ),
    Claim(
        "ddpm.alg2_last_step",
        r"z = 0 \text{ at } t = 1: \text{ for one datum and its exact } \epsilon_\theta, \text{ "
        r"the last step returns it}",
        FAMILY,
        (
            'L0 "Algorithm 2 Sampling"',
            'L2 "Algorithm 2 Sampling"',
            'L4 "DDPM - Training and Sampling Algorithms"',
            "ho2020-ddpm",
        ),
        quiet_at_the_end,
        {"noise at every step": noisy_to_the_end},
        returns_datum,
        ROUNDING,
    ),
    Claim(
        "ddpm.stride_alpha_ratio",
        r"\text{in a jump } t_i \to t_{i-1} \text{ read } \bar\alpha_{t_i}/\bar\alpha_{t_{i-1}} "
        r"\text{ for } \alpha_t",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        lambda predict, x, s, noise, times: sample_ancestral(predict, x, s, noise, times=times),
        {
            "α_t and β̃_t of the jump's first time": strided,
            "the larger variance": lambda predict, x, s, noise, times: sample_ancestral(
                predict, x, s, noise, times=times, variance="beta"
            ),
        },
        jump_law,
        ROUNDING,
    ),
)
