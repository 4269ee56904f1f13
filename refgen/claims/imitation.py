r"""Claims on learning from demonstrations: what likelihood makes of counts, of lines, of time.

Sources    bishop2006-prml  sections 1.2.5, 3.1 and 4.3

Truths are complex steps of a log-likelihood, which must vanish at its maximum, and a chain of
states walked step by step.
"""

import math
from typing import Any

import numpy as np

from refgen import ops, tree
from refgen.check import complex_step
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.models.policy import GaussianPolicy
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "imitation"
POLICY = GaussianPolicy(2, 3, hidden=4, depth=1)
ROUNDING = 1e-9
SLIDE = 'L0 "Imitation Learning as Conditional Generation"'


def _conditional_mle_counts(form: Form, noise: Noise) -> float:
    counts = 1.0 + noise.integers(9, (3, 4))  # of each action x0 in each situation c
    p = form(counts)

    def likelihood(a: Array) -> Array:
        return np.asarray(np.sum(counts * (a - np.log(np.sum(np.exp(a), axis=1, keepdims=True)))))

    slopes = [complex_step(likelihood, [np.log(p)], [np.reshape(e, (3, 4))]) for e in np.eye(12)]
    return largest(float(np.max(np.abs(slopes))), gap(np.sum(p, axis=1), np.ones(3)))


def _softmax_grad(form: Form, noise: Noise) -> float:
    chosen, logits = noise.at("chosen").integers(4, (5,)), 2 * noise.at("logits").normal((5, 4))

    def nll(a: Array) -> Array:
        return np.asarray(np.sum(np.log(np.sum(np.exp(a), axis=1)) - a[np.arange(5), chosen]))

    slopes = [complex_step(nll, [logits], [np.reshape(e, (5, 4))]) for e in np.eye(20)]
    return gap(form(chosen, logits), np.reshape(slopes, (5, 4)))


def _project_grad(chosen: Array, logits: Array) -> Array:
    _, cache = ops.categorical_nll_forward(chosen, logits)
    return np.asarray(ops.categorical_nll_backward(np.ones(len(chosen)), cache))


def _bc_gaussian_mle_is_ols(form: Form, noise: Noise) -> float:
    states, gain = noise.at("states").normal((12, 2)), noise.at("gain").normal((2, 3))
    actions = states @ gain + 0.5 * noise.at("actions").normal((12, 3))
    best, logvar = form(states, actions), noise.at("logvar").normal((3,))

    def nll(k: Array) -> Array:
        return np.asarray(np.sum(ops.gaussian_nll_forward(actions, states @ k, logvar)[0]))

    slopes = [complex_step(nll, [best], [np.reshape(e, (2, 3))]) for e in np.eye(6)]
    return float(np.max(np.abs(slopes)))


def _least_squares(states: Array, actions: Array) -> Array:
    return np.asarray(np.linalg.lstsq(states, actions, rcond=None)[0])


def _mse_is_gauss_mle(form: Form, noise: Noise) -> float:
    """Compare a gradient of −log N(a; f(s), σ² I) in f with the slope of ‖a − f(s)‖²/2σ²."""
    states, actions = noise.at("states").normal((5, 2)), noise.at("actions").normal((5, 3))
    params, along = (beds.random_tree(POLICY.init(Noise(0)), noise.at(k)) for k in ("at", "to"))
    var = 0.2 + 2 * float(noise.at("var").uniform(1)[0])
    params["logvar"] = np.full(3, math.log(var))

    def squares(mean: Any) -> Array:
        off = actions - POLICY.network.forward(mean, states)[0]
        return np.asarray(np.sum(off * off) / (2 * var))

    truth = beds.slope_along(squares, params["mean"], along["mean"])
    return gap(tree.dot(form(params, states, actions), along["mean"]), truth)


def _of_likelihood(params: Any, states: Array, actions: Array, factor: float = 1.0) -> Any:
    """Return the project's gradient in the network's parameters, times a factor."""
    _, cache = POLICY.forward(params, states, actions)
    return POLICY.backward(np.full(len(states), factor), cache)["mean"]


def _with_var(power: float) -> Form:
    """Return the gradient with another power of σ in the place of σ²."""

    def form(params: Any, states: Array, actions: Array) -> Any:
        log_std = 0.5 * float(params["logvar"][0])
        return _of_likelihood(params, states, actions, math.exp((2 - power) * log_std))

    return form


