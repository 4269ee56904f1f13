r"""Claims on the weights of the bound's terms.

Sources    ho2020-ddpm  eq. 8, 12

A weight's truth is the divergence of two Gaussians, by quadrature, for a predictor that is
linear in x_t.
"""

import math
from functools import partial

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.objectives.ddpm import loss_weights
from refgen.processes import Schedule
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9


def mean_weight(form: Form, noise: Noise) -> float:
    """Compare a form with the divergence of N(μ̃, β̃ I) from N(μ, σ² I) in d dimensions."""
    schedule = beds.some_schedule(noise)
    t, d = beds.integer(noise.at("t"), 2, schedule.T), beds.integer(noise.at("d"), 2, 4)
    _, _, posterior_var = beds.posterior(schedule, t)
    var = posterior_var * beds.between(noise.at("var"), 1.3, 2.5)
    apart = math.sqrt(var) * noise.at("apart").normal(d)
    truth = sum(beds.kl(float(gap), posterior_var, 0.0, var) for gap in apart)
    return gap(form(schedule, t, apart, var), truth)


def _mean_term(
    schedule: Schedule, t: int, apart: Array, var: float, weight: float | None = None
) -> float:
    """Return weight ‖apart‖² + C; the weight is 1/2σ² unless given."""
    ratio = float(schedule.posterior_var[t]) / var
    constant = 0.5 * len(apart) * (ratio - 1 - math.log(ratio))
    return (1 / (2 * var) if weight is None else weight) * float(np.sum(apart**2)) + constant


def term_weight(kind: str, var: str, form: Form, noise: Noise) -> float:
    """Compare L_{t−1} − C with form(schedule, t) E ‖prediction − target‖² for a predictor k x + c.

    kind is what is predicted: "data", "noise", or "score", the score of q(x_t | x_0). var is the
    model's variance, "beta" or "posterior". The residual is relative.
    """
    schedule = beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 2, schedule.T)
    k, c, x0 = noise.at("predictor").normal(3)
    p, q, posterior_var = beds.posterior(schedule, t)
    keep = beds.kept(schedule, t)
    signal, spread = math.sqrt(keep), math.sqrt(1 - keep)
    sigma2 = float(schedule.beta[t]) if var == "beta" else posterior_var

    def squares(draw: Array) -> tuple[Array, Array]:
        """Return the squared errors of the mean and of the prediction."""
        x = signal * x0 + spread * draw
        predicted = k * x + c
        target = {"data": x0 + 0 * draw, "noise": draw, "score": -draw / spread}[kind]
        noise_hat = -spread * predicted if kind == "score" else predicted
        data = predicted if kind == "data" else (x - spread * noise_hat) / signal
        return (p * x + q * data - p * x - q * x0) ** 2, (predicted - target) ** 2

    of_mean = beds.normal_expectation(lambda e: squares(e)[0], 0.0, 1.0)
    of_prediction = beds.normal_expectation(lambda e: squares(e)[1], 0.0, 1.0)
    return abs(float(form(schedule, t)) * of_prediction * 2 * sigma2 / of_mean - 1)


def step_weight(schedule: Schedule, t: int) -> float:
    """Return the weight of ‖noise_hat − noise‖² in the term of step t, from the project's loss."""
    return float(loss_weights(schedule, "elbo")[t]) / schedule.T


def _data_weight(schedule: Schedule, t: int) -> float:
    keep, beta, var = schedule.alpha_bar, schedule.beta[t], schedule.posterior_var[t]
    return float(keep[t - 1] * beta**2 / (2 * var * (1 - keep[t]) ** 2))


CLAIMS = (
    Claim(
        "ddpm.Lt_mu_weight",
        r"L_{t-1} = \mathbb E \frac1{2\sigma_t^2} \Vert \tilde\mu_t - \mu_\theta \Vert^2 + C, "
        r"\quad C = "
        r"\tfrac d2\bigl(\tfrac{\tilde\beta_t}{\sigma_t^2} - 1 - \log \tfrac{\tilde\beta_t}"
        r"{\sigma_t^2}\bigr)",
        FAMILY,
        (
            'L1 "Denoising Matching Term"',
            'L2 "Diffusion Models: Training (optional)"',
            "ho2020-ddpm",
        ),
        _mean_term,
        {
            "C left out": lambda s, t, gap, var: np.sum(gap**2) / (2 * var),
            "σ⁴": lambda s, t, gap, var: _mean_term(s, t, gap, var, 1 / (2 * var**2)),
            "the Frobenius norm": lambda s, t, gap, var: _mean_term(
                s, t, gap, var, 1 / (2 * len(gap) * var)
            ),
        },
        mean_weight,
        ROUNDING,
    ),
    Claim(
        "ddpm.Lt_x0_weight",
        r"\omega_t = \frac{\bar\alpha_{t-1}\beta_t^2}{2\tilde\beta_t(1 - \bar\alpha_t)^2}",
        FAMILY,
        ('L1 "x_0 Predictor"',),
        _data_weight,
        {
            "ᾱ_t for ᾱ_{t−1}": lambda s, t: _data_weight(s, t) * s.alpha[t],
            "β_t not squared": lambda s, t: _data_weight(s, t) / s.beta[t],
            "1 − ᾱ_t not squared": lambda s, t: _data_weight(s, t) * (1 - s.alpha_bar[t]),
        },
        partial(term_weight, "data", "posterior"),
        ROUNDING,
    ),
    Claim(
        "ddpm.Lt_eps_weight",
        r"\omega'_t = \frac{(1 - \alpha_t)^2}{2\sigma_t^2\alpha_t(1 - \bar\alpha_t)}",
        FAMILY,
        (
            'L0 "ELBO Derivation"',
            'L1 "ϵ_t Predictor"',
            'L2 "Reparameterization"',
            'L3 "DDPM objective"',
            'L4 "DDPM - Reparametrizing Model Prediction"',
            "ho2020-ddpm",
        ),
        step_weight,
        {
            "ᾱ for α": lambda s, t: (1 - s.alpha_bar[t]) / (2 * s.beta[t] * s.alpha_bar[t]),
            "no α_t": lambda s, t: step_weight(s, t) * s.alpha[t],
            "1 − α_t not squared": lambda s, t: step_weight(s, t) / s.beta[t],
            "no half": lambda s, t: 2 * step_weight(s, t),
        },
        partial(term_weight, "noise", "beta"),
        ROUNDING,
    ),
)
