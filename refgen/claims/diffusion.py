r"""Claims on the forward process.

Sources    sohl2015-diffusion;  ho2020-ddpm  eq. 2-4

Truths come from beds.py: conditioning of the joint Gaussian, quadrature, enumeration.
"""

import math
from typing import Any

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Gaussian
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.variational import VariationalBound
from refgen.ops.noising import noising_forward
from refgen.processes import Schedule, linear
from refgen.processes.discrete import of_schedule, transition
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9
NETWORK = TimeMLP(1, hidden=2, blocks=1, embedding=2)  # nobody asks it anything


def _noised(data: Array, noise: Array, a: float, b: float) -> Array:
    n = np.ones(len(data))
    return noising_forward(data, noise, a * n, b * n)[0]


def coefficients(step: Any) -> tuple[float, float]:
    """Return a and b of a map a · first + b · second."""
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    return float(step(one, zero)[0, 0]), float(step(zero, one)[0, 0])


def _forward_marginal(form: Form, noise: Noise) -> float:
    schedule = beds.some_schedule(noise)
    matrix, worst = beds.walk_matrix(schedule.beta), 0.0
    for t in range(1, schedule.T + 1):
        a, b = coefficients(lambda data, draw, t=t: form(schedule, data, draw, t))
        var = float(np.sum(matrix[t, 1:] ** 2))
        worst = largest(worst, abs(a - matrix[t, 0]), abs(b * b - var))
    return worst


def _sum(form: Form, noise: Noise) -> float:
    first, second = (beds.between(noise.at(k), 0.3, 1.5) for k in ("first", "second"))
    x = np.linspace(-3.0, 3.0, 13)
    u, step = beds.line(0.0, first)
    convolved = np.exp(beds.log_normal(x[:, None] - u, 0.0, second**2)) @ np.exp(
        beds.log_normal(u, 0.0, first**2)
    )
    return gap(np.exp(form(x, first, second)), step * convolved)


def _log_sum(x: Array, first: float, second: float) -> Array:
    return Gaussian(np.zeros(1), first**2 * np.eye(1)).log_density(x[:, None], 1.0, second)


def two_steps(form: Form, noise: Noise) -> float:
    """Compare form(schedule, t), signal kept and variance from t − 2 to t, with the joint's."""
    schedule = beds.some_schedule(noise)
    cov, worst = beds.walk_cov(schedule.beta, 1.0), 0.0
    for t in range(2, schedule.T + 1):
        (gain,), var = beds.regression(cov, t, [t - 2])
        worst = largest(worst, gap(form(schedule, t), [gain, var]))
    return worst


def merged(schedule: Schedule, t: int) -> tuple[float, float]:
    """Return signal kept and variance of the two steps from t − 2 to t as one."""
    path = of_schedule(schedule)
    gain, var = transition(path.levels(t), path.levels(t - 2))
    return float(gain), float(var)


def _deviations_add(schedule: Schedule, t: int) -> tuple[float, float]:
    last, before = schedule.beta[t], schedule.alpha[t] * schedule.beta[t - 1]
    return merged(schedule, t)[0], float((last**0.5 + before**0.5) ** 2)


def _falls(form: Form, noise: Noise) -> float:
    """Compare with e^Σ log(1 − β) for steps in disorder, and count where ᾱ does not fall."""
    beta = 0.02 + 0.5 * noise.at("beta").uniform(beds.integer(noise.at("T"), 5, 30))
    keep = np.asarray(form(Schedule("drawn", np.append(0.0, beta))))
    truth = np.exp(np.cumsum(np.append(0.0, np.log1p(-beta))))
    stays = np.sum(np.diff(keep) >= 0) + np.sum(keep <= 0)
    return largest(float(stays), gap(keep, truth))


def _markov_x0(form: Form, noise: Noise) -> float:
    schedule = beds.some_schedule(noise)
    cov, worst = beds.walk_cov(schedule.beta, beds.between(noise.at("var"), 0.5, 3.0)), 0.0
    for t in range(2, schedule.T + 1):
        (of_before, of_data), _ = beds.regression(cov, t, [t - 1, 0])
        a, b = coefficients(lambda before, data, t=t: form(schedule, before, data, t))
        worst = largest(worst, abs(a - of_before), abs(b - of_data))
    return worst


def _prior_term(form: Form, noise: Noise) -> float:
    schedule, x0 = beds.some_schedule(noise), 2 * noise.at("x0").normal(3)
    keep = beds.kept(schedule, schedule.T)
    truth = [beds.kl(math.sqrt(keep) * float(x), 1 - keep, 0.0, 1.0) for x in x0]
    return gap(form(schedule, x0), np.array(truth))


def _prior(schedule: Schedule, x0: Array) -> Array:
    return VariationalBound(NETWORK, schedule).prior(x0[:, None])


