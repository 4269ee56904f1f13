r"""Claims on the losses of the autoencoder and of the flow, and on what reaches their networks.

Sources    kingma2014-vae  section 2.3;  dinh2017-realnvp  eq. 2-3

A gradient's truth is a complex step, along one direction of all parameters at once, through the
loss written out here; an estimate's is the bound by Gauss-Hermite nodes, in standard errors.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refgen import ops, tree
from refgen.claims import beds, latent
from refgen.claims.claim import Claim, Form
from refgen.claims.flows import FLOW_SLIDE, some_flow
from refgen.claims.residual import largest
from refgen.models import CouplingFlow, mlp
from refgen.noise import Noise
from refgen.objectives import Elbo, NegativeLogLikelihood
from refgen.typing import Array

ROUNDING = 1e-9
STANDARD_ERRORS = 5.0
ROWS = 5  # of a minibatch


def slope_gap(grads: Any, loss: Callable[[Any], Array], params: Any, noise: Noise) -> float:
    """Return how far grads along a random direction are from the slope of the loss."""
    along = beds.random_tree(params, noise)
    slope = beds.slope_along(loss, params, along)
    return abs(tree.dot(grads, along) - slope) / largest(1.0, abs(slope))


def scaled(grads: Any, factor: float) -> Any:
    """Return every gradient times a factor."""
    return tree.map(lambda g: factor * g, grads)


def affine(params: Any, x: Array) -> Array:
    """Return x W + b, a dense layer written out."""
    y: Array = x @ params["w"] + params["b"]
    return y


# The autoencoder: affine maps from 3 data to 2 latent coordinates and back


def _elbo(var: float) -> Elbo:
    return Elbo(mlp((3, 4)), mlp((2, 3)), var=var)


def _estimate_unbiased(form: Form, noise: Noise) -> float:
    c, n = latent.case(noise), 20_000
    c = c._replace(var=0.05 * c.var)  # narrow: the KL stands out from the noise of the draws
    encoder = {"w": np.zeros((3, 4)), "b": np.concatenate([c.mean, np.log(c.var)])}
    decoder = {"w": c.model.weight.T, "b": c.model.bias}
    params = {"encoder": {"dense0": encoder}, "decoder": {"dense0": decoder}}
    losses = form(_elbo(c.model.var), params, np.repeat(c.x, n, axis=0), noise.at("draws"))
    z, weights = latent.nodes(c.mean, c.cov)
    recon = latent.log_joint(c.model, c.x, z) - latent.log_normal(z, np.zeros(2), np.eye(2))
    var = float(weights @ recon**2 - (weights @ recon) ** 2)
    return abs(float(np.mean(losses)) + latent.bound(c)) / math.sqrt(var / n)


def _terms(objective: Elbo, params: Any, x: Array, where: Noise) -> tuple[Array, Array, Array]:
    terms, _ = objective.forward(params, x, where)
    return terms["loss"], terms["recon"], terms["kl"]


def _without_kl(
    objective: Elbo, params: Any, x: Array, where: Noise, *, times: float = 0.0
) -> Array:
    _, recon, kl = _terms(objective, params, x, where)
    return recon + times * kl


def _elbo_grad(form: Form, noise: Noise) -> float:
    objective = _elbo(beds.between(noise.at("var"), 0.2, 2.0))
    params = beds.random_tree(_autoencoder_init(objective, noise), noise.at("params"))
    x, where = noise.at("x").normal((ROWS, 3)), noise.at("draws")
    draws = where.normal((ROWS, 2))

    def loss(p: Any) -> Array:
        stats = affine(p["encoder"]["dense0"], x)
        mu, logvar = stats[:, :2], stats[:, 2:]
        residual = x - affine(p["decoder"]["dense0"], mu + np.exp(0.5 * logvar) * draws)
        kl = 0.5 * np.sum(mu * mu + np.exp(logvar) - logvar, axis=1)
        return np.asarray(np.mean(np.sum(residual**2, axis=1) / (2 * objective.var) + kl))

    return slope_gap(form(objective, params, x, where), loss, params, noise.at("along"))


def _autoencoder_init(objective: Elbo, noise: Noise) -> Any:
    return {
        "encoder": objective.encoder.init(noise.at("encoder")),
        "decoder": objective.decoder.init(noise.at("decoder")),
    }


def _elbo_gradient(objective: Elbo, params: Any, x: Array, where: Noise) -> Any:
    _, cache = objective.forward(params, x, where)
    return objective.backward(np.full(len(x), 1 / len(x)), cache)


def _by_hand(
    objective: Elbo,
    params: Any,
    x: Array,
    where: Noise,
    *,
    draw: float,
    kl: float,
    half: float = 1.0,
) -> Any:
    """Return the gradient with weights on what the encoder hears, and on what its logvar hears."""
    stats, encoder_cache = objective.encoder.forward(params["encoder"], x)
    mu, logvar = np.split(stats, 2, axis=1)
    z, _, draw_cache = ops.reparameterize_kl_forward(mu, logvar, where.normal(mu.shape))
    decoded, decoder_cache = objective.decoder.forward(params["decoder"], z)
    ddecoded = (decoded - x) / objective.var / len(x)
    dz, decoder_grads = objective.decoder.backward(ddecoded, decoder_cache)
    dkl = np.full(len(x), kl / len(x))
    dmu, dlogvar = ops.reparameterize_kl_backward(draw * dz, dkl, draw_cache)
    dstats = np.concatenate([dmu, half * dlogvar], axis=1)
    _, encoder_grads = objective.encoder.backward(dstats, encoder_cache)
    return {"encoder": encoder_grads, "decoder": decoder_grads}


VAE: tuple[Claim, ...] = (
    Claim(
        id="vae.estimate_unbiased",
        statement=r"\mathbb E_\epsilon\bigl[-\log p_\theta(x\mid\mu+\sigma\odot\epsilon)"
        r"+D_{KL}(q_\phi\|p)\bigr]=-\mathrm{ELBO}",
        family="vae",
        sources=('L2 "Variational AutoEncoder (VAE): Details about Loss"', "kingma2014-vae"),
        right=lambda *case: _terms(*case)[0],
        wrong={
            "no KL": _without_kl,
            "the KL subtracted": lambda *case: _without_kl(*case, times=-1.0),
            "KL a mean over dimensions": lambda *case: _without_kl(*case, times=0.5),
            "a decoder of variance 1": lambda o, *case: _terms(replace(o, var=1.0), *case)[0],
        },
        check=_estimate_unbiased,
        tolerance=STANDARD_ERRORS,
    ),
    Claim(
        id="vae.elbo_grad",
        statement=r"\nabla_\phi\bigl[-\log p_\theta(x\mid z)+D_{KL}\bigr]"
        r"=(\partial_\phi z)^\top\nabla_z[-\log p_\theta(x\mid z)]+\nabla_\phi D_{KL},"
        r"\quad z=\mu_\phi+\sigma_\phi\odot\epsilon",
        family="vae",
        sources=('L2 "VAE: Reparameterization Trick"', "kingma2014-vae"),
        right=_elbo_gradient,
        wrong={
            "the draw taken for a constant": lambda *case: _by_hand(*case, draw=0.0, kl=1.0),
            "no KL": lambda *case: _by_hand(*case, draw=1.0, kl=0.0),
            "the KL's sign": lambda *case: _by_hand(*case, draw=1.0, kl=-1.0),
            "no one half": lambda *case: _by_hand(*case, draw=1.0, kl=1.0, half=2.0),
            "the sum over the batch": lambda *case: scaled(_elbo_gradient(*case), ROWS),
        },
        check=_elbo_grad,
        tolerance=ROUNDING,
    ),
)


# The flow


def _nll_grad(form: Form, noise: Noise) -> float:
    flow, params, x = some_flow(noise)

    def loss(p: Any) -> Array:
        z, logdet, _ = flow.forward(p, x)  # judged by nf.composition_logdet
        return np.asarray(np.mean(0.5 * np.sum(z * z, axis=1) - logdet))

    return slope_gap(form(flow, params, x), loss, params, noise.at("along"))


def _nll_gradient(flow: CouplingFlow, params: Any, x: Array) -> Any:
    objective = NegativeLogLikelihood(flow)
    return objective.backward(np.full(len(x), 1 / len(x)), objective.forward(params, x)[1])


def _pulled(flow: CouplingFlow, params: Any, x: Array, *, times: float) -> Any:
    z, _, cache = flow.forward(params, x)
    return flow.backward(z / len(x), np.full(len(x), times / len(x)), cache)[1]


FLOWS: tuple[Claim, ...] = (
    Claim(
        id="nf.nll_grad",
        statement=r"\nabla_\theta[-\log p(x)]=(\partial_\theta z)^\top z"
        r"-\nabla_\theta\log\Bigl|\det\frac{\partial z}{\partial x}\Bigr|",
        family="flows",
        sources=(FLOW_SLIDE, "dinh2017-realnvp"),
        right=_nll_gradient,
        wrong={
            "no determinant": lambda *case: _pulled(*case, times=0.0),
            "the determinant's sign": lambda *case: _pulled(*case, times=1.0),
            "the sum over the batch": lambda flow, p, x: scaled(_nll_gradient(flow, p, x), len(x)),
        },
        check=_nll_grad,
        tolerance=ROUNDING,
    ),
)
