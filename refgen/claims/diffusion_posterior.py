r"""Claims on the posterior of one step, q(x_{t−1} | x_t, x_0).

Sources    sohl2015-diffusion;  ho2020-ddpm  eq. 6-7, 11
"""

import math

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.diffusion import coefficients
from refgen.claims.residual import gap, largest
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes import Schedule
from refgen.processes.parametrization import mean_from_data, mean_from_noise, noise_from_data
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9


def posterior_density(form: Form, noise: Noise) -> float:
    """Compare form(schedule, t, x, x_t, x_0) with log q(x_{t−1} = x | x_t, x_0), each factor."""
    schedule = beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 2, schedule.T)
    x0, draw = noise.at("x0").normal(2)
    before, now = beds.kept(schedule, t - 1), beds.kept(schedule, t)
    xt = math.sqrt(now) * x0 + math.sqrt(1 - now) * draw
    x = xt + np.linspace(-1.0, 1.0, 9)
    log_q = beds.log_normal(xt, math.sqrt(1 - schedule.beta[t]) * x, schedule.beta[t])
    log_q = log_q + beds.log_normal(x, math.sqrt(before) * x0, 1 - before)
    log_q = log_q - beds.log_normal(xt, math.sqrt(now) * x0, 1 - now)
    return gap(form(schedule, t, x, xt, x0), log_q)


def bayes(schedule: Schedule, t: int, x: Array, xt: float, x0: float) -> Array:
    """Return the log density of the project's posterior."""
    mean = mean_from_data(
        np.array(xt), np.array(x0), schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    )
    var = np.reshape(schedule.posterior_var[t], (1, 1))
    return Gaussian(np.reshape(mean, 1), var).log_density(x[:, None])


def without_forward(schedule: Schedule, t: int, x: Array, xt: float, x0: float) -> Array:
    """Return Bayes' rule without q(x_t | x_{t−1})."""
    keep = schedule.alpha_bar
    log_q = beds.log_normal(x, np.sqrt(keep[t - 1]) * x0, 1 - keep[t - 1])
    return log_q - beds.log_normal(xt, np.sqrt(keep[t]) * x0, 1 - keep[t])


def _with_var_beta(schedule: Schedule, t: int, x: Array, xt: float, x0: float) -> Array:
    keep = schedule.alpha_bar
    mean = mean_from_data(np.array(xt), np.array(x0), keep[t], keep[t - 1])
    return beds.log_normal(x, mean, schedule.beta[t])


def _posterior_var(form: Form, noise: Noise) -> float:
    schedule = beds.some_schedule(noise)
    times = range(2, schedule.T + 1)
    truth = np.array([beds.posterior(schedule, t)[2] for t in times])
    return gap(np.array([form(schedule, t) for t in times]) / truth, np.ones(len(times)))


def _posterior_mean(form: Form, noise: Noise) -> float:
    """Form is a mean in x_t and x_0."""
    schedule, worst = beds.some_schedule(noise), 0.0
    for t in range(2, schedule.T + 1):
        p, q, _ = beds.posterior(schedule, t)
        a, b = coefficients(lambda x, data, t=t: form(schedule, t, x, data))
        worst = largest(worst, abs(a - p), abs(b - q))
    return worst


def _posterior_mean_eps(form: Form, noise: Noise) -> float:
    """Form is a mean in x_t and its noise; x_0 is what the two imply."""
    schedule, worst = beds.some_schedule(noise), 0.0
    for t in range(2, schedule.T + 1):
        p, q, _ = beds.posterior(schedule, t)
        signal, spread = math.sqrt(beds.kept(schedule, t)), math.sqrt(1 - beds.kept(schedule, t))
        x0, draw = noise.at("point", t).normal((2, 1, 1))
        x = signal * x0 + spread * draw
        worst = largest(worst, gap(form(schedule, t, x, draw), p * x + q * x0))
    return worst


def _eps_from_x0(form: Form, noise: Noise) -> float:
    schedule, worst = beds.some_schedule(noise), 0.0
    for t in range(1, schedule.T + 1):
        x0, draw = noise.at("point", t).normal((2, 3))
        keep = beds.kept(schedule, t)
        x = math.sqrt(keep) * x0 + math.sqrt(1 - keep) * draw
        worst = largest(worst, gap(form(schedule, t, x, x0), draw))
    return worst


def _btilde1_zero(form: Form, noise: Noise) -> float:
    """Compare with the variance of x_0 given x_1 and x_0."""
    schedule = beds.some_schedule(noise)
    cov = beds.walk_cov(schedule.beta, 1.0)
    truth = beds.regression(cov, 0, [0, 1])[1]  # x_0 given x_0 and x_1
    return abs(float(form(schedule)) - truth) + abs(truth)


