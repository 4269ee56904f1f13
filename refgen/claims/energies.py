r"""Claims on energies: any function is a log density, but for a constant that its score forgets.

Sources    lecun2006-energy;  hinton2002-contrastive-divergence

Truths are Gauss-Legendre integrals over pieces of the line, and complex steps of what they give.
"""

from typing import Any

import numpy as np

from refgen import tree
from refgen.check.witness import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives.ebm import Energy, EnergyLikelihood
from refgen.typing import Array

FAMILY = "score"
ROUNDING = 1e-9
SLIDE = 'L4 "Score Matching"'
EDGE = 12.0  # where e^g is 0 on a base of variance 2 and less


def _case(noise: Noise) -> tuple[Energy, Any]:
    """Return an energy on the line and parameters, none of them 0."""
    energy = Energy(mlp((1, 5, 1), "tanh"), beds.between(noise.at("V"), 0.5, 2.0))
    return energy, beds.random_tree(energy.init(Noise(0)), noise.at("params"))


def _minus_log_p(energy: Energy, params: Any, x: Array) -> Array:
    """Return −log p(x), (N,), its constant an integral; f and the base are added up here."""

    def g(x: Array) -> Array:
        f: Array = energy.layer.forward(params, x[:, None])[0][:, 0]
        return f - x * x / (2 * energy.base_var)

    nodes, weights = np.polynomial.legendre.leggauss(30)
    cuts = np.linspace(-EDGE, EDGE, 41)
    half = 0.5 * (cuts[1] - cuts[0])
    inside = (0.5 * (cuts[1:] + cuts[:-1])[:, None] + half * nodes).ravel()
    log_z = np.log(half * np.tile(weights, 40) @ np.exp(g(inside)))
    nll: Array = log_z - g(x)
    return nll


def _unnormalised(form: Form, noise: Noise) -> float:
    energy, params = _case(noise)
    x = noise.at("x").normal(6)
    return gap(form(energy, params, x[:, None]), _minus_log_p(energy, params, x))


def _project_nll(energy: Energy, params: Any, x: Array) -> Array:
    return EnergyLikelihood(energy, low=-EDGE, high=EDGE).forward(params, x)[0]["loss"]


def _g(energy: Energy, params: Any, x: Array) -> Array:
    return energy.log_unnormalised(params, x)[0]


def _without_base(energy: Energy, params: Any, x: Array) -> Array:
    return _project_nll(energy, params, x) - x[:, 0] ** 2 / (2 * energy.base_var)


def _sum_of_points(energy: Energy, params: Any, x: Array) -> Array:
    """Return −log p with a sum over the grid that does not know how fine it is."""
    points = 512
    cell = 2 * EDGE / (points - 1)
    total: Array = _project_nll(energy, params, x) - np.log(cell)
    return total


def _slope(energy: Energy, params: Any, x: Array) -> Array:
    """Return the derivative of log p, its constant and all, at points (N,)."""
    return complex_step(lambda x: -_minus_log_p(energy, params, x), [x], [np.ones_like(x)])


def _free_of_z(form: Form, noise: Noise) -> float:
    energy, params = _case(noise)
    x = noise.at("x").normal(6)
    return gap(form(energy, params, x[:, None])[:, 0], _slope(energy, params, x))


def _score(energy: Energy, params: Any, x: Array) -> Array:
    return energy.score(params, x)[0]


def _divided(energy: Energy, params: Any, x: Array) -> Array:
    """Return the score over Z."""
    log_z = _project_nll(energy, params, x) + _g(energy, params, x)
    divided: Array = _score(energy, params, x) * np.exp(-log_z)[:, None]
    return divided


def _of_the_density(energy: Energy, params: Any, x: Array) -> Array:
    """Return ∇p, not ∇log p."""
    p: Array = np.exp(-_project_nll(energy, params, x))
    return p[:, None] * _score(energy, params, x)


def push_and_pull(form: Form, noise: Noise) -> float:
    """Compare a gradient of Σ −log p(x) with the complex step of it, Z by a sum over the line."""
    energy, params = _case(noise)
    along = beds.random_tree(params, noise.at("along"))
    x = noise.at("x").normal((6, 1))

    def nll(moved: Any) -> Array:
        return np.asarray(np.sum(_minus_log_p(energy, moved, x[:, 0])))

    return gap(tree.dot(form(energy, params, x), along), beds.slope_along(nll, params, along))


def _push_and_pull(energy: Energy, params: Any, x: Array, pull: float = 1.0) -> Any:
    loss = EnergyLikelihood(energy, low=-EDGE, high=EDGE)
    _, cache = loss.forward(params, x)
    both = loss.backward(np.ones(len(x)), cache)
    push = energy.backward(-np.ones(len(x)), energy.log_unnormalised(params, x)[1])
    return tree.map(lambda a, b: b + pull * (a - b), both, push)


CLAIMS = (
    Claim(
        "ebm.unnormalised",
        r"p_\theta(x) = \frac{e^{f_\theta(x)}}{Z_\theta},\quad Z_\theta = \int e^{f_\theta(x)}\,"
        r"dx: \quad -\log p_\theta(x) = \log Z_\theta - f_\theta(x)",
        FAMILY,
        (SLIDE, "lecun2006-energy"),
        _project_nll,
        {
            "Z taken for 1": lambda e, p, x: -_g(e, p, x),
            "Z multiplied": lambda e, p, x: -_project_nll(e, p, x) - 2 * _g(e, p, x),
            "the base left out": _without_base,
            "a sum for the integral": _sum_of_points,
        },
        _unnormalised,
        ROUNDING,
    ),
    Claim(
        "score.logZ_free",
        r"\nabla_x \log \frac{e^{f_\theta(x)}}{Z_\theta} = \nabla_x f_\theta(x)",
        FAMILY,
        (SLIDE, "lecun2006-energy"),
        _score,
        {
            "divided by Z": _divided,
            "the density's own gradient": _of_the_density,
            "the base left out": lambda e, p, x: _score(e, p, x) + x / e.base_var,
            "sign": lambda e, p, x: -_score(e, p, x),
        },
        _free_of_z,
        ROUNDING,
    ),
    Claim(
        "ebm.likelihood_gradient",
        r"-\nabla_\theta \log p_\theta(x) = -\nabla_\theta f_\theta(x) + \mathbb E_{p_\theta} "
        r"\nabla_\theta f_\theta",
        FAMILY,
        (SLIDE, "hinton2002-contrastive-divergence"),
        _push_and_pull,
        {
            "the constant taken for one": lambda e, p, x: _push_and_pull(e, p, x, pull=0.0),
            "both ways up": lambda e, p, x: _push_and_pull(e, p, x, pull=-1.0),
            "for one datum": lambda e, p, x: _push_and_pull(e, p, x, pull=1 / len(x)),
        },
        push_and_pull,
        ROUNDING,
    ),
)
