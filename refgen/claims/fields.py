r"""Claims on fields: which of them are scores, and what denoising teaches one.

Sources    song2021-sde;  efron2011-tweedie;  song2019-ncsn  eq. 5, 6

Truths are central differences of a field, convolutions on a grid, and double sums over data and
noise.
"""

from functools import partial
from typing import Any

import numpy as np

from refgen.check import central_difference, complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising
from refgen.processes.discrete import of_noise_levels
from refgen.processes.parametrization import score_from_noise
from refgen.typing import Array

FAMILY = "score"
ROUNDING = 1e-9
POINTS = np.linspace(-2.5, 2.5, 11)


def turning(form: Form, noise: Noise) -> float:
    """Return the largest |∂_1 s_2 − ∂_2 s_1| at points between two components of a plane."""
    left = np.array([-1.0, -1.0]) + 0.3 * noise.at("left").normal(2)
    world = Mixture(np.array([0.4, 0.6]), np.stack([left, -left]), np.array([0.4, 0.7]))
    x, sigma = noise.at("x").normal((6, 2)), beds.between(noise.at("sigma"), 0.2, 0.8)
    of_first, of_second = (
        central_difference(lambda x: form(world, x, sigma), [x], [np.tile(e, (6, 1))]).value
        for e in np.eye(2)
    )
    return float(np.max(np.abs(of_first[:, 1] - of_second[:, 0])))


def _score(world: Mixture, x: Array, sigma: float) -> Array:
    return world.score(x, 1.0, sigma)


def _smoothed(form: Form, noise: Noise) -> float:
    world, sigma = beds.some_mixture(noise.at("world")), beds.between(noise.at("sigma"), 0.2, 0.8)
    grid, weight = beds.data_line(world)
    density = np.exp(beds.log_normal(POINTS[:, None], grid, sigma**2)) @ weight
    return gap(np.exp(form(world, POINTS[:, None], sigma)), density)


def _widened(world: Mixture, x: Array, by: float) -> Array:
    return Mixture(world.weights, world.means, world.var + by).log_density(x)


def _dsm_equivalence(form: Form, noise: Noise) -> float:
    """Return how much E‖s − form‖² − E‖s − ∇ log q_σ‖² varies with s, relative to its mean."""
    world, sigma = beds.some_mixture(noise.at("world")), beds.between(noise.at("sigma"), 0.3, 0.8)
    data, weight = beds.data_line(world, 200)
    draws, step = beds.line(0.0, 1.0, 100)
    weights = np.outer(weight, step * np.exp(beds.log_normal(draws, 0.0, 1.0))).ravel()
    x, e = (data[:, None] + sigma * draws).ravel(), np.tile(draws, len(data))
    target, marginal = form(e, sigma), world.score(x[:, None], 1.0, sigma)[:, 0]

    def difference(s: Array) -> float:
        return float(weights @ ((s - target) ** 2 - (s - marginal) ** 2))

    a, b = noise.at("theta").normal(2)
    gaps = [difference(s) for s in (0 * x, a * x, -x + b, np.sin(2 * x))]
    return (largest(*gaps) - min(gaps)) / abs(float(np.mean(gaps)))


class _Linear:
    """A score k x + c of every coordinate; k and c are its parameters."""

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Any]:
        """Return the score and nothing to keep."""
        return params[0] * x + params[1], None

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Any]:
        """Return nothing: nobody trains it."""
        return 0 * dy, None


def _dsm_eps(form: Form, noise: Noise) -> float:
    """Compare form(σ, k and c, data, e) with σ² ‖s − ∇ log q_σ(x̃ | x)‖², (N,), a level each."""
    sigmas = np.array([2.0, 1.0, 0.4]) * (0.8 + 0.4 * noise.at("sigmas").uniform(3))
    data, e = noise.at("pairs").normal((2, 3, 2))
    params, x = noise.at("params").normal(2), data + sigmas[:, None] * e

    def log_q(x: Array) -> Array:
        return beds.log_normal(x, data, sigmas[:, None] ** 2)

    exact = complex_step(log_q, [x], [np.ones_like(x)])
    truth = sigmas**2 * np.sum((params[0] * x + params[1] - exact) ** 2, axis=1)
    return gap(form(sigmas, params, data, e), truth)


