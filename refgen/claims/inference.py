r"""Claims on latent variables: evidence, bound and posterior.

Sources    kingma2014-vae  section 2;  bishop2006-prml  section 9.4

Truths are integrals over z, from latent.py.
"""

import math

import numpy as np

from refgen import ops
from refgen.check import central_difference
from refgen.claims import latent
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.exact import Gaussian, LinearGaussian
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "inference"
ROUNDING = 1e-9


def _marginal_integral(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    return gap(form(c.model, c.x), latent.evidence(c.model, c.x))


def _bayes_evidence(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    z = noise.at("z").normal((9, 2))  # the same number, whichever z is asked
    return gap(form(c.model, np.repeat(c.x, 9, axis=0), z), latent.evidence(c.model, c.x))


def _log_posterior(model: LinearGaussian, x: Array, z: Array, cov: Array) -> Array:
    mean = (x - model.bias) @ model.weight @ cov / model.var
    return Gaussian(np.zeros(2), cov).log_density(z - mean)


def _bayes(model: LinearGaussian, x: Array, z: Array) -> Array:
    return model.log_joint(x, z) - _log_posterior(model, x, z, model.posterior(x)[1])


def _elbo_jensen(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    sharp = LinearGaussian(c.model.weight, c.model.bias, 0.001 * c.model.var)
    c = c._replace(model=sharp)  # log p(x, z) exceeds log p(x) only where a posterior is narrow
    log_p, worst = latent.evidence(c.model, c.x), 0.0
    best = c.model.posterior(c.x)[0][0]
    for scale in (1e-6, 0.01, 0.1, 1.0, 3.0):
        for far in (0.0, 0.5, 2.0):
            q = c._replace(mean=best + far * c.mean, var=scale * c.var)
            worst = largest(worst, form(q) - log_p)
    return worst


def _expected_log_joint(c: latent.Case) -> float:
    z, weights = latent.nodes(c.mean, c.cov)
    return float(weights @ latent.log_joint(c.model, c.x, z))


def _elbo(c: latent.Case) -> float:
    return float(c.model.elbo(c.x, c.mean[None], c.cov)[0])


def _prior_cost(c: latent.Case) -> float:
    return float(ops.gaussian_kl_forward(c.mean[None], np.log(c.var)[None])[0][0])


def _gap_is_kl(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    mean, cov = c.model.posterior(c.x)
    missing = latent.evidence(c.model, c.x) - latent.bound(c)
    return gap(form(Gaussian(c.mean, c.cov), Gaussian(mean[0], cov)), missing)


def _elbo_max_is_posterior(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    mean, cov = form(c.model, c.x)
    direction = noise.at("dmean").normal((1, 2))
    spread = noise.at("dcov").normal((2, 2))
    slope = central_difference(
        lambda m, s: c.model.elbo(c.x, m, s),
        [mean, cov],
        [direction, cov @ (spread + spread.T) @ cov],
    ).value
    value = c.model.elbo(c.x, mean, cov)
    return largest(gap(value, latent.evidence(c.model, c.x)), float(np.abs(slope[0])))


def _least_squares(model: LinearGaussian, x: Array) -> tuple[Array, Array]:
    cov = np.linalg.inv(model.weight.T @ model.weight / model.var)
    return (x - model.bias) @ model.weight @ cov / model.var, cov


def _unit_noise(model: LinearGaussian, x: Array) -> tuple[Array, Array]:
    return LinearGaussian(model.weight, model.bias, 1.0).posterior(x)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="vi.marginal_integral",
        statement=r"p_\theta(x)=\int p_\theta(x\mid z)\,p(z)\,dz=\mathcal N(x;b,WW^\top+\sigma^2I)"
        r"\ \text{for a linear decoder}",
        family=FAMILY,
        sources=('L0 "Variational Autoencoder"', 'L1 "Back to VAE..."', "tipping1999-ppca"),
        right=lambda m, x: m.log_density(x),
        wrong={
            "sigma for sigma squared": lambda m, x: LinearGaussian(
                m.weight, m.bias, math.sqrt(m.var)
            ).log_density(x),
            "the mean decoded, z = 0": lambda m, x: m.log_likelihood(x, np.zeros((1, 2))),
            "W for W W^T": lambda m, x: LinearGaussian(
                m.weight / np.linalg.norm(m.weight), m.bias, m.var
            ).log_density(x),
        },
        check=_marginal_integral,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vi.bayes_evidence",
        statement=r"p_\theta(x)=p_\theta(x\mid z)\,p(z)\,/\,p_\theta(z\mid x)\quad\forall z",
        family=FAMILY,
        sources=('L1 "Bayes\' Rule"', 'L2 "Variational AutoEncoder (VAE): Evidence Lower Bound"'),
        right=_bayes,
        wrong={
            "the prior left out": lambda m, x, z: (
                m.log_likelihood(x, z) - _log_posterior(m, x, z, m.posterior(x)[1])
            ),
            "times the posterior": lambda m, x, z: (
                m.log_joint(x, z) + _log_posterior(m, x, z, m.posterior(x)[1])
            ),
            "posterior of unit noise": lambda m, x, z: (
                m.log_joint(x, z) - _log_posterior(m, x, z, _unit_noise(m, x)[1])
            ),
        },
        check=_bayes_evidence,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vi.elbo_jensen",
        statement=r"\log p_\theta(x)\ge\mathbb E_q\log\frac{p_\theta(x,z)}{q(z\mid x)}",
        family=FAMILY,
        sources=('L1 "Evidence Lower Bound (ELBO)"', "kingma2014-vae"),
        right=_elbo,
        wrong={
            "the ratio upside down": lambda c: -_elbo(c),
            "the entropy of q left out": _expected_log_joint,
            "KL added": lambda c: _elbo(c) + 2 * _prior_cost(c),
        },
        check=_elbo_jensen,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vi.gap_is_kl",
        statement=r"\log p_\theta(x)-\mathrm{ELBO}=D_{KL}(q(z\mid x)\,\|\,p_\theta(z\mid x))",
        family=FAMILY,
        sources=('L0 "Proof - VI Theorem"', "kingma2014-vae"),
        right=lambda q, p: q.kl(p),
        wrong={
            "KL reversed": lambda q, p: p.kl(q),
            "mean of both directions": lambda q, p: 0.5 * (q.kl(p) + p.kl(q)),
            "to the prior": lambda q, p: q.kl(Gaussian(np.zeros(2), np.eye(2))),
        },
        check=_gap_is_kl,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vi.elbo_max_is_posterior",
        statement=r"\log p_\theta(x)=\max_q\int q\log\frac{p_\theta(x,z)}q\,dz,"
        r"\quad q^*=p_\theta(z\mid x)",
        family=FAMILY,
        sources=('L0 "Variational Inference"', "kingma2014-vae"),
        right=lambda m, x: m.posterior(x),
        wrong={
            "the prior forgotten": _least_squares,
            "noise of variance 1": _unit_noise,
            "twice the spread": lambda m, x: (m.posterior(x)[0], 2 * m.posterior(x)[1]),
        },
        check=_elbo_max_is_posterior,
        tolerance=1e-7,
    ),
)
