r"""Claims on where a label enters a model: each family asks for y at every conditional.

Sources    kingma2014-vae;  bengio2003-language

Labels, codes and pictures of three bits are few enough to be enumerated.
"""

import itertools
from collections.abc import Callable

import numpy as np

from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.noise import Noise
from refgen.typing import Array

BITS = np.array(list(itertools.product((0, 1), repeat=3)))  # (8, 3)


def _interfaces(form: Form, noise: Noise) -> float:
    """Compare two computations of log p(x | y), (2, 8), with the sum over all codes."""
    raw = 0.05 + noise.at("joint").uniform((2, 3, 8))
    joint = raw / np.sum(raw)  # p(y, z, x)
    of_pair = np.sum(joint, axis=1)
    truth = np.log(of_pair / np.sum(of_pair, axis=1, keepdims=True))
    return gap(form(joint), np.stack([truth, truth]))


def _both(
    bit: Callable[[Array], Array] = lambda joint: joint,
    posterior: Callable[[Array], Array] = lambda joint: joint,
    decoder: Callable[[Array], Array] = lambda joint: joint,
) -> Form:
    """Return log p(x | y) bit by bit, and as a bound; each part sees the joint as it is told."""

    def form(joint: Array) -> Array:
        return np.stack([_bit_by_bit(bit(joint)), _bound(joint, posterior(joint), decoder(joint))])

    return form


def _bit_by_bit(joint: Array) -> Array:
    """Return Σ_j log p(x_j | x_<j, y)."""
    of_pair = np.sum(joint, axis=1)
    total: Array = np.zeros_like(of_pair)
    for j in range(3):
        before, after = (np.all(BITS[:, None, :k] == BITS[None, :, :k], axis=2) for k in (j, j + 1))
        total += np.log(of_pair @ after) - np.log(of_pair @ before)
    return total


def _bound(joint: Array, for_posterior: Array, for_decoder: Array) -> Array:
    """Return E_q log p(x | z, y) − KL[q(z | x, y) ‖ p(z | y)] with the posterior for q."""
    q = for_posterior / np.sum(for_posterior, axis=1, keepdims=True)
    decoder = for_decoder / np.sum(for_decoder, axis=2, keepdims=True)
    prior = np.sum(joint, axis=2) / np.sum(joint, axis=(1, 2))[:, None]
    bound: Array = np.sum(q * (np.log(decoder) + np.log(prior)[:, :, None] - np.log(q)), axis=1)
    return bound


def _untold(joint: Array) -> Array:
    """Return a joint in which y is independent of the rest: what a part sees that is not told."""
    label, rest = np.sum(joint, axis=(1, 2)), np.sum(joint, axis=0)
    apart: Array = label[:, None, None] * rest
    return apart


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="cond.interfaces",
        statement=r"\log p(x\mid y)=\sum_j\log p(x_j\mid x_{<j},y)=\mathbb E_{q(z\mid x,y)}"
        r"\log p(x\mid z,y)-KL[q(z\mid x,y)\,\|\,p(z\mid y)],\ q=p(z\mid x,y)",
        family="conditional",
        sources=('L3 "Guidance"',),
        right=_both(),
        wrong={
            "bits that are not told the label": _both(bit=_untold),
            "an encoder that is not told the label": _both(posterior=_untold),
            "a decoder that is not told the label": _both(decoder=_untold),
        },
        check=_interfaces,
        tolerance=1e-9,
    ),
)
