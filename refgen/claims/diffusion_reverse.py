r"""Claims on the reverse of a step without the data: its shape, its bounds, what it predicts.

Sources    sohl2015-diffusion  section 2.2;  ho2020-ddpm  section 3.2
"""

import math
from functools import partial

import numpy as np

from refgen.check import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.objectives.ddpm import loss_weights
from refgen.processes import Schedule
from refgen.processes.parametrization import mean_from_noise
from refgen.typing import Array

FAMILY = "diffusion"


def _reverse_bayes(form: Form, noise: Noise) -> float:
    world, schedule = beds.some_mixture(noise.at("world")), beds.some_schedule(noise)
    t = beds.integer(noise.at("t"), 1, schedule.T)
    before, beta = beds.kept(schedule, t - 1), float(schedule.beta[t])
    xt = float(noise.at("xt").normal(1)[0])
    x = xt + np.linspace(-1.5, 1.5, 9)
    v = before * world.var + 1 - before  # each component of x_{t−1}
    m = math.sqrt(before) * world.means[:, 0]
    total = (1 - beta) * v + beta
    share = world.weights * np.exp(beds.log_normal(xt, math.sqrt(1 - beta) * m, total))
    gain = math.sqrt(1 - beta) * v / total
    mean = m + gain * (xt - math.sqrt(1 - beta) * m)
    density = np.exp(beds.log_normal(x[:, None], mean, beta * v / total)) @ share / np.sum(share)
    return gap(np.exp(form(world, schedule, t, x, xt)), density)


def _log_marginal(world: Mixture, schedule: Schedule, t: int, x: Array | float) -> Array:
    points = np.reshape(np.asarray(x, dtype=np.float64), (-1, 1))
    return world.log_density(points, float(schedule.signal(t)), float(schedule.spread(t)))


def _bayes(world: Mixture, schedule: Schedule, t: int, x: Array, xt: float) -> Array:
    forward = beds.log_normal(xt, np.sqrt(schedule.alpha[t]) * x, schedule.beta[t])
    ratio = _log_marginal(world, schedule, t - 1, x) - _log_marginal(world, schedule, t, xt)
    log_q: Array = forward + ratio
    return log_q


def _bayes_inverted(world: Mixture, schedule: Schedule, t: int, x: Array, xt: float) -> Array:
    forward = beds.log_normal(xt, np.sqrt(schedule.alpha[t]) * x, schedule.beta[t])
    return 2 * forward - _bayes(world, schedule, t, x, xt)


def _forward_reversed(world: Mixture, schedule: Schedule, t: int, x: Array, xt: float) -> Array:
    return beds.log_normal(x, xt / np.sqrt(schedule.alpha[t]), schedule.beta[t])


def _small_beta(form: Form, noise: Noise) -> float:
    """KL[q(x_{t−1} | x_t) ‖ N(mean, β)] / β, by quadrature, for a step of one in a thousand."""
    world, beta = beds.some_mixture(noise.at("world")), 1e-3
    before = beds.between(noise.at("level"), 0.3, 0.6)
    xt = beds.between(noise.at("xt"), 2.2, 3.0)  # outside both components: the score is not 0
    x, step = beds.line(xt, math.sqrt(beta))
    a, b = math.sqrt(before), math.sqrt(1 - before)
    log_q = world.log_density(x[:, None], a, b) + beds.log_normal(xt, math.sqrt(1 - beta) * x, beta)
    q = np.exp(log_q - np.max(log_q))
    q = q / np.sum(q * step)
    mean = float(form(world, xt, before, beta))
    inside = q > 1e-290
    log_ratio = np.log(q[inside]) - beds.log_normal(x[inside], mean, beta)
    return float(np.sum(q[inside] * log_ratio) * step) / beta


def _model_mean(world: Mixture, xt: float, before: float, beta: float) -> Array:
    now, x = before * (1 - beta), np.reshape(xt, (1, 1))
    noise_mean = world.noise_mean(x, math.sqrt(now), math.sqrt(1 - now))
    mean: Array = mean_from_noise(x, noise_mean, now, 1 - beta)[0, 0]
    return mean


