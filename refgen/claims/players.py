r"""Claims on the gradients that the two players of the game follow.

Sources    goodfellow2014-gan  algorithm 1

Truths are complex steps through the value of the game written out, for an affine generator and a
discriminator with one hidden layer.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from refgen import ops
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.gan import FAMILY, GAME, log_fake, log_real
from refgen.claims.losses import ROUNDING, ROWS, affine, scaled, slope_gap
from refgen.claims.residual import largest
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives import Game
from refgen.objectives.gan import GENERATOR_LOSSES
from refgen.typing import Array


def _game(noise: Noise) -> tuple[Game, Any]:
    game = Game(mlp((2, 3)), mlp((3, 4, 1), "tanh"), latent=2)
    first = {
        "generator": game.generator.init(noise.at("generator")),
        "discriminator": game.discriminator.init(noise.at("discriminator")),
    }
    return game, beds.random_tree(first, noise.at("params"))


def _logit(theta: Any, x: Array) -> Array:
    return affine(theta["dense1"], np.tanh(affine(theta["dense0"], x)))


def _disc_theta_grad(form: Form, noise: Noise) -> float:
    game, params = _game(noise)
    data, where = noise.at("data").normal((ROWS, 3)), noise.at("z")
    samples = affine(params["generator"]["dense0"], where.normal((ROWS, 2)))

    def value(theta: Any) -> Array:
        return np.asarray(np.mean(log_real(_logit(theta, data)) + log_fake(_logit(theta, samples))))

    grads = form(game, params, data, where)
    return slope_gap(grads, value, params["discriminator"], noise.at("along"))


def _ascent(game: Game, params: Any, data: Array, where: Noise) -> Any:
    _, cache = game.discriminator_forward(params, data, where)
    return scaled(game.discriminator_backward(np.full(len(data), 1 / len(data)), cache), -1.0)


def _one_side(game: Game, params: Any, data: Array, where: Noise, *, side: int) -> Any:
    _, (*caches, loss_cache) = game.discriminator_forward(params, data, where)
    slopes = ops.discriminator_loss_backward(np.full(len(data), -1 / len(data)), loss_cache)
    return game.discriminator.backward(slopes[side][:, None], caches[side])[1]


def _gen_theta_grad(form: Form, noise: Noise) -> float:
    game, params = _game(noise)
    where, worst = noise.at("z"), 0.0
    z = where.normal((ROWS, 2))
    slopes = {"nonsaturating": lambda a: -log_real(a), "minimax": log_fake}
    for name in GENERATOR_LOSSES:

        def loss(theta: Any, name: str = name) -> Array:
            samples = affine(theta["dense0"], z)
            return np.asarray(np.mean(slopes[name](_logit(params["discriminator"], samples))))

        grads = form(replace(game, generator_loss=name), params, where)
        worst = largest(worst, slope_gap(grads, loss, params["generator"], noise.at("along")))
    return worst


def _descent(game: Game, params: Any, where: Noise) -> Any:
    _, cache = game.generator_forward(params, ROWS, where, np.float64)
    return game.generator_backward(np.full(ROWS, 1 / ROWS), cache)


def _other_loss(game: Game, params: Any, where: Noise) -> Any:
    (other,) = (name for name in GENERATOR_LOSSES if name != game.generator_loss)
    return _descent(replace(game, generator_loss=other), params, where)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gan.disc_theta_grad",
        statement=r"\nabla_{\theta_d}\tfrac1m\sum_i[\log D(x_i)+\log(1-D(G(z_i)))]"
        r"=\tfrac1m\sum_i[(1-D(x_i))\nabla a(x_i)-D(G(z_i))\nabla a(G(z_i))],\quad D=\sigma(a)",
        family=FAMILY,
        sources=(GAME, "goodfellow2014-gan"),
        right=_ascent,
        wrong={
            "the data only": lambda *case: _one_side(*case, side=0),
            "the samples only": lambda *case: _one_side(*case, side=1),
            "descent": lambda *case: scaled(_ascent(*case), -1.0),
            "the sum over the batch": lambda *case: scaled(_ascent(*case), ROWS),
        },
        check=_disc_theta_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.gen_theta_grad",
        statement=r"\nabla_{\theta_g}\tfrac1m\sum_iL(a(G(z_i)))"
        r"=\tfrac1m\sum_iL'(a)\,(\partial_{\theta_g}G(z_i))^\top\nabla_xa(G(z_i)),"
        r"\quad L'=-D\text{ or }-(1-D)",
        family=FAMILY,
        sources=(GAME, "goodfellow2014-gan"),
        right=_descent,
        wrong={
            "the other loss": _other_loss,
            "ascent": lambda *case: scaled(_descent(*case), -1.0),
            "the sum over the batch": lambda *case: scaled(_descent(*case), ROWS),
        },
        check=_gen_theta_grad,
        tolerance=ROUNDING,
    ),
)
