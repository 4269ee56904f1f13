r"""Test beds of the diffusion claims: small cases drawn from a place in the noise, and truths.

Shapes     schedule arrays : (T + 1,)    matrix, cov : (T + 1, T + 1)    x0, a point : (N,)
Sources    bishop2006-prml  section 2.3.1 (conditioning);  trefethen2014-trapezoid

Nothing here uses ᾱ or β̃: truths follow from q(x_t | x_{t−1}) alone, by linear algebra, by
quadrature, or by enumeration. A path of signs is enough for the latter: a quadratic has the
same expectation under signs ±1, each with probability ½, as under standard normals.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refgen import tree
from refgen.check.witness import complex_step
from refgen.exact import LinearGaussianChain, Mixture
from refgen.noise import Noise
from refgen.processes import Schedule, constant, cosine, linear, quadratic
from refgen.typing import Array

LOG_2PI = math.log(2 * math.pi)
HALF_WIDTH = 9.0  # standard deviations: the normal tail beyond is 1e-19


def between(noise: Noise, low: float, high: float) -> float:
    """Return one number, uniform between low and high."""
    return float(low + (high - low) * noise.uniform(1)[0])


def integer(noise: Noise, low: int, high: int) -> int:
    """Return one of low .. high."""
    return low + int(noise.integers(high - low + 1, 1)[0])


def some_schedule(noise: Noise, low: int = 4, high: int = 12) -> Schedule:
    """Return a short schedule of any kind, with steps large enough to tell forms apart."""
    T = integer(noise.at("T"), low, high)
    first, last = between(noise.at("first"), 0.02, 0.1), between(noise.at("last"), 0.2, 0.5)
    kinds = (
        lambda: linear(T, first, last),
        lambda: quadratic(T, first, last),
        lambda: constant(T, last),
        lambda: cosine(T),
    )
    return kinds[integer(noise.at("kind"), 0, 3)]()


def some_mixture(noise: Noise) -> Mixture:
    """Return two components on a line, clearly apart and clearly unequal."""
    weight = between(noise.at("weight"), 0.2, 0.4)
    means = np.array([[between(noise.at("left"), -2.0, -1.0)], [between(noise.at("right"), 1, 2)]])
    var = np.array([between(noise.at("var", k), 0.1, 0.4) for k in range(2)])
    return Mixture(np.array([weight, 1 - weight]), means, var)


def some_chain(noise: Noise, T: int = 6) -> LinearGaussianChain:
    """Return T arbitrary linear reverse kernels, not those of any data."""
    schedule = some_schedule(noise.at("schedule"), T, T)
    slope = 0.6 + 0.6 * noise.at("slope").uniform(T + 1)
    offset = 0.5 * noise.at("offset").normal(T + 1)
    return LinearGaussianChain(schedule, slope, offset, 0.2 + noise.at("var").uniform(T + 1))


def kept(schedule: Schedule, t: int) -> float:
    """Return the product of 1 − β up to t, the schedule's ᾱ_t told from β alone."""
    return math.prod(1 - float(beta) for beta in schedule.beta[1 : t + 1])


def walk_matrix(beta: Array) -> Array:
    """Return the matrix that makes (x_0, ..., x_T) from x_0 and the T draws of the steps."""
    rows = [np.eye(len(beta))[0]]
    for t in range(1, len(beta)):
        draw = np.eye(len(beta))[t]
        rows.append(math.sqrt(1 - beta[t]) * rows[-1] + math.sqrt(beta[t]) * draw)
    return np.stack(rows)


def walk_cov(beta: Array, var0: float) -> Array:
    """Return the covariance of (x_0, ..., x_T) when x_0 has the given variance."""
    matrix = walk_matrix(beta)
    scale = np.concatenate([[var0], np.ones(len(beta) - 1)])
    cov: Array = (matrix * scale) @ matrix.T
    return cov


def regression(cov: Array, of: int, on: list[int]) -> tuple[Array, float]:
    """Return the coefficients of one coordinate on others, and its variance given them."""
    weights = np.linalg.solve(cov[np.ix_(on, on)], cov[on, of])
    return weights, float(cov[of, of] - weights @ cov[on, of])