CLAIMS = (
    Claim(
        "ddpm.posterior_bayes",
        r"q(x_{t-1} \mid x_t, x_0) = q(x_t \mid x_{t-1})\,q(x_{t-1} \mid x_0)/q(x_t \mid x_0)",
        FAMILY,
        ('L0 "Reverse Diffusion Process"', 'L4 "Forward Process Reverse Derivation"'),
        bayes,
        {"the forward factor left out": without_forward, "variance β_t": _with_var_beta},
        posterior_density,
        ROUNDING,
    ),
    Claim(
        "ddpm.posterior_var",
        r"\tilde\beta_t = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\beta_t",
        FAMILY,
        (
            'L0 "Reverse Diffusion Process"',
            'L4 "Forward Process Reverse Derivation"',
            "ho2020-ddpm",
        ),
        lambda s, t: s.posterior_var[t],
        {
            "the ratio inverted": lambda s, t: s.beta[t] ** 2 / s.posterior_var[t],
            "α for ᾱ": lambda s, t: (1 - s.alpha[t - 1]) / (1 - s.alpha[t]) * s.beta[t],
            "β_t": lambda s, t: s.beta[t],
        },
        _posterior_var,
        ROUNDING,
    ),
    Claim(
        "ddpm.posterior_precision",
        r"1/\tilde\beta_t = \frac{\alpha_t}{\beta_t} + \frac1{1 - \bar\alpha_{t-1}}",
        FAMILY,
        ('L4 "Forward Process Reverse Derivation"',),
        lambda s, t: 1 / (s.alpha[t] / s.beta[t] + 1 / (1 - s.alpha_bar[t - 1])),
        {
            "ᾱ_t for ᾱ_{t−1}": lambda s, t: 1 / (s.alpha[t] / s.beta[t] + 1 / (1 - s.alpha_bar[t])),
            "1/β_t for α_t/β_t": lambda s, t: 1 / (1 / s.beta[t] + 1 / (1 - s.alpha_bar[t - 1])),
        },
        _posterior_var,
        ROUNDING,
    ),
    Claim(
        "ddpm.posterior_mean",
        r"\tilde\mu_t = \frac{\sqrt{\alpha_t}(1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t} x_t + "
        r"\frac{\sqrt{\bar\alpha_{t-1}}\beta_t}{1 - \bar\alpha_t} x_0",
        FAMILY,
        (
            'L0 "Reverse Diffusion Process"',
            'L4 "Forward Process Reverse Derivation"',
            "ho2020-ddpm",
        ),
        lambda s, t, x, x0: mean_from_data(x, x0, s.alpha_bar[t], s.alpha_bar[t - 1]),
        {
            "the two exchanged": lambda s, t, x, x0: mean_from_data(
                x0, x, s.alpha_bar[t], s.alpha_bar[t - 1]
            ),
            "ᾱ_t for ᾱ_{t−1}": lambda s, t, x, x0: (
                s.alpha[t] ** 0.5 * x + s.signal(t) * s.beta[t] / (1 - s.alpha_bar[t]) * x0
            ),
            "β_t without its divisor": lambda s, t, x, x0: (
                mean_from_data(x, 0 * x0, s.alpha_bar[t], s.alpha_bar[t - 1])
                + s.signal(t - 1) * s.beta[t] * x0
            ),
        },
        _posterior_mean,
        ROUNDING,
    ),
    Claim(
        "ddpm.posterior_mean_eps",
        r"\tilde\mu_t = \frac1{\sqrt{\alpha_t}}\Bigl(x_t - \frac{1 - \alpha_t}"
        r"{\sqrt{1 - \bar\alpha_t}}\,\epsilon_t\Bigr)",
        FAMILY,
        (
            'L0 "Reverse Diffusion Process"',
            'L2 "Reparameterization"',
            'L4 "DDPM - Reparametrizing Model Prediction"',
            "ho2020-ddpm",
        ),
        lambda s, t, x, e: mean_from_noise(x, e, s.alpha_bar[t], s.alpha[t]),
        {
            "ᾱ for α": lambda s, t, x, e: mean_from_noise(x, e, s.alpha_bar[t], s.alpha_bar[t]),
            "α for ᾱ": lambda s, t, x, e: mean_from_noise(x, e, s.alpha[t], s.alpha[t]),
            "plus": lambda s, t, x, e: mean_from_noise(x, -e, s.alpha_bar[t], s.alpha[t]),
        },
        _posterior_mean_eps,
        ROUNDING,
    ),
    Claim(
        "ddpm.eps_from_x0",
        r"\epsilon_t = \frac{x_t - \sqrt{\bar\alpha_t}\,x_0}{\sqrt{1 - \bar\alpha_t}}",
        FAMILY,
        ('L4 "DDPM - Reparametrizing Model Prediction"', "ho2020-ddpm"),
        lambda s, t, x, x0: noise_from_data(x, x0, s.alpha_bar[t]),
        {
            "no root below": lambda s, t, x, x0: (x - s.signal(t) * x0) / (1 - s.alpha_bar[t]),
            "sign": lambda s, t, x, x0: -noise_from_data(x, x0, s.alpha_bar[t]),
        },
        _eps_from_x0,
        ROUNDING,
    ),
    Claim(
        "ddpm.btilde1_zero",
        r"\tilde\beta_1 = 0, \text{ so } L_{t-1} \text{ with } \sigma_t^2 = \tilde\beta_t "
        r"\text{ exists for } t \ge 2 \text{ only}",
        FAMILY,
        ('L3 "DDPM objective"', "ho2020-ddpm"),
        lambda s: s.posterior_var[1],
        {"β̃_2 in its place": lambda s: s.posterior_var[2], "β_1": lambda s: s.beta[1]},
        _btilde1_zero,
        1e-12,
    ),
)