def _to_the_prior(form: Form, noise: Noise) -> float:
    """Compare with L_T where little signal is left; relative to L_T."""
    T = beds.integer(noise.at("T"), 300, 600)
    schedule = linear(T, 1e-4, beds.between(noise.at("last"), 14, 20) / T)  # ᾱ_T is e^−7 to e^−10
    keep, x0 = beds.kept(schedule, T), 1 + float(noise.at("x0").uniform(1)[0])
    return abs(float(form(schedule, x0)) / beds.kl(math.sqrt(keep) * x0, 1 - keep, 0.0, 1.0) - 1)


def _abar_vanishes(form: Form, noise: Noise) -> float:
    """Return by how much log ᾱ_T is out of its bounds, for steps that fall like a power of t."""
    T, power = beds.integer(noise.at("T"), 20, 2000), beds.between(noise.at("power"), 0.4, 2.0)
    beta = 0.5 * np.arange(1, T + 1) ** -power
    schedule = Schedule("falling", np.concatenate([[0.0], beta]))
    kept, bound = float(np.sum(np.log1p(-beta))), float(form(schedule))
    slack = float(np.sum(beta**2 / (2 * (1 - beta))))
    return largest(0.0, kept - bound, bound - kept - slack) / -kept


def _unit_variance(form: Form, noise: Noise) -> float:
    schedule = beds.some_schedule(noise)
    truth = np.diag(beds.walk_cov(schedule.beta, 1.0))
    return gap(form(schedule), truth) + gap(truth, np.ones(schedule.T + 1))


