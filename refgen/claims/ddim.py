r"""Claims on DDIM.

Sources    song2021-ddim  eq. 7, 12;  song2021-sde  (the flow that it solves)

A world N(m, v) has a flow in closed form, x ↦ m + √v (x − √ᾱ m) / √(ᾱ v + 1 − ᾱ).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from refgen.check.witness import order_of_convergence
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.claims.sampling import ancestral_step, jump_law, strided
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.ops.step import ddim_step_forward
from refgen.processes import Schedule, cosine, linear, stride
from refgen.processes.parametrization import noise_from_data
from refgen.samplers import sample_ddim
from refgen.samplers.walk import Predict
from refgen.typing import Array

FAMILY = "sampling"
ROUNDING = 1e-9


def _predictor(schedule: Schedule, mean: float, var: float) -> Predict:
    """Return the exact noise prediction for data N(mean, var) in each coordinate."""
    world = Gaussian(np.array([mean]), np.array([[var]]))

    def predict(x: Array, t: int) -> Array:
        a, b = float(schedule.signal(t)), float(schedule.spread(t))
        noise_mean = world.noise_mean(x.reshape(-1, 1), a, b)
        return noise_mean.reshape(x.shape)

    return predict


def _ddim(x: Array, noise_hat: Array, alpha_bar: float, alpha_bar_next: float) -> Array:
    levels = {"alpha_bar": alpha_bar, "alpha_bar_next": alpha_bar_next, "sigma": 0.0}
    return ddim_step_forward(x, noise_hat, noise_hat, **levels)[0]


def _mean_only(x: Array, noise_hat: Array, alpha_bar: float, alpha_bar_next: float) -> Array:
    alpha = alpha_bar / alpha_bar_next
    return ancestral_step(x, noise_hat, noise_hat, alpha=alpha, alpha_bar=alpha_bar, sigma=0.0)


def _same_spread(x: Array, noise_hat: Array, alpha_bar: float, alpha_bar_next: float) -> Array:
    change = math.sqrt(1 - alpha_bar) - math.sqrt(1 - alpha_bar_next)
    return _ddim(x, noise_hat, alpha_bar, alpha_bar_next) + change * noise_hat


def _no_root(x: Array, noise_hat: Array, alpha_bar: float, alpha_bar_next: float) -> Array:
    change = 1 - alpha_bar_next - math.sqrt(1 - alpha_bar_next)
    return _ddim(x, noise_hat, alpha_bar, alpha_bar_next) + change * noise_hat


def _marginals(form: Form, noise: Noise) -> float:
    """Walk down from q(x_T | x_0), the noise always that of x_0, and compare every moment."""
    schedule, x0 = beds.some_schedule(noise), float(noise.at("x0").normal(1)[0])
    levels = [beds.kept(schedule, t) for t in range(schedule.T + 1)]
    matrix, worst = beds.walk_matrix(schedule.beta), 0.0
    x = math.sqrt(levels[-1]) * x0 + math.sqrt(1 - levels[-1]) * np.array([0.0, 1.0])
    for t in range(schedule.T, 1, -1):
        x = form(x, noise_from_data(x, np.array(x0), levels[t]), levels[t], levels[t - 1])
        mean, var = float(x[0]), float(x[1] - x[0]) ** 2
        true_var = float(np.sum(matrix[t - 1, 1:] ** 2))
        worst = largest(worst, abs(mean - matrix[t - 1, 0] * x0), abs(var - true_var))
    return worst


def _jumps_compose(form: Form, noise: Noise) -> float:
    """Compare three jumps, and one, with the level they lead to along the noise of x and x_0."""
    schedule = beds.some_schedule(noise.at("schedule"), 8)
    keep = [beds.kept(schedule, t) for t in range(schedule.T + 1)]
    x0, x = noise.at("points").normal((2, 5))
    times = (schedule.T, schedule.T - 2, 4, 1)
    many = x
    for t, s in pairwise(times):
        many = form(many, x0, keep[t], keep[s])
    first, last = keep[times[0]], keep[times[-1]]
    draw = (x - math.sqrt(first) * x0) / math.sqrt(1 - first)
    truth = math.sqrt(last) * x0 + math.sqrt(1 - last) * draw
    return largest(gap(many, truth), gap(form(x, x0, first, last), truth))


def _fixed_data(step: Form) -> Form:
    return lambda x, x0, now, after: step(x, noise_from_data(x, x0, now), now, after)


def _reestimated(x: Array, x0: Array, now: float, after: float) -> Array:
    noise_hat = math.sqrt(1 - now) / (2 * now + 1 - now) * x  # exact for data N(0, 2)
    return _ddim(x, noise_hat, now, after)


def _euler(form: Form, noise: Noise) -> float:
    """Compare with an Euler step of dx̄/dσ̄ = ε̂, x̄ = x/√ᾱ, σ̄ = √((1 − ᾱ)/ᾱ)."""
    now, after = beds.between(noise.at("now"), 0.1, 0.5), beds.between(noise.at("next"), 0.6, 1.0)
    x, noise_hat = noise.at("points").normal((2, 5))
    sigma, sigma_next = (math.sqrt(1 / keep - 1) for keep in (now, after))
    scaled = x / math.sqrt(now) + (sigma_next - sigma) * noise_hat
    return gap(form(x, noise_hat, now, after), math.sqrt(after) * scaled)


def _flow(x: Array, keep: float, mean: float, var: float) -> Array:
    """Return where the probability flow takes x : (N,) from level ᾱ to the data N(mean, var)."""
    std = math.sqrt(keep * var + 1 - keep)
    return mean + math.sqrt(var) * (x - math.sqrt(keep) * mean) / std


def _exact_map(form: Form, noise: Noise) -> float:
    mean, var = beds.between(noise.at("mean"), -1.0, 1.0), beds.between(noise.at("var"), 0.3, 2.0)
    schedule, x = linear(1000), np.linspace(-2.0, 2.0, 5)
    found = form(_predictor(schedule, mean, var), x, schedule, noise.at("sampler"), None)
    return gap(found, _flow(x, float(schedule.alpha_bar[-1]), mean, var))


def _order(form: Form, noise: Noise) -> float:
    """Return how far the order in the number of steps is from 1."""
    mean, var = beds.between(noise.at("mean"), 0.3, 1.0), beds.between(noise.at("var"), 0.2, 0.6)
    schedule, x = cosine(1024), np.linspace(-2.0, 2.0, 5)
    predict, errors, counts = _predictor(schedule, mean, var), [], (32, 64, 128, 256)
    for count in counts:
        found = form(predict, x, schedule, noise.at("sampler"), stride(schedule.T, count))
        errors.append(gap(found, _flow(x, float(schedule.alpha_bar[-1]), mean, var)))
    return abs(order_of_convergence(counts, errors) - 1)


def _last_step(form: Form, noise: Noise) -> float:
    """Compare with the data that a prediction implies, whatever it is."""
    schedule, x = beds.some_schedule(noise.at("schedule")), noise.at("x").normal(5)
    noise_hat, keep = noise.at("noise_hat").normal(5), beds.kept(schedule, schedule.T)
    found = form(lambda x, t: noise_hat, x, schedule, noise.at("sampler"), (schedule.T, 0))
    return gap(found, (x - math.sqrt(1 - keep) * noise_hat) / math.sqrt(keep))


def _stochastic(eta: float) -> Form:
    return lambda predict, x, s, noise, times: sample_ddim(
        predict, x, s, noise, times=times, eta=eta
    )


def _added_noise(
    predict: Predict, x: Array, schedule: Schedule, noise: Noise, times: Sequence[int]
) -> Array:
    """Return DDIM with the posterior's noise on top of what a deterministic step keeps."""
    for t, s in pairwise(times):
        now, after = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
        sigma = math.sqrt((1 - after) / (1 - now) * (1 - now / after))
        x = _ddim(x, predict(x, t), now, after) + sigma * noise.at("step", t).normal(x.shape)
    return x


