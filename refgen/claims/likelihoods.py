r"""Claims on the Gaussians and Bernoullis that a variational autoencoder is made of.

Sources    kingma2014-vae  section 2.4 and appendix C;  bishop2006-prml  sections 1.6 and 2.3

Truths are expectations at Gauss-Hermite nodes, densities multiplied out, complex steps; the draw
is judged by its moments, in standard errors.
"""

import math
from typing import Any

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims import latent
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "vae"
ROUNDING = 1e-9
STANDARD_ERRORS = 5.0


def _gaussian(noise: Noise) -> Gaussian:
    root = noise.at("root").normal((2, 2))
    return Gaussian(noise.at("mean").normal((2,)), root @ root.T + 0.3 * np.eye(2))


def _kl_full(form: Form, noise: Noise) -> float:
    p, q = _gaussian(noise.at("p")), _gaussian(noise.at("q"))
    return gap(form(p, q), latent.kl(p.mean, p.cov, q.mean, q.cov))


def _log_det_ratio(p: Gaussian, q: Gaussian) -> float:
    return math.log(np.linalg.det(q.cov) / np.linalg.det(p.cov))


def _kl_same_var(form: Form, noise: Noise) -> float:
    p, q = noise.at("p").normal((2,)), noise.at("q").normal((2,))
    var = 0.2 + float(noise.at("var").uniform(1)[0])
    cov = var * np.eye(2)
    return gap(form(p, q, var), latent.kl(p, cov, q, cov))


def _reparam_sample(form: Form, noise: Noise) -> float:
    n, (shift, spread) = 20_000, noise.at("stats").uniform(2)
    mu, logvar = 1.0 + shift, 0.5 + spread  # where mu + sigma noise is like nothing else
    z = form(np.full((n, 1), mu), np.full((n, 1), logvar), noise.at("draw").normal((n, 1)))
    var = math.exp(logvar)
    off_mean = (np.mean(z) - mu) / math.sqrt(var / n)
    off_var = (np.mean((z - mu) ** 2) / var - 1) / math.sqrt(2 / n)
    return largest(abs(off_mean), abs(off_var))


def _gauss_loglik(form: Form, noise: Noise) -> float:
    x, mean, logvar = (
        noise.at(k).normal(s) for k, s in (("x", (4, 3)), ("mean", (4, 3)), ("v", 3))
    )
    std = np.exp(0.5 * logvar)
    density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (math.sqrt(2 * math.pi) * std)
    return gap(form(x, mean, logvar), -np.log(np.prod(density, axis=1)))


def _project_nll(x: Array, mean: Array, logvar: Array) -> Array:
    return ops.gaussian_nll_forward(x, mean, logvar)[0]


def mse_sum_is_sigma2_half(form: Form, noise: Noise) -> float:
    """Return how much the sum of squares less −log N(x; mean, form()) varies with x and mean."""
    x, mean = noise.at("x").normal((5, 3)), noise.at("mean").normal((5, 3))
    nll = _project_nll(x, mean, np.full(3, math.log(form())))
    rest = np.sum((x - mean) ** 2, axis=1) - nll  # the same for all five, if the loss is this nll
    return float(np.max(rest) - np.min(rest))


def _bce_bernoulli_grad(form: Form, noise: Noise) -> float:
    y, a = noise.at("y").uniform((4, 3)), 2 * noise.at("a").normal((4, 3))

    def bce(a: Array) -> Array:
        p = 1 / (1 + np.exp(-a))
        return -np.asarray(y * np.log(p) + (1 - y) * np.log(1 - p))

    return gap(form(y, a), complex_step(bce, [a], [np.ones((4, 3))]))


