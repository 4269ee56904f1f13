r"""Claims on averages: divergences, gradients and errors of expectations, and what PCA leaves over.

Sources    bishop2006-prml  sections 1.6 and 12.1

Truths come from a training (of a linear autoencoder), from a complex step through a quadrature,
or from counting.
"""

import math

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "inference"
ROUNDING = 1e-9
STANDARD_ERRORS = 5.0


def _linear_pca(form: Form, noise: Noise) -> float:
    # Singular values at least a third apart: every training converges.
    scales = np.array([8.0, 4.0, 2.0, 1.0, 0.5]) * (0.8 + 0.4 * noise.at("scales").uniform(5))
    left = np.linalg.qr(noise.at("points").normal((20, 5)))[0]
    right = np.linalg.qr(noise.at("axes").normal((5, 5)))[0]
    x = math.sqrt(20.0) * left * scales @ right
    worst = 0.0
    for k in (1, 2, 3):
        code = noise.at("start", k).normal((5, k))
        for _ in range(80):  # encode, decode by least squares, take the decoder's space
            code = np.linalg.qr(x.T @ (x @ code))[0]
        decoder = np.linalg.lstsq(x @ code, x, rcond=None)[0]
        loss = np.sum((x - x @ code @ decoder) ** 2) / len(x)
        worst = largest(worst, gap(form(x, k), loss))
    return worst


def _spectrum(x: Array) -> Array:
    """Return the eigenvalues of XᵀX / n, the largest first."""
    return np.linalg.svd(x, compute_uv=False) ** 2 / len(x)


def _grad_param_dist(form: Form, noise: Noise) -> float:
    theta, std = noise.at("theta").normal((1,)), 0.3 + noise.at("std").uniform(1)
    x, w = np.polynomial.hermite_e.hermegauss(40)
    w = w / math.sqrt(2 * math.pi)

    def f(t: Array, z: Array) -> Array:
        values: Array = np.sin(t * z) + z * z
        return values

    def mean(t: Array) -> Array:
        return np.asarray(np.sum(w * f(t, t + std * x)))

    truth = complex_step(mean, [theta], [np.ones(1)])
    z = theta + std * x
    score, df = (z - theta) / std**2, z * np.cos(theta * z)
    return gap(np.sum(w * form(f(theta, z), df, score)), truth)


def _discrete_nonneg(form: Form, noise: Noise) -> float:
    p, q, r, s = (np.exp(noise.at(k).normal((4,))) for k in range(4))
    p, q, r, s = (a / np.sum(a) for a in (p, q, r, s))
    pinsker = 0.5 * float(np.sum(np.abs(p - q))) ** 2  # KL is at least this
    pairs = form(np.outer(p, r).ravel(), np.outer(q, s).ravel()) - form(p, q) - form(r, s)
    value = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return largest(abs(form(p, q) - value), abs(form(p, p)), pinsker - form(p, q), abs(pairs))


def _cross_entropy(p: Array, q: Array) -> float:
    log_q = np.repeat(np.log(q)[None], p.size, axis=0)
    nll, _ = ops.categorical_nll_forward(np.arange(p.size), log_q)
    return float(p @ nll)


def _lln_se(form: Form, noise: Noise) -> float:
    batches, n = 1000, 100
    x = noise.uniform((batches, n))
    z = (np.mean(x, axis=1) - 0.5) / form(x)
    return float(abs(np.mean(z * z) - 1.0) / math.sqrt(2.0 / batches))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="ae.linear_pca",
        statement=r"\min_{D,E\ \mathrm{of\ rank}\ k}\tfrac1n\sum_i\|x_i-DEx_i\|^2"
        r"=\sum_{j>k}\lambda_j(\tfrac1nX^\top X)",
        family=FAMILY,
        sources=('L0 "Autoencoder - A Brief History"', "bishop2006-prml"),
        right=lambda x, k: np.sum(_spectrum(x)[k:]),
        wrong={
            "the eigenvalues that are kept": lambda x, k: np.sum(_spectrum(x)[:k]),
            "singular values, not squared": lambda x, k: np.sum(np.sqrt(_spectrum(x)[k:])),
            "data centred first": lambda x, k: np.sum(_spectrum(x - np.mean(x, axis=0))[k:]),
        },
        check=_linear_pca,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vi.grad_param_dist",
        statement=r"\nabla_\theta\mathbb E_{p_\theta}[f_\theta]=\int f_\theta\nabla_\theta p_\theta"
        r"+\mathbb E_{p_\theta}[\nabla_\theta f_\theta]",
        family=FAMILY,
        sources=('L1 "[EXTRA] Reparameterization Trick"',),
        right=lambda f, df, score: f * score + df,
        wrong={
            "only the gradient of f": lambda f, df, score: df,
            "only the gradient of p": lambda f, df, score: f * score,
            "the score's sign": lambda f, df, score: df - f * score,
        },
        check=_grad_param_dist,
        tolerance=ROUNDING,
    ),
    Claim(
        id="kl.discrete_nonneg",
        statement=r"D_{KL}(P\|Q)=\sum_xP(x)\log\frac{P(x)}{Q(x)}\ge0,\quad=0\iff P=Q",
        family=FAMILY,
        sources=(
            'L0 "Proof - VI Theorem"',
            'L2 "Variational AutoEncoder (VAE): Evidence Lower Bound"',
        ),
        right=lambda p, q: _cross_entropy(p, q) - _cross_entropy(p, p),
        wrong={
            "the ratio upside down": lambda p, q: _cross_entropy(p, p) - _cross_entropy(p, q),
            "averaged under Q": lambda p, q: _cross_entropy(q, q) - _cross_entropy(q, p),
            "entropy left out": _cross_entropy,
            "in bits": lambda p, q: (_cross_entropy(p, q) - _cross_entropy(p, p)) / math.log(2),
            "absolute terms": lambda p, q: float(np.sum(p * np.abs(np.log(p / q)))),
        },
        check=_discrete_nonneg,
        tolerance=ROUNDING,
    ),
    Claim(
        id="mc.lln_se",
        statement=r"\mathrm{SE}(\bar X_n)=s/\sqrt n",
        family=FAMILY,
        sources=('L1 "[EXTRA] Monte Carlo Method"',),
        right=lambda x: np.std(x, axis=1, ddof=1) / math.sqrt(x.shape[1]),
        wrong={
            "s / n": lambda x: np.std(x, axis=1, ddof=1) / x.shape[1],
            "s": lambda x: np.std(x, axis=1, ddof=1),
            "variance for s": lambda x: np.var(x, axis=1, ddof=1) / math.sqrt(x.shape[1]),
        },
        check=_lln_se,
        tolerance=STANDARD_ERRORS,
    ),
)