def _sample(
    predict: Predict, x: Array, schedule: Schedule, noise: Noise, times: Sequence[int] | None
) -> Array:
    return sample_ddim(predict, x, schedule, noise, times=times)


def _walk(step: Form) -> Form:
    """Return the sampler that takes a step between each two of its times."""

    def walk(
        predict: Predict, x: Array, schedule: Schedule, noise: Noise, times: Sequence[int] | None
    ) -> Array:
        for t, s in pairwise(range(schedule.T, -1, -1) if times is None else times):
            now, after = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
            x = step(x, predict(x, t), now, after)
        return x

    return walk


CLAIMS = (
    Claim(
        "ddim.marginal_induction",
        r"q_0(x_{t-1} \mid x_t, x_0) \text{ without variance leaves } q_0(x_t \mid x_0) = \mathcal "
        r"N(\sqrt{\bar\alpha_t}\,x_0, (1 - \bar\alpha_t) I) \text{ for all } t",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        _ddim,
        {
            "the ancestral mean alone": _mean_only,
            "the old level of noise": _same_spread,
            "no root on 1 − ᾱ": _no_root,
        },
        _marginals,
        ROUNDING,
    ),
    Claim(
        "ddim.multistep_composes",
        r"q_0(x_{t'} \mid x_t, x_0): \text{ jumps along the noise of one } x_0 \text{ compose "
        r"to one}",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        _fixed_data(_ddim),
        {
            "the noise estimated again on the way": _reestimated,
            "no root on 1 − ᾱ": lambda x, x0, now, after: (
                math.sqrt(after) * x0 + (1 - after) * noise_from_data(x, x0, now)
            ),
        },
        _jumps_compose,
        ROUNDING,
    ),
    Claim(
        "ddim.is_euler_in_sigma",
        r"\frac{x_{t'}}{\sqrt{\bar\alpha_{t'}}} = \frac{x_t}{\sqrt{\bar\alpha_t}} + "
        r"(\bar\sigma_{t'} - \bar\sigma_t)\,\epsilon_\theta, \quad \bar\sigma = \sqrt{(1 - "
        r"\bar\alpha)/\bar\alpha}",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        _ddim,
        {
            "the step's sign": lambda x, e, now, after: _ddim(x, -e, now, after),
            "σ̄² for σ̄": lambda x, e, now, after: (
                math.sqrt(after) * (x / math.sqrt(now) + (1 / after - 1 / now) * e)
            ),
            "not scaled back": lambda x, e, now, after: _ddim(x, e, now, after) / math.sqrt(after),
            "the ancestral mean alone": _mean_only,
        },
        _euler,
        ROUNDING,
    ),
    Claim(
        "ddim.gaussian_exact_map",
        r"x_0 \sim \mathcal N(m, s^2): \quad x_T \mapsto m + s\,\frac{x_T - \sqrt{\bar\alpha_T}\,m}"
        r"{\sqrt{\bar\alpha_T s^2 + 1 - \bar\alpha_T}} \text{ as } T \to \infty",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-sde"),
        _sample,
        {"the ancestral mean alone": _walk(_mean_only), "no root on 1 − ᾱ": _walk(_no_root)},
        _exact_map,
        0.01,  # the error of 1000 steps is about 0.0015
    ),
    Claim(
        "ddim.order1_in_S",
        r"\text{the error of } S \text{ steps of DDIM is } O(1/S)",
        FAMILY,
        ('L4 "DDIM - Accelerated Sampling Examples"', "song2021-ddim"),
        _sample,
        {"α_t of a single step": strided, "no root on 1 − ᾱ": _walk(_no_root)},
        _order,
        0.15,
    ),
    Claim(
        "ddim.last_step_is_x0hat",
        r"\bar\alpha_0 = 1 \Rightarrow x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\,"
        r"\epsilon_\theta}{\sqrt{\bar\alpha_t}} \text{ in the last step}",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        _sample,
        {
            "ended at t = 1": lambda predict, x, s, noise, times: _walk(_ddim)(
                predict, x, s, noise, (s.T, 1)
            ),
            "the old level of noise": _walk(_same_spread),
            "the noise added": lambda predict, x, s, noise, times: _sample(
                lambda x, t: -predict(x, t), x, s, noise, times
            ),
        },
        _last_step,
        ROUNDING,
    ),
    Claim(
        "ddim.eta1_is_ancestral",
        r"\sigma^2 = \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}\Bigl(1 - \frac{\bar\alpha_t}"
        r"{\bar\alpha_s}\Bigr): \quad \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - "
        r"\sigma^2}\,\epsilon_\theta + \sigma z \sim q(x_s \mid x_t, \hat x_0)",
        FAMILY,
        ("song2021-ddim",),
        _stochastic(1.0),
        {
            "no noise": _stochastic(0.0),
            "half of σ": _stochastic(0.5),
            "the old share not made smaller": _added_noise,
        },
        jump_law,
        ROUNDING,
    ),
)