def _half_way(world: Mixture, xt: float, before: float, beta: float) -> Array:
    return 0.5 * (_model_mean(world, xt, before, beta) + xt / math.sqrt(1 - beta))


def var_bounds(form: Form, noise: Noise) -> float:
    """Violation for data no wider than the form says, and slack at var 0 and 1; relative to β."""
    schedule, worst = beds.some_schedule(noise), 0.0
    lower, upper, widest = form(schedule)
    for t in range(2, schedule.T + 1):
        for var in (*np.linspace(0.0, widest, 6), 0.0, 1.0):
            cov = beds.walk_cov(schedule.beta, float(var))
            reverse = beds.regression(cov, t - 1, [t])[1]
            below, above = lower[t] - reverse, reverse - upper[t]
            slack = largest(0.0, -below if var == 0.0 else 0.0, -above if var == 1.0 else 0.0)
            worst = largest(worst, largest(below, above, slack) / schedule.beta[t])
    return worst


def _leaves_nothing(of: str, form: Form, noise: Noise) -> float:
    """Return the largest E[error h(x_t)]: the best prediction leaves none to any h.

    of is what form(world, x, a, b) predicts, "data" or "noise".
    """
    world, keep = beds.some_mixture(noise.at("world")), beds.between(noise.at("keep"), 0.2, 0.8)
    grid, weight = beds.data_line(world, 300)
    draws, step = beds.line(0.0, 1.0, 120)
    weights = np.outer(weight, step * np.exp(beds.log_normal(draws, 0.0, 1.0))).ravel()
    x = (math.sqrt(keep) * grid[:, None] + math.sqrt(1 - keep) * draws).ravel()
    truth = {"data": np.repeat(grid, len(draws)), "noise": np.tile(draws, len(grid))}[of]
    error = form(world, x[:, None], math.sqrt(keep), math.sqrt(1 - keep))[:, 0] - truth
    tests = (np.ones_like(x), x, x * x, np.sin(2 * x))
    return largest(*(abs(float(np.sum(weights * error * h))) for h in tests))


def _likeliest(world: Mixture, x: Array, a: float, b: float) -> Array:
    means: Array = world.means[np.argmax(world.responsibilities(x, a, b), axis=1)]
    return means


def _same_optimum(form: Form, noise: Noise) -> float:
    """Return the largest slope, in the factors c_t, of either loss of a prediction c_t x_t."""
    schedule, var = beds.some_schedule(noise), beds.between(noise.at("var"), 0.2, 3.0)
    spread = np.sqrt(np.sum(beds.walk_matrix(schedule.beta)[1:, 1:] ** 2, axis=1))
    square, worst = np.diag(beds.walk_cov(schedule.beta, var))[1:], 0.0
    for kind in ("simple", "elbo"):
        weights = loss_weights(schedule, kind)
        slope = complex_step(
            lambda c, w=weights[1:]: w * (1 - 2 * c * spread + c * c * square),
            [form(schedule, var, weights)],
            [np.ones(schedule.T)],
        )
        worst = largest(worst, np.max(np.abs(slope) / (weights[1:] * spread)))
    return worst


def _moments(schedule: Schedule, var: float) -> tuple[Array, Array]:
    """Return E x_t² and E[noise x_t], t = 1 .. T: the loss of a prediction c x_t is quadratic."""
    keep = schedule.alpha_bar[1:]
    return keep * var + 1 - keep, np.sqrt(1 - keep)


def _slope_per_time(schedule: Schedule, var: float, weights: Array) -> Array:
    square, cross = _moments(schedule, var)
    return np.linalg.solve(np.diag(weights[1:] * square), weights[1:] * cross)


def _slope_shared(schedule: Schedule, var: float, weights: Array) -> Array:
    square, cross = _moments(schedule, var)
    return np.full(schedule.T, np.sum(weights[1:] * cross) / np.sum(weights[1:] * square))