def _project_bce_grad(y: Array, a: Array) -> Any:
    _, cache = ops.bernoulli_nll_forward(y, a)
    return ops.bernoulli_nll_backward(np.ones(len(y)), cache)[1]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gauss.kl_full",
        statement=r"D_{KL}(\mathcal N(\mu_0,\Sigma_0)\|\mathcal N(\mu_1,\Sigma_1))="
        r"\tfrac12\bigl[\mathrm{tr}(\Sigma_1^{-1}\Sigma_0)-k"
        r"+(\mu_1-\mu_0)^\top\Sigma_1^{-1}(\mu_1-\mu_0)"
        r"+\ln\frac{\det\Sigma_1}{\det\Sigma_0}\bigr]",
        family=FAMILY,
        sources=('L0 "Variational Autoencoder"', "bishop2006-prml"),
        right=lambda p, q: p.kl(q),
        wrong={
            "the two exchanged": lambda p, q: q.kl(p),
            "no - k": lambda p, q: p.kl(q) + 0.5 * p.dim,
            "the determinants upside down": lambda p, q: p.kl(q) - _log_det_ratio(p, q),
            "the trace's inverse of the other": lambda p, q: (
                p.kl(q)
                + 0.5 * np.trace(np.linalg.solve(p.cov, q.cov) - np.linalg.solve(q.cov, p.cov))
            ),
        },
        check=_kl_full,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gauss.kl_same_var",
        statement=r"D_{KL}(\mathcal N(\mu_p,\sigma^2I)\|\mathcal N(\mu_q,\sigma^2I))"
        r"=\|\mu_p-\mu_q\|^2/(2\sigma^2)",
        family=FAMILY,
        sources=('L1 "[EXTRA] How about Prior matching Term?"', "ho2020-ddpm"),
        right=lambda p, q, var: Gaussian(p, var * np.eye(2)).kl(Gaussian(q, var * np.eye(2))),
        wrong={
            "sigma to the fourth": lambda p, q, var: np.sum((p - q) ** 2) / (2 * var**2),
            "D sigma squared": lambda p, q, var: np.sum((p - q) ** 2) / (2 * 2 * var),
            "no one half": lambda p, q, var: np.sum((p - q) ** 2) / var,
        },
        check=_kl_same_var,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gauss.reparam_sample",
        statement=r"\mu+\sigma\odot\epsilon\sim\mathcal N(\mu,\mathrm{diag}\,\sigma^2),"
        r"\quad\epsilon\sim\mathcal N(0,I)",
        family=FAMILY,
        sources=('L2 "VAE: Reparameterization Trick"', "kingma2014-vae"),
        right=lambda mu, logvar, noise: ops.reparameterize_forward(mu, logvar, noise)[0],
        wrong={
            "the variance for sigma": lambda mu, logvar, noise: mu + np.exp(logvar) * noise,
            "logvar for sigma": lambda mu, logvar, noise: mu + logvar * noise,
            "the mean scaled too": lambda mu, logvar, noise: np.exp(0.5 * logvar) * (mu + noise),
        },
        check=_reparam_sample,
        tolerance=STANDARD_ERRORS,
    ),
    Claim(
        id="vae.gauss_loglik",
        statement=r"-\log\mathcal N(x;D,\sigma^2I)=\tfrac{\|x-D\|^2}{2\sigma^2}"
        r"+\tfrac d2\log2\pi\sigma^2",
        family=FAMILY,
        sources=('L1 "Training"', "kingma2014-vae"),
        right=_project_nll,
        wrong={
            "no one half": lambda x, m, v: (
                _project_nll(x, m, v) + 0.5 * np.sum((x - m) ** 2 / np.exp(v), axis=1)
            ),
            "sigma for sigma squared": lambda x, m, v: _project_nll(x, m, 0.5 * v),
            "no log 2 pi": lambda x, m, v: _project_nll(x, m, v) - 1.5 * math.log(2 * math.pi),
            "the normaliser's sign": lambda x, m, v: (
                _project_nll(x, m, v) - np.sum(v + math.log(2 * math.pi))
            ),
        },
        check=_gauss_loglik,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.mse_sum_is_sigma2_half",
        statement=r"\|x-D\|^2=-\log\mathcal N(x;D,\sigma^2I)+\mathrm{const}"
        r"\iff\sigma^2=\tfrac12",
        family=FAMILY,
        sources=('L1 "[EXTRA] Gaussian\'s MLE = MSE"',),
        right=lambda: 0.5,
        wrong={"sigma squared = 1": lambda: 1.0, "sigma = 1/2": lambda: 0.25},
        check=mse_sum_is_sigma2_half,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.bce_bernoulli_grad",
        statement=r"\partial_a\mathrm{BCE}(y,\sigma(a))=\sigma(a)-y",
        family=FAMILY,
        sources=('L1 "[EXTRA] And actually... We can also use BCE"', "kingma2014-vae"),
        right=_project_bce_grad,
        wrong={
            "y - sigma(a)": lambda y, a: -_project_bce_grad(y, a),
            "times sigma'": lambda y, a: _project_bce_grad(y, a) * ops.sigmoid(a) * ops.sigmoid(-a),
            "a mean over the pixels": lambda y, a: _project_bce_grad(y, a) / y.shape[1],
        },
        check=_bce_bernoulli_grad,
        tolerance=ROUNDING,
    ),
)
