r"""Test beds of the latent-variable claims: small models, encoders, and their integrals.

Shapes     D data, L latent, M nodes.   x : (1, D)    mean : (L,)    cov : (L, L)    z : (M, L)
Sources    tipping1999-ppca  (the model);  trefethen2014-trapezoid  (the evidence)

Truths are integrals over z of densities written out here, so they share nothing with the closed
forms of exact/ but the model's numbers.
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.exact import LinearGaussian
from refgen.noise import Noise
from refgen.typing import Array

LOG_2PI = math.log(2 * math.pi)


class Case(NamedTuple):
    """One observation of a linear-Gaussian model, and an encoder's diagonal Gaussian for it."""

    model: LinearGaussian
    x: Array  # (1, D)
    mean: Array  # (L,)
    var: Array  # (L,)

    @property
    def cov(self) -> Array:
        """The encoder's covariance, (L, L)."""
        return np.diag(self.var)


def case(noise: Noise) -> Case:
    """Return a model of two latent and three data coordinates, its x, and a q that is not best."""
    weight, bias = noise.at("weight").normal((3, 2)), noise.at("bias").normal((3,))
    var = 0.05 + 0.4 * float(noise.at("var").uniform(1)[0])
    mean, spread = noise.at("mean").normal((2,)), 0.1 + noise.at("spread").uniform(2)
    return Case(LinearGaussian(weight, bias, var), noise.at("x").normal((1, 3)), mean, spread)


def nodes(mean: Array, cov: Array, count: int = 12) -> tuple[Array, Array]:
    """Return Gauss-Hermite points (M, L) and weights (M,) of N(mean, cov), for L = 1 or 2.

    Expectations of polynomials of degree 2 count − 1 are exact.
    """
    x, w = np.polynomial.hermite_e.hermegauss(count)
    w = w / math.sqrt(2 * math.pi)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[x] * mean.size)], axis=1)
    weights = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[w] * mean.size)]), axis=0)
    return mean + grid @ np.linalg.cholesky(cov).T, weights


def log_normal(x: Array, mean: Array, cov: Array) -> Array:
    """Return log N(x; mean, cov) of each row of x, (M,)."""
    r = x - mean
    square = np.sum(r * np.linalg.solve(cov, r.T).T, axis=1)
    log_p: Array = -0.5 * (square + r.shape[1] * LOG_2PI + np.log(np.linalg.det(cov)))
    return log_p


def log_joint(model: LinearGaussian, x: Array, z: Array) -> Array:
    """Return log p(x | z) + log p(z) of each row of z, (M,)."""
    d, latent = model.weight.shape
    likelihood = log_normal(x - z @ model.weight.T, model.bias, model.var * np.eye(d))
    return likelihood + log_normal(z, np.zeros(latent), np.eye(latent))


def evidence(model: LinearGaussian, x: Array) -> float:
    """Return log p(x) as the integral of p(x | z) p(z) over z, by the trapezoid rule.

    The grid is eight standard deviations around the maximum. Both are read off differences of
    the integrand's logarithm, which is quadratic, so that steps of 1 give its slope and
    curvature exactly.
    """

    def f(*z: Array) -> Array:
        return log_joint(model, x, np.stack(z))

    e0, e1 = np.eye(2)
    origin, plus0, minus0, plus1, minus1, both = f(0 * e0, e0, -e0, e1, -e1, e0 + e1)
    slope = 0.5 * np.array([plus0 - minus0, plus1 - minus1])
    mixed = plus0 + plus1 - origin - both
    curvature = np.array(
        [[2 * origin - plus0 - minus0, mixed], [mixed, 2 * origin - plus1 - minus1]]
    )
    cov = np.linalg.inv(curvature)
    line = np.linspace(-8.0, 8.0, 41)
    u = np.stack([g.ravel() for g in np.meshgrid(line, line)], axis=1)
    root = np.linalg.cholesky(cov)
    values = log_joint(model, x, cov @ slope + u @ root.T)
    cell = 0.4**2 * np.linalg.det(root)
    top = np.max(values)
    return float(top + np.log(cell * np.sum(np.exp(values - top))))


def kl(mean_q: Array, cov_q: Array, mean_p: Array, cov_p: Array) -> float:
    """Return KL[q ‖ p] of two Gaussians as the expectation that defines it."""
    z, weights = nodes(mean_q, cov_q)
    return float(weights @ (log_normal(z, mean_q, cov_q) - log_normal(z, mean_p, cov_p)))


def bound(c: Case) -> float:
    """Return E_q[log p(x, z) − log q(z)], exactly: the integrand is quadratic."""
    z, weights = nodes(c.mean, c.cov)
    return float(weights @ (log_joint(c.model, c.x, z) - log_normal(z, c.mean, c.cov)))