CLAIMS = (
    Claim(
        "ddpm.forward_marginal",
        r"q(x_t \mid x_0) = \mathcal N(\sqrt{\bar\alpha_t}\,x_0, (1 - \bar\alpha_t) I)",
        FAMILY,
        (
            'L0 "Forward Diffusion Process"',
            'L1 "Forward Convergence"',
            'L2 "Diffusion Models: Forward Diffusion Process"',
            'L4 "DDPM - The Forward Process"',
            "ho2020-ddpm",
        ),
        lambda s, x, e, t: _noised(x, e, s.signal(t), s.spread(t)),
        {
            "α_t for ᾱ_t": lambda s, x, e, t: _noised(x, e, s.alpha[t] ** 0.5, s.beta[t] ** 0.5),
            "the variance as deviation": lambda s, x, e, t: _noised(
                x, e, s.signal(t), 1 - s.alpha_bar[t]
            ),
            "no root on the signal": lambda s, x, e, t: _noised(x, e, s.alpha_bar[t], s.spread(t)),
        },
        _forward_marginal,
        ROUNDING,
    ),
    Claim(
        "gauss.sum",
        r"\sigma_1\epsilon_1 + \sigma_2\epsilon_2 \overset d= \sqrt{\sigma_1^2 + \sigma_2^2}\,"
        r"\epsilon \text{ for independent } \epsilon_1, \epsilon_2",
        FAMILY,
        ('L1 "Basics: Combination of Gaussian Variables"', 'L4 "Normal Distribution Reminder"'),
        _log_sum,
        {
            "deviations add": lambda x, a, b: beds.log_normal(x, 0.0, (a + b) ** 2),
            "the variances average": lambda x, a, b: beds.log_normal(x, 0.0, (a * a + b * b) / 2),
        },
        _sum,
        1e-7,
    ),
    Claim(
        "ddpm.merge_gaussians",
        r"x_t = \sqrt{\alpha_t\alpha_{t-1}}\,x_{t-2} + \sqrt{\alpha_t(1 - \alpha_{t-1}) + 1 - "
        r"\alpha_t}\,\bar\epsilon,\quad \alpha_t(1 - \alpha_{t-1}) + 1 - \alpha_t = 1 - "
        r"\alpha_t\alpha_{t-1}",
        FAMILY,
        ('L1 "Forward Convergence"', 'L2 "Diffusion Models: Forward Diffusion Process"'),
        merged,
        {
            "deviations add": _deviations_add,
            "the first noise not made smaller": lambda s, t: (
                merged(s, t)[0],
                s.beta[t] + s.beta[t - 1],
            ),
            "from the data": lambda s, t: (s.signal(t), s.spread(t) ** 2),
        },
        two_steps,
        ROUNDING,
    ),
    Claim(
        "ddpm.markov_x0",
        r"q(x_t \mid x_{t-1}, x_0) = q(x_t \mid x_{t-1})",
        FAMILY,
        ('L1 "ELBO"', 'L4 "Forward Process Reverse Derivation"'),
        lambda s, before, data, t: _noised(before, 0 * data, s.alpha[t] ** 0.5, 0.0),
        {
            "the data counts again": lambda s, before, data, t: (
                s.alpha[t] ** 0.5 * before + s.beta[t] * data
            ),
            "the jump from the data": lambda s, before, data, t: s.signal(t) * data + 0 * before,
            "no root": lambda s, before, data, t: s.alpha[t] * before + 0 * data,
        },
        _markov_x0,
        ROUNDING,
    ),
    Claim(
        "ddpm.prior_term",
        r"L_T = D_{KL}(q(x_T \mid x_0) \Vert \mathcal N(0, I)) = \tfrac12(\bar\alpha_T \Vert x_0 "
        r"\Vert^2 - d\bar\alpha_T - d\log(1 - \bar\alpha_T))",
        FAMILY,
        ('L1 "Prior Matching Term"', 'L4 "DDPM - Deriving Loss using Jensen\'s Inequality"'),
        _prior,
        {
            "the logarithm's sign": lambda s, x: (
                0.5 * (s.alpha_bar[-1] * (x * x - 1) + np.log(1 - s.alpha_bar[-1]))
            ),
            "the mean not squared": lambda s, x: (
                0.5 * (s.signal(s.T) * x - s.alpha_bar[-1] - np.log(1 - s.alpha_bar[-1]))
            ),
            "no half": lambda s, x: 2 * _prior(s, x),
        },
        _prior_term,
        ROUNDING,
    ),
    Claim(
        "ddpm.forward_convergence",
        r"\bar\alpha_T \to 0 \Rightarrow q(x_T \mid x_0) \to \mathcal N(0, I): \quad L_T = "
        r"\tfrac12 \bar\alpha_T \Vert x_0 \Vert^2 + O(\bar\alpha_T^2)",
        FAMILY,
        ('L1 "Forward Convergence"', 'L4 "DDPM - The Forward Process"'),
        lambda s, x: 0.5 * (s.signal(s.T) * x) ** 2,
        {
            "the mean not squared": lambda s, x: 0.5 * s.signal(s.T) * x,
            "the variance alone": lambda s, x: 0.25 * s.alpha_bar[-1] ** 2,
            "no half": lambda s, x: (s.signal(s.T) * x) ** 2,
            "half the steps": lambda s, x: 0.5 * (s.signal(s.T // 2) * x) ** 2,
        },
        _to_the_prior,
        2e-3,  # ᾱ_T / 2 x_0² and less
    ),
    Claim(
        "ddpm.abar_monotone",
        r"1 = \bar\alpha_0 > \bar\alpha_1 > \dots > \bar\alpha_T > 0,\quad \bar\alpha_t = "
        r"\prod_{s \le t} (1 - \beta_s), \text{ in whatever order the } \beta_s \text{ come}",
        FAMILY,
        ('L1 "Forward Convergence"', 'L4 "DDPM - The Forward Process"'),
        lambda s: s.alpha_bar,
        {
            "1 − Σ β": lambda s: 1 - np.cumsum(s.beta),
            "e^−Σ β": lambda s: np.exp(-np.cumsum(s.beta)),
            "α_t, which may rise": lambda s: s.alpha,
            "one step late": lambda s: np.append(1.0, s.alpha_bar[:-1]),
        },
        _falls,
        ROUNDING,
    ),
    Claim(
        "ddpm.abar_vanishes",
        r"\bar\alpha_T \le e^{-\sum_t \beta_t} \le \bar\alpha_T e^{\sum_t \beta_t^2 / 2(1 - "
        r"\beta_t)}, \text{ so } \bar\alpha_T \to 0 \iff \sum_t \beta_t = \infty",
        FAMILY,
        ('L1 "Forward Convergence"', 'L2 "Diffusion Models: Forward Diffusion Process"'),
        lambda s: -np.sum(s.beta),
        {
            "β in (0, 1) is enough": lambda s: s.T * np.log1p(-s.beta[1]),
            "the sum doubled": lambda s: -2 * np.sum(s.beta),
            "a bound that says nothing": lambda s: 0.0,
        },
        _abar_vanishes,
        ROUNDING,
    ),
    Claim(
        "ddpm.unit_variance_marginal",
        r"\mathrm{Var}(x_0) = 1 \Rightarrow \mathrm{Var}(x_t) = \bar\alpha_t + (1 - \bar\alpha_t) "
        r"= 1",
        FAMILY,
        ('L4 "DDPM - Noise Schedule"',),
        lambda s: s.signal(np.arange(s.T + 1)) ** 2 + s.spread(np.arange(s.T + 1)) ** 2,
        {
            "q(x_t | x_0) for q(x_t)": lambda s: 1 - s.alpha_bar,
            "the rates sum to 1": lambda s: (s.alpha_bar**0.5 + (1 - s.alpha_bar) ** 0.5) ** 2,
        },
        _unit_variance,
        ROUNDING,
    ),
)
