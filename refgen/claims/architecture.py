r"""Claims on the parts of a network that stand by themselves.

Sources    vaswani2017-attention  section 3.5;  kingma2015-adam  section 2.1

Truths are evaluations at another time and sums written out.
"""

import numpy as np

from refgen import ops
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.typing import Array

FAMILY = "architecture"
ROUNDING = 1e-9


def _sinusoidal_shift(form: Form, noise: Noise) -> float:
    t, shift = 50.0 * noise.at("t").uniform(6), 1.0 + 20.0 * float(noise.at("shift").uniform(1)[0])
    product = np.sum(form(t) * form(t + shift), axis=1)
    return gap(product, np.full(6, product[0]))


def _clock(t: Array) -> Array:
    return ops.sinusoidal_embedding_forward(t, dim=8)[0]


def _adam_first_step(form: Form, noise: Noise) -> float:
    size = 10.0 ** (4 * noise.at("size").uniform(5) - 2)  # gradients over four decades
    g = np.where(noise.at("sign").uniform(5) < 0.5, -size, size)
    return gap(form(g, 0.01) / 0.01, -g / size)


def _adam(g: Array, lr: float, step: int = 1) -> Array:
    zero = np.zeros_like(g)
    return ops.adam_step(zero, g, zero, zero, step=step, lr=lr, eps=0.0)[0]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="arch.sinusoidal_shift",
        statement=r"\langle PE(t),PE(t+k)\rangle\text{ depends on }k\text{ only}",
        family=FAMILY,
        sources=(
            'L4 "Architectures of Diffusion Models, Suitable Also for FM"',
            "vaswani2017-attention",
        ),
        right=_clock,
        wrong={
            "sines only": lambda t: _clock(t)[:, :4],
            "cosines of other frequencies": lambda t: np.concatenate(
                [_clock(t)[:, :4], _clock(2 * t)[:, 4:]], axis=1
            ),
            "the time itself": lambda t: t[:, None],
        },
        check=_sinusoidal_shift,
        tolerance=ROUNDING,
    ),
    Claim(
        id="opt.adam_first_step",
        statement=r"\theta_1-\theta_0=-\eta\,\mathrm{sign}(g)\text{ whatever }|g|\ (\epsilon=0)",
        family=FAMILY,
        sources=("kingma2015-adam",),
        right=_adam,
        wrong={
            "no correction": lambda g, lr: _adam(g, lr, step=10**9),
            "gradient descent": lambda g, lr: -lr * g,
            "ascent": lambda g, lr: -_adam(g, lr),
        },
        check=_adam_first_step,
        tolerance=ROUNDING,
    ),
)
