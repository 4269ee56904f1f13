r"""Claims on gradients of expectations: past the draw, through the draw, and around it.

Sources    kingma2014-vae  sections 2.3 and 2.4;  rumelhart1986-backprop

Truths are complex steps through an integral: a density times a function on a fine grid, or the
closed form of a quadratic. The project's backward passes see nodes and weights instead of draws.
"""

import math

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims import latent
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "vae"
ROUNDING = 1e-9
TRICK = 'L1 "[EXTRA] Reparameterization Trick"'


def _encoder(noise: Noise) -> tuple[Array, Array]:
    return noise.at("mu").normal((1,)), -1.0 + 0.7 * noise.at("logvar").normal((1,))


def _gradient(mu: Array, logvar: Array, h: Form) -> list[float]:
    """Return the derivatives of E h in mu and in logvar; h may look at both too.

    The grid stands still, ten standard deviations around the mean, while the density moves.
    """
    grid = mu + np.exp(0.5 * logvar) * np.linspace(-10.0, 10.0, 801)

    def expectation(m: Array, v: Array) -> Array:
        log_density = -0.5 * ((grid - m) ** 2 * np.exp(-v) + v + latent.LOG_2PI)
        return np.asarray(np.sum(np.exp(log_density) * h(grid, m, v)) * (grid[1] - grid[0]))

    zero, one = np.zeros(1), np.ones(1)
    tangents = [one, zero], [zero, one]
    return [float(complex_step(expectation, [mu, logvar], t)) for t in tangents]


# Past the draw: the decoder's parameters


def _grad_theta_linear(form: Form, noise: Noise) -> float:
    c = latent.case(noise)
    z, weights = latent.nodes(c.mean, c.cov)

    def expected(w: Array, b: Array) -> Array:
        residual = c.x[0] - w @ c.mean - b
        square = np.sum(residual * residual) + np.sum(w * w * c.var)
        return np.asarray(-0.5 * square / c.model.var)

    tangents = noise.at("dw").normal((3, 2)), noise.at("db").normal((3,))
    truth = complex_step(expected, [c.model.weight, c.model.bias], tangents)
    dw, db = form(c, z, weights)
    return gap(np.sum(dw * tangents[0]) + np.sum(db * tangents[1]), truth)


def _decoder_gradient(c: latent.Case, z: Array, weights: Array) -> tuple[Array, Array]:
    """Return the gradient of the weighted log-likelihood by the project's backward passes."""
    decoded, dense_cache = ops.dense_forward(z, c.model.weight.T, c.model.bias)
    x, logvar = np.repeat(c.x, len(z), axis=0), np.full(3, math.log(c.model.var))
    _, nll_cache = ops.gaussian_nll_forward(x, decoded, logvar)
    _, dmean, _ = ops.gaussian_nll_backward(-weights, nll_cache)
    _, dw, db = ops.dense_backward(dmean, dense_cache)
    return dw.T, db


def _scaled(grads: tuple[Array, ...], factor: float) -> tuple[Array, ...]:
    return tuple(factor * g for g in grads)


# Around the draw: the score function


def _score_mean_zero(form: Form, noise: Noise) -> float:
    mu, logvar = _encoder(noise)
    x, weights = latent.nodes(np.zeros(1), np.eye(1), 40)
    z, n = mu + np.exp(0.5 * logvar) * x, len(x)
    value = form(z, np.repeat(mu[None], n, 0), logvar, weights)
    return largest(*(abs(np.sum(v)) for v in value))


def _score_not_pathwise(form: Form, noise: Noise) -> float:
    mu, logvar = _encoder(noise)
    target = float(noise.at("target").normal((1,))[0])

    def h(z: Array, m: Array, v: Array) -> Array:  # log p(x, z) − log q(z), both up to constants
        log_q = -0.5 * ((z - m) ** 2 * np.exp(-v) + v)
        return np.asarray(np.sin(z) - 0.5 * z * z - (z - target) ** 2 - log_q)

    x, weights = latent.nodes(np.zeros(1), np.eye(1), 40)
    z, n = mu + np.exp(0.5 * logvar) * x, len(x)
    value = form(z, np.repeat(mu[None], n, 0), logvar, weights * h(z, mu, logvar)[:, 0], weights)
    return gap([float(np.sum(v)) for v in value], _gradient(mu, logvar, h))