CLAIMS = (
    Claim(
        "ddpm.reverse_bayes",
        r"q(x_{t-1} \mid x_t) = q(x_t \mid x_{t-1})\,q(x_{t-1})/q(x_t)",
        FAMILY,
        ('L3 "Denoising diffusion probabilistic model (DDPM)"', "sohl2015-diffusion"),
        _bayes,
        {"the marginals exchanged": _bayes_inverted, "the forward step undone": _forward_reversed},
        _reverse_bayes,
        1e-9,
    ),
    Claim(
        "ddpm.reverse_gauss_small_beta",
        r"D_{KL}\bigl(q(x_{t-1} \mid x_t) \Vert \mathcal N(\tilde\mu_t(x_t, \mathbb E[\epsilon "
        r"\mid x_t]), \beta_t)\bigr) = o(\beta_t)",
        FAMILY,
        (
            'L1 "Choice of β_t"',
            'L2 "Diffusion Models: Reverse Diffusion Process"',
            'L4 "DDPM - The Forward Process"',
        ),
        _model_mean,
        {
            "the score left out": lambda w, x, before, beta: x / math.sqrt(1 - beta),
            "half of the score": _half_way,
            "the score's sign": lambda w, x, before, beta: (
                2 * x / math.sqrt(1 - beta) - _model_mean(w, x, before, beta)
            ),
        },
        _small_beta,
        0.02,
    ),
    Claim(
        "ddpm.var_bounds",
        r"\tilde\beta_t \le \mathrm{Var}(x_{t-1} \mid x_t) \le \beta_t \text{ for Gaussian data, } "
        r"0 \le \mathrm{Var}(x_0) \le 1",
        FAMILY,
        ('L4 "DDPM - Training and Sampling Algorithms"', "sohl2015-diffusion"),
        lambda s: (s.posterior_var, s.beta, 1.0),
        {
            "data of any variance": lambda s: (s.posterior_var, s.beta, 10.0),
            "exchanged": lambda s: (s.beta, s.posterior_var, 1.0),
            "α_t β_t above": lambda s: (s.posterior_var, s.alpha * s.beta, 1.0),
        },
        var_bounds,
        1e-9,
    ),
    Claim(
        "ddpm.x0_pred_is_cond_mean",
        r"\hat x_\theta^*(x_t, t) = \mathbb E[x_0 \mid x_t]",
        FAMILY,
        ('L1 "x_0 Predictor"',),
        lambda w, x, a, b: w.data_mean(x, a, b),
        {
            "the likeliest component": _likeliest,
            "the noise ignored": lambda w, x, a, b: x / a,
            "the mean of all data": lambda w, x, a, b: 0 * x + w.weights @ w.means,
        },
        partial(_leaves_nothing, "data"),
        1e-7,
    ),
    Claim(
        "ddpm.eps_pred_is_cond_mean",
        r"\epsilon_\theta^*(x_t, t) = \mathbb E[\epsilon \mid x_t]",
        FAMILY,
        ('L1 "ϵ_t Predictor"', 'L3 "DDPM objective"'),
        lambda w, x, a, b: w.noise_mean(x, a, b),
        {
            "of the likeliest component": lambda w, x, a, b: (x - a * _likeliest(w, x, a, b)) / b,
            "as if the data were 0": lambda w, x, a, b: x / b,
            "the score, b left out": lambda w, x, a, b: -w.score(x, a, b),
            "the mean of all noise": lambda w, x, a, b: 0 * x,
        },
        partial(_leaves_nothing, "noise"),
        1e-7,
    ),
    Claim(
        "ddpm.same_optimum",
        r"\arg\min \sum_t w_t \mathbb E \Vert \epsilon - \epsilon_{\theta_t} \Vert^2 \text{ does "
        r"not depend on } w_t > 0 \text{ if every } t \text{ has its own } \theta_t",
        FAMILY,
        ('L4 "DDPM - Reparametrizing Model Prediction"',),
        _slope_per_time,
        {
            "one parameter for all t": _slope_shared,
            "the weight in the normal equation once": lambda s, var, w: (
                w[1:] * _slope_per_time(s, var, w)
            ),
        },
        _same_optimum,
        1e-9,
    ),
)
