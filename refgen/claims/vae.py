r"""Claims on the variational autoencoder: its two terms, and the closed form of the KL.

Sources    kingma2014-vae  sections 2 and 3, appendix B;  bishop2006-prml  section 9.4

Truths are expectations of logarithms of densities, by Gauss-Hermite nodes (latent.py).
"""

import math

import numpy as np

from refgen import ops
from refgen.claims import latent
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "vae"
ROUNDING = 1e-9
LOSS_SLIDE = 'L2 "Variational AutoEncoder (VAE): Details about Loss"'


def _elbo_recon_minus_kl(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    return gap(form(c), latent.bound(c))


def _recon_minus_kl(
    c: latent.Case, *, sign: float = -1.0, share: float = 1.0, spread: float = 1.0
) -> float:
    """Return the bound from the project's two losses, over nodes instead of draws."""
    noise, weights = latent.nodes(np.zeros(2), np.eye(2))
    mu, logvar = (
        np.repeat(c.mean[None], len(noise), 0),
        np.repeat(np.log(c.var)[None], len(noise), 0),
    )
    z, kl, _ = ops.reparameterize_kl_forward(mu, logvar, spread * noise)
    decoded = z @ c.model.weight.T + c.model.bias
    nll, _ = ops.gaussian_nll_forward(c.x, decoded, np.full(3, math.log(c.model.var)))
    return float(weights @ (-nll + sign * share * kl))


def _logp_threeterm(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    mean, cov = c.model.posterior(c.x)
    z, weights = latent.nodes(c.mean, c.cov)
    recon = float(weights @ c.model.log_likelihood(np.repeat(c.x, len(z), axis=0), z))
    q, posterior = Gaussian(c.mean, c.cov), Gaussian(mean[0], cov)
    prior = Gaussian(np.zeros(2), np.eye(2))
    return gap(form(recon, q, prior, posterior), latent.evidence(c.model, c.x))


def _linear_recon_expect(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    z, weights = latent.nodes(c.mean, c.cov)
    square = np.sum((c.x - z @ c.model.weight.T - c.model.bias) ** 2, axis=1)
    return gap(form(c), weights @ square)


def _expected_square(c: latent.Case) -> float:
    """Return what the exact bound holds for the expected squared residual."""
    bound = c.model.elbo(c.x, c.mean[None], c.cov)[0]
    kl = Gaussian(c.mean, c.cov).kl(Gaussian(np.zeros(2), np.eye(2)))
    return float(
        -2 * c.model.var * (bound + kl) - c.model.var * 3 * math.log(2 * math.pi * c.model.var)
    )


def _square_of_mean(c: latent.Case) -> float:
    return float(np.sum((c.x - c.mean @ c.model.weight.T - c.model.bias) ** 2))


def _kl_diag_gaussian(form: Form, noise: Noise) -> float:
    mu, logvar = noise.at("mu").normal((4, 2)), noise.at("logvar").normal((4, 2))
    prior = np.zeros(2), np.eye(2)
    truth = [latent.kl(m, np.diag(np.exp(v)), *prior) for m, v in zip(mu, logvar, strict=True)]
    return gap(form(mu, logvar), truth)


def _project_kl(mu: Array, logvar: Array) -> Array:
    return ops.gaussian_kl_forward(mu, logvar)[0]


def _kl_isotropic(form: Form, noise: Noise) -> float:
    mu, logvar = noise.at("mu").normal((1, 2)), float(noise.at("logvar").normal((1,))[0])
    truth = latent.kl(mu[0], math.exp(logvar) * np.eye(2), np.zeros(2), np.eye(2))
    return gap(form(mu, math.exp(logvar)), truth)


def _kl_code_logvar(form: Form, noise: Noise) -> float:
    mu, ell = noise.at("mu").normal((3, 2)), noise.at("ell").normal((3, 2))
    std = ops.reparameterize_forward(0 * mu, ell, np.ones((3, 2)))[0]  # what the draw makes of ell
    prior = np.zeros(2), np.eye(2)
    truth = sum(latent.kl(m, np.diag(s * s), *prior) for m, s in zip(mu, std, strict=True))
    return gap(form(mu, ell), truth)


def _kl_univariate_general(form: Form, noise: Noise) -> float:
    mean_q, mean_p = noise.at("mean").normal((2,))
    std_q, std_p = 0.3 + noise.at("std").uniform(2)
    q, p = (
        (np.array([mean_q]), np.array([[std_q**2]])),
        (np.array([mean_p]), np.array([[std_p**2]])),
    )
    return gap(form(mean_q, std_q, mean_p, std_p), -latent.kl(*q, *p))


def _minus_project_kl(mean_q: float, std_q: float, mean_p: float, std_p: float) -> float:
    q = Gaussian(np.array([mean_q]), np.array([[std_q**2]]))
    return -q.kl(Gaussian(np.array([mean_p]), np.array([[std_p**2]])))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="vae.elbo_recon_minus_kl",
        statement=r"\mathcal L=\mathbb E_q\log p_\theta(x\mid z)-D_{KL}(q_\phi(z\mid x)\|p(z))",
        family=FAMILY,
        sources=(
            'L0 "Variational Autoencoder"',
            'L1 "Evidence Lower Bound (ELBO)"',
            "kingma2014-vae",
        ),
        right=_recon_minus_kl,
        wrong={
            "plus the KL": lambda c: _recon_minus_kl(c, sign=1.0),
            "KL a mean over dimensions": lambda c: _recon_minus_kl(c, share=0.5),
            "decode the mean": lambda c: _recon_minus_kl(c, spread=0.0),
        },
        check=_elbo_recon_minus_kl,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.logp_threeterm",
        statement=r"\log p_\theta(x)=\mathbb E_q\log p_\theta(x\mid z)-D_{KL}(q\|p(z))"
        r"+D_{KL}(q\|p_\theta(z\mid x))",
        family=FAMILY,
        sources=('L2 "Variational AutoEncoder (VAE): Evidence Lower Bound"',),
        right=lambda recon, q, prior, posterior: recon - q.kl(prior) + q.kl(posterior),
        wrong={
            "both KL subtracted": lambda recon, q, prior, posterior: (
                recon - q.kl(prior) - q.kl(posterior)
            ),
            "the last KL reversed": lambda recon, q, prior, posterior: (
                recon - q.kl(prior) + posterior.kl(q)
            ),
            "without the last KL": lambda recon, q, prior, posterior: recon - q.kl(prior),
        },
        check=_logp_threeterm,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.linear_recon_expect",
        statement=r"\mathbb E_q\|x-Wz-b\|^2=\|x-W\mu-b\|^2+\mathrm{tr}(W\Sigma_qW^\top)",
        family=FAMILY,
        sources=('L0 "Variational Autoencoder"', "tipping1999-ppca"),
        right=_expected_square,
        wrong={
            "decode the mean": _square_of_mean,
            "W left out of the trace": lambda c: _square_of_mean(c) + np.sum(c.var),
            "the trace of W W^T": lambda c: _square_of_mean(c) + np.sum(c.model.weight**2),
        },
        check=_linear_recon_expect,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.kl_diag_gaussian",
        statement=r"D_{KL}(\mathcal N(\mu,\mathrm{diag}\,\sigma^2)\|\mathcal N(0,I))"
        r"=\tfrac12\sum_j(\sigma_j^2+\mu_j^2-1-\log\sigma_j^2)",
        family=FAMILY,
        sources=('L0 "Variational Autoencoder"', LOSS_SLIDE, "kingma2014-vae"),
        right=_project_kl,
        wrong={
            "sigma for sigma squared": lambda mu, v: _project_kl(mu, 0.5 * v),
            "no one half": lambda mu, v: 2 * _project_kl(mu, v),
            "no - 1": lambda mu, v: _project_kl(mu, v) + 0.5 * mu.shape[1],
            "the logarithm's sign": lambda mu, v: _project_kl(mu, v) + np.sum(v, axis=1),
        },
        check=_kl_diag_gaussian,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.kl_isotropic",
        statement=r"D_{KL}(\mathcal N(\mu,\sigma^2I_k)\|\mathcal N(0,I))"
        r"=\tfrac12\bigl(k(\sigma^2-1-\log\sigma^2)+\|\mu\|^2\bigr)",
        family=FAMILY,
        sources=('L1 "[EXTRA] How about Prior matching Term?"',),
        right=lambda mu, var: _project_kl(mu, np.full(mu.shape, math.log(var))),
        wrong={
            "k left out": lambda mu, var: 0.5 * (var - 1 - math.log(var) + np.sum(mu * mu)),
            "k times the mean too": lambda mu, var: (
                0.5 * 2 * (var - 1 - math.log(var) + np.sum(mu * mu))
            ),
            "k times the variance only": lambda mu, var: (
                0.5 * (2 * var - 1 - math.log(var) + np.sum(mu * mu))
            ),
        },
        check=_kl_isotropic,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.kl_code_logvar",
        statement=r"D_{KL}=-\tfrac12\sum(1+\ell-\mu^2-e^{\ell}),\quad\ell=\log\sigma^2",
        family=FAMILY,
        sources=('L1 "[EXTRA] How about Prior matching Term?"',),
        right=lambda mu, ell: np.sum(_project_kl(mu, ell)),
        wrong={
            "l read as log sigma": lambda mu, ell: np.sum(_project_kl(mu, 2 * ell)),
            "a mean over everything": lambda mu, ell: np.mean(_project_kl(mu, ell)) / 2,
            "the sign": lambda mu, ell: -np.sum(_project_kl(mu, ell)),
        },
        check=_kl_code_logvar,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.kl_univariate_general",
        statement=r"-D_{KL}(\mathcal N(\mu_q,\sigma_q^2)\|\mathcal N(\mu_p,\sigma_p^2))"
        r"=\log\frac{\sigma_q}{\sigma_p}-\frac{\sigma_q^2+(\mu_q-\mu_p)^2}{2\sigma_p^2}+\tfrac12",
        family=FAMILY,
        sources=(LOSS_SLIDE,),
        right=_minus_project_kl,
        wrong={
            "q and p exchanged": lambda mq, sq, mp, sp: _minus_project_kl(mp, sp, mq, sq),
            "the sign": lambda mq, sq, mp, sp: -_minus_project_kl(mq, sq, mp, sp),
            "the logarithm upside down": lambda mq, sq, mp, sp: (
                _minus_project_kl(mq, sq, mp, sp) - 2 * math.log(sq / sp)
            ),
            "no one half": lambda mq, sq, mp, sp: _minus_project_kl(mq, sq, mp, sp) - 0.5,
        },
        check=_kl_univariate_general,
        tolerance=ROUNDING,
    ),
)