def _compounding_quadratic(form: Form, noise: Noise) -> float:
    steps = 300 + int(noise.at("steps").integers(200, 1)[0])
    error = (0.2 + float(noise.at("error").uniform(1)[0])) * 1e-2 / steps
    on_course, cost = 1.0, 0.0
    for _ in range(steps):
        on_course *= 1.0 - error  # who has left what was demonstrated does not come back
        cost += 1.0 - on_course
    return abs(float(form(error, steps)) / cost - 1.0)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="il.conditional_mle_counts",
        statement=r"\max_\theta\mathbb E_{\mathcal D}\log p_\theta(x_0\mid c):"
        r"\quad p^*(x_0\mid c)=\frac{n(c,x_0)}{\sum_xn(c,x)}",
        family=FAMILY,
        sources=(SLIDE,),
        right=lambda n: n / np.sum(n, axis=1, keepdims=True),
        wrong={
            "one policy for all c": lambda n: np.ones((3, 1)) * np.sum(n, axis=0) / np.sum(n),
            "given x0": lambda n: n / np.sum(n, axis=0),
            "the joint": lambda n: n / np.sum(n),
        },
        check=_conditional_mle_counts,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.softmax_grad",
        statement=r"\partial_{a_j}\bigl(-\log\mathrm{softmax}(a)_k\bigr)"
        r"=\mathrm{softmax}(a)_j-[j=k]",
        family=FAMILY,
        sources=("bishop2006-prml",),
        right=_project_grad,
        wrong={
            "the sign": lambda k, a: -_project_grad(k, a),
            "the probabilities alone": lambda k, a: _project_grad(k, a) + np.eye(4)[k],
            "a mean over the batch": lambda k, a: _project_grad(k, a) / len(k),
        },
        check=_softmax_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.bc_gaussian_mle_is_ols",
        statement=r"\max_K\mathbb E_{(s,a)}\log\mathcal N(a;Ks,\mathrm{diag}\,\sigma^2)"
        r"\equiv\min_K\sum\|a-Ks\|^2",
        family=FAMILY,
        sources=(SLIDE, 'L1 "[EXTRA] Gaussian\'s MLE = MSE"', "bishop2006-prml"),
        right=_least_squares,
        wrong={
            "states from actions": lambda s, a: np.linalg.pinv(_least_squares(a, s)),
            "one state at a time": lambda s, a: (s.T @ a) / np.sum(s * s, axis=0)[:, None],
            "shrunk": lambda s, a: np.linalg.solve(s.T @ s + np.eye(2), s.T @ a),
        },
        check=_bc_gaussian_mle_is_ols,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.mse_is_gauss_mle",
        statement=r"-\nabla_\theta\log\mathcal N(a;f_\theta(s),\sigma^2I)"
        r"=\frac1{2\sigma^2}\nabla_\theta\|a-f_\theta(s)\|^2",
        family=FAMILY,
        sources=('L1 "[EXTRA] Gaussian\'s MLE = MSE"', SLIDE, "bishop2006-prml"),
        right=_of_likelihood,
        wrong={
            "σ for σ²": _with_var(1.0),
            "no variance": _with_var(0.0),
            "no one half": lambda p, s, a: _of_likelihood(p, s, a, 2.0),
            "sign": lambda p, s, a: _of_likelihood(p, s, a, -1.0),
            "a mean over the actions": lambda p, s, a: _of_likelihood(p, s, a, 1 / a.shape[1]),
        },
        check=_mse_is_gauss_mle,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.compounding_quadratic",
        statement=r"\text{an error of rate }\varepsilon\text{ that is never mended costs }"
        r"\sum_{t\le T}\bigl(1-(1-\varepsilon)^t\bigr)\approx\tfrac12\varepsilon T^2",
        family=FAMILY,
        sources=(SLIDE,),
        right=lambda error, steps: 0.5 * error * steps**2,
        wrong={
            "linear in T": lambda error, steps: error * steps,
            "no one half": lambda error, steps: error * steps**2,
            "the error squared": lambda error, steps: 0.5 * (error * steps) ** 2,
        },
        check=_compounding_quadratic,
        tolerance=0.01,  # 1/T + T error / 3 with T at least 300
    ),
)
