r"""Claims on the adversarial game: its optimum, and the slopes of its losses.

Sources    goodfellow2014-gan  algorithm 1, sections 3 and 4

Truths are maxima found point by point, complex steps through log D and log(1 − D) written out,
and sums over points.
"""

import math

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "gan"
ROUNDING = 1e-9
GAME = 'L4 "Generative Adversarial Networks"'
PAPER = "goodfellow2014-gan"


# The optimum


def _densities(noise: Noise, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return two positive arrays that sum to 1: real, generated."""
    weights = (np.exp(noise.at(k).normal(shape)) for k in ("real", "generated"))
    real, generated = (w / np.sum(w) for w in weights)
    return real, generated


def _best(real: Array, generated: Array) -> Array:
    """Return the D of each point that maximises real log D + generated log(1 − D), by bisection."""
    low, high = np.zeros_like(real), np.ones_like(real)
    for _ in range(60):
        d = 0.5 * (low + high)
        rise = complex_step(
            lambda d: real * np.log(d) + generated * np.log(1 - d), [d], [np.ones_like(d)]
        )
        low, high = np.where(rise > 0, d, low), np.where(rise > 0, high, d)
    return 0.5 * (low + high)


def _optimal_D(form: Form, noise: Noise) -> float:
    real, generated = _densities(noise, (20,))
    return gap(form(real, generated), _best(real, generated))


def _value_js(form: Form, noise: Noise) -> float:
    real, generated = _densities(noise, (20,))
    logits = np.log(real) - np.log(generated)
    losses, _ = ops.discriminator_loss_forward(logits, np.full(20, -np.inf))  # −log D alone
    others, _ = ops.discriminator_loss_forward(np.full(20, np.inf), logits)  # −log(1 − D) alone
    return gap(form(real, generated), -(real @ losses + generated @ others))


def _kl(p: Array, q: Array) -> float:
    return float(np.sum(p * np.log(p / q)))


def _js(p: Array, q: Array) -> float:
    return 0.5 * _kl(p, 0.5 * (p + q)) + 0.5 * _kl(q, 0.5 * (p + q))


def _conditional(form: Form, noise: Noise) -> float:
    real, generated = _densities(noise, (5, 3))  # x, y
    generated = generated / np.sum(generated, axis=0) * np.sum(real, axis=0)  # the labels are given
    return gap(form(real, generated), _best(real, generated))


def _given(joint: Array) -> Array:
    """Return p(x | y) of a joint of shape (X, Y)."""
    conditional: Array = joint / np.sum(joint, axis=0)
    return conditional


# The slopes


def log_real(a: Array) -> Array:
    """Return log D of the logit a."""
    return np.asarray(-np.log(1 + np.exp(-a)))


def log_fake(a: Array) -> Array:
    """Return log(1 − D) of the logit a."""
    return np.asarray(-np.log(1 + np.exp(a)))


def slope(f: Form, a: Array) -> Array:
    """Return the derivative of f at each a."""
    return complex_step(f, [a], [np.ones_like(a)])


def _disc_grad(form: Form, noise: Noise) -> float:
    real, fake = 2 * noise.at("real").normal((6,)), 2 * noise.at("fake").normal((6,))
    dreal, dfake = form(real, fake)
    return largest(gap(dreal, slope(log_real, real)), gap(dfake, slope(log_fake, fake)))


def _ascent(real: Array, fake: Array) -> tuple[Array, Array]:
    """Return the gradient of V in the logits: minus that of the project's loss."""
    _, cache = ops.discriminator_loss_forward(real, fake)
    dreal, dfake = ops.discriminator_loss_backward(np.ones_like(real), cache)
    return -dreal, -dfake


def _sat_grad(form: Form, noise: Noise) -> float:
    a = 2 * noise.normal((6,))
    return gap(form(a), slope(log_fake, a))


def _nonsat_grad(form: Form, noise: Noise) -> float:
    a = 2 * noise.normal((6,))
    return gap(form(a), slope(lambda a: -log_real(a), a))


def _real_label_bce(form: Form, noise: Noise) -> float:
    a = 2 * noise.normal((6, 1))
    loss, _ = ops.nonsaturating_loss_forward(a[:, 0])
    return largest(gap(form(a), loss), gap(form(a), -log_real(a)[:, 0]))


def _zero_sum(form: Form, noise: Noise) -> float:
    a = 2 * noise.normal((6,))
    return gap(form(a), log_fake(a))


def _minimax(a: Array) -> Array:
    return ops.minimax_loss_backward(np.ones_like(a), ops.minimax_loss_forward(a)[1])


def _nonsaturating(a: Array) -> Array:
    return ops.nonsaturating_loss_backward(np.ones_like(a), ops.nonsaturating_loss_forward(a)[1])


def _bce(label: float, a: Array) -> Array:
    return ops.bernoulli_nll_forward(np.full_like(a, label), a)[0]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gan.optimal_D",
        statement=r"D^*(x)=\frac{p_r(x)}{p_r(x)+p_g(x)}",
        family=FAMILY,
        sources=('L2 "Generative Adversarial Networks (GANs)"', GAME, PAPER),
        right=lambda r, g: ops.sigmoid(np.log(r) - np.log(g)),
        wrong={
            "generated above": lambda r, g: ops.sigmoid(np.log(g) - np.log(r)),
            "the odds": lambda r, g: r / g,
            "squares": lambda r, g: ops.sigmoid(2 * (np.log(r) - np.log(g))),
        },
        check=_optimal_D,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.value_js",
        statement=r"V(D^*,G)=-2\log2+2\,\mathrm{JS}(p_r\|p_g)",
        family=FAMILY,
        sources=('L2 "Generative Adversarial Networks (GANs)"', GAME, PAPER),
        right=lambda r, g: -2 * math.log(2) + 2 * _js(r, g),
        wrong={
            "one JS": lambda r, g: -2 * math.log(2) + _js(r, g),
            "the constant's sign": lambda r, g: 2 * math.log(2) + 2 * _js(r, g),
            "KL for JS": lambda r, g: -2 * math.log(2) + 2 * _kl(r, g),
        },
        check=_value_js,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.disc_grad",
        statement=r"\partial_a\log D=1-D,\quad\partial_a\log(1-D)=-D,\quad D=\sigma(a)",
        family=FAMILY,
        sources=(GAME, PAPER),
        right=_ascent,
        wrong={
            "descent": lambda real, fake: tuple(-d for d in _ascent(real, fake)),
            "D for 1 - D": lambda real, fake: (ops.sigmoid(real), -ops.sigmoid(fake)),
            "one slope for both": lambda real, fake: (ops.sigmoid(-real), -ops.sigmoid(-fake)),
        },
        check=_disc_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.sat_grad",
        statement=r"\partial_a\log(1-\sigma(a))=-D",
        family=FAMILY,
        sources=(GAME, PAPER),
        right=_minimax,
        wrong={
            "the non-saturating slope": _nonsaturating,
            "the sign": lambda a: -_minimax(a),
            "the slope in D": lambda a: -1 / ops.sigmoid(-a),
        },
        check=_sat_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.nonsat_grad",
        statement=r"\partial_a(-\log\sigma(a))=-(1-D)",
        family=FAMILY,
        sources=(GAME, PAPER),
        right=_nonsaturating,
        wrong={
            "the saturating slope": _minimax,
            "the sign": lambda a: -_nonsaturating(a),
            "the slope in D": lambda a: -1 / ops.sigmoid(a),
        },
        check=_nonsat_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.real_label_bce",
        statement=r"-\log D(G(z))=\mathrm{BCE}(1,D(G(z)))",
        family=FAMILY,
        sources=(GAME,),
        right=lambda a: _bce(1.0, a),
        wrong={
            "the label of a fake": lambda a: _bce(0.0, a),
            "minus the label of a fake": lambda a: -_bce(0.0, a),
            "an undecided label": lambda a: _bce(0.5, a),
        },
        check=_real_label_bce,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.zero_sum",
        statement=r"L_G=\log(1-D(G(z)))\text{: what the discriminator gains, the generator loses}",
        family=FAMILY,
        sources=(GAME, PAPER),
        right=lambda a: ops.minimax_loss_forward(a)[0],
        wrong={
            "the non-saturating loss": lambda a: ops.nonsaturating_loss_forward(a)[0],
            "the sign": lambda a: -ops.minimax_loss_forward(a)[0],
            "log D": lambda a: -ops.nonsaturating_loss_forward(a)[0],
        },
        check=_zero_sum,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.conditional",
        statement=r"D^*(x,y)=\frac{p_r(x\mid y)}{p_r(x\mid y)+p_g(x\mid y)}",
        family=FAMILY,
        sources=('L4 "Conditional GAN"', 'L3 "Guidance"'),
        right=lambda r, g: ops.sigmoid(np.log(_given(r)) - np.log(_given(g))),
        wrong={
            "blind to y": lambda r, g: (
                np.sum(r, axis=1, keepdims=True)
                / np.sum(r + g, axis=1, keepdims=True)
                * np.ones_like(r)
            ),
            "given x for given y": lambda r, g: _given(r.T).T / (_given(r.T) + _given(g.T)).T,
            "conditional against joint": lambda r, g: _given(r) / (_given(r) + g),
        },
        check=_conditional,
        tolerance=ROUNDING,
    ),
)