def posterior(schedule: Schedule, t: int, s: int | None = None) -> tuple[float, float, float]:
    """Return p, q and v of q(x_s | x_t, x_0) = N(p x_t + q x_0, v); s is t − 1 if not given."""
    s = t - 1 if s is None else s
    if s == 0:
        return 0.0, 1.0, 0.0
    (p, q), v = regression(walk_cov(schedule.beta, 1.0), s, [t, 0])
    return float(p), float(q), v


def log_normal(x: Array | float, mean: Array | float, var: Array | float) -> Array:
    """Return log N(x; mean, var)."""
    log_p: Array = -0.5 * ((x - mean) ** 2 / var + np.log(var) + LOG_2PI)
    return log_p


def line(centre: float, std: float, count: int = 400) -> tuple[Array, float]:
    """Return an even grid over the mass of a normal, and its spacing."""
    grid = centre + std * np.linspace(-HALF_WIDTH, HALF_WIDTH, count)
    return grid, float(grid[1] - grid[0])


def data_line(world: Mixture, count: int = 600) -> tuple[Array, Array]:
    """Return a grid over the data and the weight, density times spacing, of each point."""
    grid = np.linspace(-8.0, 8.0, count)
    return grid, np.exp(world.log_density(grid[:, None])) * (grid[1] - grid[0])


def mean_given(world: Mixture, x: Array, alpha_bar: float, f: Callable[[Array], Array]) -> Array:
    """Return E[f(x_0) | x_t = x], (N,), by Bayes' rule on a grid of x_0."""
    grid, weight = data_line(world)
    log_p = log_normal(x[:, None], math.sqrt(alpha_bar) * grid, 1 - alpha_bar)
    joint = weight * np.exp(log_p - np.max(log_p, axis=1, keepdims=True))
    mean: Array = joint @ f(grid) / np.sum(joint, axis=1)
    return mean


def normal_expectation(f: Callable[[Array], Array], mean: float, var: float) -> float:
    """Return E f under N(mean, var), exact for polynomials of degree 39."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    return float(weights @ f(mean + math.sqrt(var) * nodes)) / math.sqrt(2 * math.pi)


def kl(mean_q: float, var_q: float, mean_p: float, var_p: float) -> float:
    """Return KL[N(mean_q, var_q) ‖ N(mean_p, var_p)] as the expectation that defines it."""

    def log_ratio(x: Array) -> Array:
        return log_normal(x, mean_q, var_q) - log_normal(x, mean_p, var_p)

    return normal_expectation(log_ratio, mean_q, var_q)


def bound_by_paths(chain: LinearGaussianChain, x0: Array) -> Array:
    """Return E_q log p(x_{0:T}) / q(x_{1:T} | x0) over all paths of signs, (N,)."""
    beta = chain.schedule.beta
    T = len(beta) - 1
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=T)))
    draws = np.concatenate([np.zeros((len(signs), 1)), signs], axis=1)
    matrix = walk_matrix(beta)
    x = x0[:, None, None] * matrix[:, 0] + draws @ matrix.T  # (N, 2^T, T + 1)
    log_ratio = log_normal(x[..., -1], 0.0, 1.0)
    for t in range(1, T + 1):
        log_ratio = log_ratio - log_normal(
            x[..., t], math.sqrt(1 - beta[t]) * x[..., t - 1], beta[t]
        )
        mean = chain.slope[t] * x[..., t] + chain.offset[t]
        log_ratio = log_ratio + log_normal(x[..., t - 1], mean, chain.var[t])
    bound: Array = np.mean(log_ratio, axis=1)
    return bound


def random_tree(like: Any, noise: Noise) -> Any:
    """Return parameters of the same shapes, none of them 0 as some start."""
    flat = tree.flatten(like)
    return tree.unflatten({name: 0.5 * noise.at(name).normal(a.shape) for name, a in flat.items()})


def slope_along(f: Callable[[Any], Array], params: Any, along: Any) -> float:
    """Return the derivative of f, analytic in the parameters, along a tree of them."""

    def of_step(step: Array) -> Array:
        return f(tree.map(lambda p, v: p + step * v, params, along))

    return float(complex_step(of_step, [np.zeros(())], [np.ones(())]))