def _score(z: Array, mu: Array, logvar: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weighted gradient of log q(z) in mu and logvar, by the project's backward."""
    _, cache = ops.gaussian_nll_forward(z, mu, logvar)
    _, dmu, dlogvar = ops.gaussian_nll_backward(-weights, cache)
    return dmu, dlogvar


# Through the draw


def _reparam_grad(form: Form, noise: Noise) -> float:
    mu, logvar = _encoder(noise)
    x, weights = latent.nodes(np.zeros(1), np.eye(1), 40)
    n = len(x)
    z = mu + np.exp(0.5 * logvar) * x
    dz = weights[:, None] * (np.cos(z) + 3 * z * z)
    dmu, dlogvar = form(np.repeat(mu[None], n, 0), np.repeat(logvar[None], n, 0), x, dz)
    truth = _gradient(mu, logvar, lambda z, m, v: np.sin(z) + z**3)
    return gap([np.sum(dmu), np.sum(dlogvar)], truth)


def _through(mu: Array, logvar: Array, noise: Array, dz: Array) -> tuple[Array, Array]:
    _, cache = ops.reparameterize_forward(mu, logvar, noise)
    dmu, dlogvar, _ = ops.reparameterize_backward(dz, cache)
    return dmu, dlogvar


def _kl_grad(form: Form, noise: Noise) -> float:
    mu, logvar = _encoder(noise)

    def log_ratio(z: Array, m: Array, v: Array) -> Array:
        return np.asarray(-0.5 * ((z - m) ** 2 * np.exp(-v) + v - z * z))

    return gap(
        [float(g[0, 0]) for g in form(mu[None], logvar[None])], _gradient(mu, logvar, log_ratio)
    )


def _project_kl_grad(mu: Array, logvar: Array) -> tuple[Array, Array]:
    _, cache = ops.gaussian_kl_forward(mu, logvar)
    return ops.gaussian_kl_backward(np.ones(len(mu)), cache)


# No draw at all


def _recon_mse_grad(form: Form, noise: Noise) -> float:
    x, encoder, decoder = (noise.at(k).normal((4, 4)) for k in ("x", "encoder", "decoder"))
    encoder, decoder = encoder[:, :2], decoder[:2]

    def loss(e: Array, d: Array) -> Array:
        return np.asarray(np.sum((x - np.tanh(x @ e) @ d) ** 2) / len(x))

    tangents = noise.at("de").normal((4, 2)), noise.at("dd").normal((2, 4))
    truth = complex_step(loss, [encoder, decoder], tangents)
    grads = form(x, encoder, decoder)
    return gap(sum(np.sum(g * t) for g, t in zip(grads, tangents, strict=True)), truth)


def _autoencoder(
    x: Array, encoder: Array, decoder: Array, *, factor: float = 2.0, slope: bool = True
) -> tuple[Array, Array]:
    a, first = ops.dense_forward(x, encoder, np.zeros(2))
    code, squash = ops.tanh_forward(a)
    decoded, second = ops.dense_forward(code, decoder, np.zeros(4))
    dcode, ddecoder, _ = ops.dense_backward(factor * (decoded - x) / len(x), second)
    da = ops.tanh_backward(dcode, squash) if slope else dcode
    return ops.dense_backward(da, first)[1], ddecoder


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="ae.recon_mse_grad",
        statement=r"\nabla_{\theta,\phi}\tfrac1n\sum_i\|x_i-f_\theta(g_\phi(x_i))\|^2"
        r"=\tfrac2n\sum_i\bigl(\nabla f_\theta(g_\phi(x_i))\bigr)^\top(f_\theta(g_\phi(x_i))-x_i)",
        family=FAMILY,
        sources=('L0 "Autoencoders"', 'L2 "AutoEncoder (AE)"', "rumelhart1986-backprop"),
        right=_autoencoder,
        wrong={
            "the factor 2": lambda *a: _autoencoder(*a, factor=1.0),
            "the residual's sign": lambda *a: _autoencoder(*a, factor=-2.0),
            "the activation's slope": lambda *a: _autoencoder(*a, slope=False),
        },
        check=_recon_mse_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.grad_theta_linear",
        statement=r"\nabla_\theta\mathcal L=\mathbb E_q\nabla_\theta\log p_\theta(x\mid z)",
        family=FAMILY,
        sources=('L0 "VAE - Reparameterization Tricks"', "kingma2014-vae"),
        right=_decoder_gradient,
        wrong={
            "decode the mean": lambda c, z, w: _decoder_gradient(c, 0 * z + c.mean, w),
            "the sign": lambda c, z, w: _scaled(_decoder_gradient(c, z, w), -1.0),
            "no 1/sigma squared": lambda c, z, w: _scaled(_decoder_gradient(c, z, w), c.model.var),
            "z from the prior": lambda c, z, w: _decoder_gradient(
                c, *latent.nodes(np.zeros(2), np.eye(2))
            ),
        },
        check=_grad_theta_linear,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.score_mean_zero",
        statement=r"\mathbb E_{q_\phi}\nabla_\phi\log q_\phi=0",
        family=FAMILY,
        sources=('L0 "VAE - Reparameterization Tricks"',),
        right=_score,
        wrong={
            "the normaliser left out": lambda z, mu, v, w: (
                _score(z, mu, v, w)[0],
                _score(z, mu, v, w)[1] + 0.5,
            ),
            "the square of the residual": lambda z, mu, v, w: _score(z, mu, v, w * (z - mu)[:, 0]),
        },
        check=_score_mean_zero,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.score_not_pathwise",
        statement=r"\nabla_\phi\mathbb E_{q_\phi}[h_\phi]"
        r"=\mathbb E_{q_\phi}[h_\phi\nabla_\phi\log q_\phi]"
        r"\ne\mathbb E_{q_\phi}[\nabla_\phi h_\phi],\quad h_\phi=\log p_\theta(x,z)-\log q_\phi(z)",
        family=FAMILY,
        sources=('L0 "VAE - Reparameterization Tricks"', TRICK),
        right=lambda z, mu, v, wh, w: _score(z, mu, v, wh),
        wrong={
            "the gradient moved inside": lambda z, mu, v, wh, w: _scaled(_score(z, mu, v, w), -1.0),
            "the sign": lambda z, mu, v, wh, w: _score(z, mu, v, -wh),
            "in sigma, not in logvar": lambda z, mu, v, wh, w: (
                _score(z, mu, v, wh)[0],
                2 * np.exp(-0.5 * v) * _score(z, mu, v, wh)[1],
            ),
        },
        check=_score_not_pathwise,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.reparam_grad",
        statement=r"\nabla_\phi\mathbb E_{q_\phi}f(z)"
        r"=\mathbb E_\epsilon\nabla_\phi f(\mu_\phi+\sigma_\phi\odot\epsilon)",
        family=FAMILY,
        sources=(TRICK, 'L2 "VAE: Reparameterization Trick"', "kingma2014-vae"),
        right=_through,
        wrong={
            "through the mean only": lambda mu, v, e, dz: (dz, 0 * dz),
            "no one half": lambda mu, v, e, dz: (dz, 2 * _through(mu, v, e, dz)[1]),
            "no noise in it": lambda mu, v, e, dz: (dz, 0.5 * dz * np.exp(0.5 * v)),
            "the variance for sigma": lambda mu, v, e, dz: (dz, 0.5 * dz * np.exp(v) * e),
        },
        check=_reparam_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="vae.kl_grad",
        statement=r"\partial_\mu D_{KL}=\mu,\quad"
        r"\partial_{\log\sigma^2}D_{KL}=\tfrac12(\sigma^2-1)",
        family=FAMILY,
        sources=('L2 "Variational AutoEncoder (VAE): Details about Loss"', "kingma2014-vae"),
        right=_project_kl_grad,
        wrong={
            "sigma for sigma squared": lambda mu, v: (mu, 0.5 * (np.exp(0.5 * v) - 1)),
            "no one half": lambda mu, v: (mu, np.exp(v) - 1),
            "no - 1": lambda mu, v: (mu, 0.5 * np.exp(v)),
        },
        check=_kl_grad,
        tolerance=ROUNDING,
    ),
)