def _ncsn_loss(weight: str, sigmas: Array, params: Array, data: Array, e: Array) -> Array:
    """Return the project's loss of each example, at one of the levels each."""
    loss = Denoising(_Linear(), of_noise_levels(sigmas), "score", weight)
    levels = len(sigmas) - np.arange(len(sigmas))  # as a path the smallest level comes first
    return np.asarray(loss.value(params, data, e, levels)[0]["loss"])


def _turned(world: Mixture, x: Array, sigma: float) -> Array:
    turned: Array = _score(world, x, sigma) + x[:, ::-1] * np.array([-0.5, 0.5])
    return turned


def _conditional_score(e: Array, sigma: float) -> Any:
    return score_from_noise(e, 1 - sigma**2)  # the level whose noise has this deviation


CLAIMS = (
    Claim(
        "score.is_conservative",
        r"s = \nabla \log p \Rightarrow \partial_i s_j = \partial_j s_i",
        FAMILY,
        ('L3 "NCSN objective"', "song2021-sde"),
        _score,
        {
            "a field that turns": _turned,
            "one coordinate scaled": lambda w, x, sigma: _score(w, x, sigma) * np.array([1.0, 2.0]),
            "one level for each coordinate": lambda w, x, sigma: np.stack(
                [_score(w, x, sigma)[:, 0], _score(w, x, 2 * sigma)[:, 1]], axis=1
            ),
        },
        turning,
        1e-7,
    ),
    Claim(
        "ncsn.smoothed_gmm",
        r"q_\sigma(\tilde x) = \mathbb E_x \mathcal N(\tilde x; x, \sigma^2 I): \text{ each "
        r"component's variance becomes } v_k + \sigma^2",
        FAMILY,
        ('L4 "Noise Conditional Score Network"',),
        lambda w, x, sigma: w.log_density(x, 1.0, sigma),
        {
            "σ for σ²": lambda w, x, sigma: _widened(w, x, sigma),
            "deviations add": lambda w, x, sigma: Mixture(
                w.weights, w.means, (np.sqrt(w.var) + sigma) ** 2
            ).log_density(x),
            "the signal shrunk too": lambda w, x, sigma: w.log_density(
                x, np.sqrt(1 - sigma**2), sigma
            ),
        },
        _smoothed,
        1e-8,
    ),
    Claim(
        "ncsn.dsm_equivalence",
        r"\mathbb E \Vert s_\theta - \nabla \log q_\sigma(\tilde x \mid x) \Vert^2 - \mathbb E "
        r"\Vert s_\theta - \nabla \log q_\sigma(\tilde x) \Vert^2 \text{ does not depend on } "
        r"\theta,\ \nabla \log q_\sigma(\tilde x \mid x) = -\epsilon/\sigma",
        FAMILY,
        ('L3 "NCSN objective"', 'L4 "Noise Conditional Score Network"'),
        _conditional_score,
        {
            "sign": lambda e, sigma: -_conditional_score(e, sigma),
            "not divided by σ": lambda e, sigma: -e,
            "σ² below": lambda e, sigma: -e / sigma**2,
        },
        _dsm_equivalence,
        1e-8,
    ),
    Claim(
        "ncsn.dsm_eps",
        r"\sigma^2 \Vert s_\theta(\tilde x) - \nabla \log q_\sigma(\tilde x \mid x) \Vert^2 = "
        r"\Vert \sigma s_\theta(x + \sigma e) + e \Vert^2",
        FAMILY,
        ('L4 "Noise Conditional Score Network"', "song2019-ncsn"),
        partial(_ncsn_loss, "simple"),
        {
            "no weight": partial(_ncsn_loss, "data"),
            "σ for σ²": lambda sigmas, p, x, e: _ncsn_loss("simple", sigmas, p, x, e) / sigmas,
            "the noise's sign": lambda sigmas, p, x, e: _ncsn_loss("simple", sigmas, p, x, -e),
            "variances for deviations": lambda sigmas, p, x, e: _ncsn_loss(
                "simple", sigmas**2, p, x, e
            ),
        },
        _dsm_eps,
        ROUNDING,
    ),
)
