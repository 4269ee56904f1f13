r"""Claims on the weights of the bound's terms.

Sources    ho2020-ddpm  eq. 8, 12

On trial are the weights of processes/weights.py, those of the simple objective, and the bound's
term with a learnt variance, which is set to any value. A weight's truth is the divergence of two
Gaussians, by quadrature, for a predictor that is linear in x_t.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.objectives.ddpm import loss_weights
from refgen.objectives.variational import VariationalBound
from refgen.processes import Schedule
from refgen.processes.discrete import of_schedule
from refgen.processes.weights import elbo_of_step, in_kind
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


class _Says:
    """A network that answers with its parameters."""

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Any]:
        """Return the parameters."""
        return params, None

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Any]:
        """Return (0, dy)."""
        return 0 * dy, dy


def mean_term(schedule: Schedule, t: int, apart: Array, var: float) -> float:
    """Return the bound's term of step t, from the project, of a mean so far off and a variance."""
    low, high = math.log(schedule.posterior_var[t]), math.log(schedule.beta[t])
    between = (2 * math.log(var) - low - high) / (high - low)
    answer = np.concatenate([-apart, np.full(len(apart), between)])[None]  # μ̃ = 0 is missed by it
    bound = VariationalBound(_Says(), schedule, "mean", "learned")
    zero = np.zeros((1, len(apart)))
    return float(bound.value(answer, zero, zero, np.array([t])).term.nats[0])


def reweighted(weight_of: Form) -> Form:
    """Return the term with weight_of(σ², d) in the place of 1/2σ²."""

    def form(schedule: Schedule, t: int, apart: Array, var: float) -> float:
        change = weight_of(var, len(apart)) - 1 / (2 * var)
        return mean_term(schedule, t, apart, var) + float(change * np.sum(apart**2))

    return form


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


def weight_in(kind: str, schedule: Schedule, t: int) -> float:
    """Return the weight of an error of this kind in the same term, the variance being β̃_t."""
    path = of_schedule(schedule)
    now, before = path.levels(t), path.levels(t - 1)
    W = elbo_of_step(now, before, variance="posterior")
    return float(in_kind(W, kind, now, earlier=before))


_data_weight = partial(weight_in, "data")


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
        mean_term,
        {
            "C left out": lambda s, t, apart, var: np.sum(apart**2) / (2 * var),
            "σ⁴": reweighted(lambda var, d: 1 / (2 * var**2)),
            "the Frobenius norm": reweighted(lambda var, d: 1 / (2 * d * var)),
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
