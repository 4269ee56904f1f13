r"""Claims on the bound that a diffusion is trained with, and on the gradient of the loss.

Sources    sohl2015-diffusion  section 2.4;  ho2020-ddpm  eq. 3-5, 14

The bound's truth is its definition, averaged over all paths of signs (beds.py).
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from refgen import tree
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Gaussian, LinearGaussianChain
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.ddpm import WEIGHTS, NoisePrediction
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9


def is_minus_elbo(form: Form, noise: Noise) -> float:
    """Compare a decomposition of −ELBO with the definition."""
    chain, x0 = beds.some_chain(noise.at("chain")), noise.at("x0").normal(3)
    return gap(form(chain, x0), -beds.bound_by_paths(chain, x0))


def three_terms(
    chain: LinearGaussianChain, x0: Array, first: int = 2, recon_sign: float = 1.0
) -> Array:
    """Return −ELBO from its terms; a lecture's slip is a later first time or another sign."""
    terms = chain.terms(x0)
    transitions = np.sum(terms.transitions[:, first - 2 :], axis=1)
    total: Array = terms.prior + transitions + recon_sign * terms.reconstruction
    return total


def consistency(chain: LinearGaussianChain, x0: Array, dependent: bool = True) -> Array:
    """Return −ELBO from its consistency terms, (N,).

    As an expected divergence (dependent False) a term draws x_t afresh from x_{t−1}, as if
    x_{t+1} had not come from it; jointly the two share the noise of step t.
    """
    mean, cov = chain.moments(x0)
    alpha, beta = chain.schedule.alpha, chain.schedule.beta
    T = chain.schedule.T
    total = 0.5 * (mean[:, T] ** 2 + cov[T, T] - 1 - math.log(beta[T]))  # the prior term
    for t in range(T):  # log q(x_t | x_{t−1}) / p(x_t | x_{t+1}); t = 0 is the reconstruction
        slope, offset, var = chain.slope[t + 1], chain.offset[t + 1], chain.var[t + 1]
        shared = cov[t, t + 1]
        if t > 0 and not dependent:
            shared = math.sqrt(alpha[t]) * cov[t - 1, t + 1]
        square = (mean[:, t] - slope * mean[:, t + 1] - offset) ** 2
        square = square + cov[t, t] + slope**2 * cov[t + 1, t + 1] - 2 * slope * shared
        log_p = -0.5 * (square / var + beds.LOG_2PI + math.log(var))
        log_q = -0.5 * (1 + beds.LOG_2PI + math.log(beta[t])) if t > 0 else 0.0
        total = total + log_q - log_p
    minus_elbo: Array = total
    return minus_elbo


def is_tight_bound(form: Form, noise: Noise) -> float:
    """Return by how much a form exceeds log p, or misses it where q is the model's posterior."""
    chain, x0 = beds.some_chain(noise.at("chain")), noise.at("x0").normal(3)
    excess = float(np.max(form(chain, x0) - chain.log_density(x0)))
    exact = LinearGaussianChain.reverse(chain.schedule, 0.0, 1.0)
    return largest(0.0, excess, gap(form(exact, x0), beds.log_normal(x0, 0.0, 1.0)))


def gap_to_evidence(form: Form, noise: Noise) -> float:
    """Compare with log p(x0) − KL[q(x_1..T | x0) ‖ p(x_1..T | x0)], both joint Gaussians."""
    chain, x0 = beds.some_chain(noise.at("chain")), noise.at("x0").normal(3)
    T, rows = chain.schedule.T, [np.eye(chain.schedule.T + 1)[-1]]
    mean = np.zeros(T + 1)
    for t in range(T, 0, -1):  # x_{t−1} from the draws of the model: x_T is the last of them
        rows.append(chain.slope[t] * rows[-1] + math.sqrt(chain.var[t]) * np.eye(T + 1)[t - 1])
        mean[t - 1] = chain.slope[t] * mean[t] + chain.offset[t]
    of_draws = np.stack(rows[::-1])
    cov = of_draws @ of_draws.T
    of_x0 = cov[1:, 0] / cov[0, 0]
    forward, truth = beds.walk_matrix(chain.schedule.beta)[1:], []
    for x in x0:
        q = Gaussian(float(x) * forward[:, 0], forward[:, 1:] @ forward[:, 1:].T)
        p = Gaussian(mean[1:] + of_x0 * (x - mean[0]), cov[1:, 1:] - np.outer(of_x0, cov[0, 1:]))
        truth.append(float(beds.log_normal(x, mean[0], cov[0, 0])) - q.kl(p))
    return gap(form(chain, x0), truth)


def _no_entropy(chain: LinearGaussianChain, x0: Array) -> Array:
    entropy = 0.5 * np.sum(1 + beds.LOG_2PI + np.log(chain.schedule.beta[1:]))
    bound: Array = chain.elbo(x0) - entropy
    return bound


def loss_gradient(form: Form, noise: Noise) -> float:
    """Compare a gradient of the batch's mean loss with the complex step, along one direction."""
    schedule = beds.some_schedule(noise.at("schedule"))
    model = TimeMLP(2, hidden=6, blocks=1, embedding=4)
    start = model.init(noise.at("init"))
    params, along = (beds.random_tree(start, noise.at(name)) for name in ("params", "along"))
    data, worst = noise.at("data").normal((5, 2)), 0.0
    for weight in WEIGHTS:
        objective, where = NoisePrediction(model, schedule, weight), noise.at("draws", weight)
        truth = beds.slope_along(partial(_mean_loss, objective, data, where), params, along)
        found = tree.dot(form(objective, params, data, where), along)
        worst = largest(worst, abs(found - truth) / abs(truth))
    return worst


def _mean_loss(objective: NoisePrediction, data: Array, where: Noise, params: Any) -> Array:
    return np.asarray(np.mean(objective.forward(params, data, where)[0]["loss"]))


def _gradient(objective: NoisePrediction, params: Any, data: Array, where: Noise) -> Any:
    _, cache = objective.forward(params, data, where)
    return objective.backward(np.full(len(data), 1 / len(data)), cache)


def _scaled(factor: float) -> Form:
    return lambda *case: tree.map(lambda g: factor * g, _gradient(*case))


def _unweighted(objective: NoisePrediction, params: Any, data: Array, where: Noise) -> Any:
    return _gradient(replace(objective, weight="simple"), params, data, where)


CLAIMS = (
    Claim(
        "ddpm.elbo_three_terms",
        r"-\mathrm{ELBO} = L_T + \sum_{t \ge 2} \mathbb E_{q(x_t \mid x_0)} D_{KL}(q(x_{t-1} \mid "
        r"x_t, x_0) \Vert p_\theta(x_{t-1} \mid x_t)) - \mathbb E_q \log p_\theta(x_0 \mid x_1)",
        FAMILY,
        (
            'L0 "ELBO Derivation"',
            'L1 "ELBO"',
            'L2 "Diffusion Models: Training (optional)"',
            'L3 "ELBO"',
            'L4 "DDPM - Deriving Loss using Jensen\'s Inequality"',
        ),
        three_terms,
        {
            "the reconstruction's sign": lambda c, x: three_terms(c, x, recon_sign=-1.0),
            "the sum from t = 3": lambda c, x: three_terms(c, x, first=3),
            "no prior term": lambda c, x: three_terms(c, x) - c.terms(x).prior,
        },
        is_minus_elbo,
        ROUNDING,
    ),
    Claim(
        "ddpm.elbo_consistency_corr",
        r"-\mathrm{ELBO} = -\mathbb E \log p_\theta(x_0 \mid x_1) + \mathbb E D_{KL}(q(x_T \mid "
        r"x_{T-1}) \Vert p) + \sum_{t<T} \mathbb E_{q(x_{t-1}, x_t, x_{t+1} \mid x_0)} \log "
        r"\frac{q(x_t \mid x_{t-1})}{p_\theta(x_t \mid x_{t+1})}",
        FAMILY,
        ('L1 "Consistency Term"',),
        consistency,
        {
            "an expected divergence": lambda c, x: consistency(c, x, dependent=False),
            "the prior term of the other form": lambda c, x: (
                consistency(c, x)
                + c.terms(x).prior
                - 0.5 * (c.schedule.alpha_bar[-1] * x * x - np.log(c.schedule.beta[-1]))
            ),
        },
        is_minus_elbo,
        ROUNDING,
    ),
    Claim(
        "ddpm.elbo_is_bound",
        r"-\log p_\theta(x_0) \le \mathbb E_q\Bigl[-\log \frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid "
        r"x_0)}\Bigr], \text{ equal when } q \text{ is the posterior}",
        FAMILY,
        (
            'L0 "ELBO"',
            'L2 "Diffusion Models: Training (optional)"',
            'L3 "ELBO"',
            'L4 "DDPM - Deriving Loss using Jensen\'s Inequality"',
        ),
        lambda chain, x0: chain.elbo(x0),
        {
            "the entropy of q left out": _no_entropy,
            "the inequality reversed": lambda c, x: 2 * c.log_density(x) - c.elbo(x),
        },
        is_tight_bound,
        ROUNDING,
    ),
    Claim(
        "hvae.elbo",
        r"\mathbb E_{q(x_{1:T} \mid x)} \log \frac{p_\theta(x, x_{1:T})}{q(x_{1:T} \mid x)} = \log "
        r"p_\theta(x) - D_{KL}(q(x_{1:T} \mid x) \Vert p_\theta(x_{1:T} \mid x))",
        FAMILY,
        ('L0 "ELBO"', 'L2 "Diffusion Models: Training (optional)"', "sohl2015-diffusion"),
        lambda chain, x0: chain.elbo(x0),
        {
            "the logarithm of the mean": lambda c, x: c.log_density(x),
            "the entropy of q left out": _no_entropy,
            "the last latent alone": lambda c, x: -c.terms(x).prior - c.terms(x).reconstruction,
            "the divergence added": lambda c, x: 2 * c.log_density(x) - c.elbo(x),
        },
        gap_to_evidence,
        ROUNDING,
    ),
    Claim(
        "ddpm.Lsimple_grad",
        r"\nabla_\theta \Vert \epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t} x_0 + \sqrt{1 - "
        r"\bar\alpha_t}\,\epsilon, t) \Vert^2 = 2 (\partial_\theta \epsilon_\theta)^\top "
        r"(\epsilon_\theta - \epsilon)",
        FAMILY,
        (
            'L0 "Algorithm 1 Training"',
            'L2 "Algorithm 1 Training"',
            'L3 "Training"',
            'L4 "DDPM - Training and Sampling Algorithms"',
            "ho2020-ddpm",
        ),
        _gradient,
        {
            "the 2 dropped": _scaled(0.5),
            "sign": _scaled(-1.0),
            "the sum over the batch for its mean": _scaled(5.0),
            "the schedule's weight left out": _unweighted,
        },
        loss_gradient,
        ROUNDING,
    ),
)
