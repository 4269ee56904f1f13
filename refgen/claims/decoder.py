r"""Claims on the decoder of levels: probabilities of bins, their slopes, and bits.

Sources    ho2020-ddpm  eq. 13;  theis2016-note  section 3.1

Truths are integrals of a Gaussian density over each bin, by quadrature on short pieces.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.objectives.discretized import (
    Bins,
    bits_per_dimension,
    discretized_nll_backward,
    discretized_nll_forward,
)
from refgen.typing import Array

FAMILY = "diffusion"
ROUNDING = 1e-9
FAR = 40.0  # where an open end is cut off in a truth, in standard deviations


def _case(noise: Noise) -> tuple[Bins, float, float]:
    """Return levels, a mean and a deviation: neither much wider nor much narrower than a bin."""
    bins = Bins(beds.integer(noise.at("L"), 3, 9))
    std = bins.width * beds.between(noise.at("std"), 0.4, 1.5)
    return bins, beds.between(noise.at("mean"), -0.8, 0.8), std


def _integrals(bins: Bins, mean: float, std: float, f: Callable[[Array], Array]) -> Array:
    """Return ∫ f N(mean, std²) over every bin, (L,), by Gauss-Legendre on short pieces."""
    inner = bins.levels[:-1] + 0.5 * bins.width
    edges = np.concatenate([[mean - FAR * std], inner, [mean + FAR * std]])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    totals = []
    for low, high in pairwise(edges):
        cuts = np.linspace(low, high, 200)
        half = 0.5 * np.diff(cuts)[:, None]
        x = 0.5 * (cuts[1:] + cuts[:-1])[:, None] + half * nodes
        density = np.exp(beds.log_normal(x, mean, std**2))
        totals.append(np.sum(half * weights * density * f((x - mean) / std)))
    return np.array(totals)


def _levels(bins: Bins, mean: float, std: float) -> tuple[Array, Array, Array]:
    """Return every level beside the mean and the log variance, (L, 1)."""
    x = bins.levels[:, None]
    return x, mean + 0 * x, 2 * math.log(std) + 0 * x


def probabilities(form: Form, noise: Noise) -> float:
    """Compare form(bins, mean, std), (L,), with the integrals of the density."""
    bins, mean, std = _case(noise)
    return gap(form(bins, mean, std), _integrals(bins, mean, std, np.ones_like))


def _probabilities(bins: Bins, mean: float, std: float) -> Array:
    x, means, logvar = _levels(bins, mean, std)
    return np.exp(-discretized_nll_forward(x, means, logvar, bins=bins)[0])


def _closed(bins: Bins, mean: float, std: float) -> Array:
    """Return probabilities with bins of one width at the ends too."""
    wide = Bins(bins.count + 2, bins.low - bins.width, bins.high + bins.width)
    return _probabilities(wide, mean, std)[1:-1]


def slopes(form: Form, noise: Noise) -> float:
    """Compare form(bins, mean, std) with ∂ log P / ∂(mean, logvar), the means over each bin."""
    bins, mean, std = _case(noise)
    mass = _integrals(bins, mean, std, np.ones_like)
    of_mean = _integrals(bins, mean, std, lambda z: z) / mass / std
    of_logvar = 0.5 * (_integrals(bins, mean, std, lambda z: z * z) / mass - 1)
    found = form(bins, mean, std)
    return largest(gap(found[0], of_mean), gap(found[1], of_logvar))


def _slopes(bins: Bins, mean: float, std: float, times: float = 1.0) -> tuple[Array, Array]:
    x, means, logvar = _levels(bins, mean, std)
    _, cache = discretized_nll_forward(x, means, logvar, bins=bins)
    of_mean, of_logvar = discretized_nll_backward(-times * np.ones(len(x)), cache)
    return of_mean[:, 0], of_logvar[:, 0]


def _at_the_level(bins: Bins, mean: float, std: float) -> tuple[Array, Array]:
    z = (bins.levels - mean) / std
    return z / std, 0.5 * (z * z - 1)


def bits(form: Form, noise: Noise) -> float:
    """Compare form(nats of a density, D, width) with the entropy in bits of uniform levels."""
    count, D = beds.integer(noise.at("L"), 3, 40), beds.integer(noise.at("D"), 2, 9)
    width = beds.between(noise.at("width"), 0.05, 0.4)
    nats = np.array([D * math.log(count * width)])
    return gap(form(nats, D, width), math.log2(count))


CLAIMS = (
    Claim(
        "ddpm.L0_bins",
        r"P(x) = \Phi\bigl(\tfrac{x + w/2 - \mu}\sigma\bigr) - \Phi\bigl(\tfrac{x - w/2 - "
        r"\mu}\sigma\bigr), \text{ the outer edges at } \pm\infty",
        FAMILY,
        ('L4 "DDPM - Deriving Loss using Jensen\'s Inequality"', "ho2020-ddpm"),
        _probabilities,
        {
            "bounded ends": _closed,
            "half the width": lambda b, m, s: _probabilities(b, m, 2 * s),
            "the density times the width": lambda b, m, s: (
                b.width * np.exp(beds.log_normal(b.levels, m, s * s))
            ),
            "the variance for sigma": lambda b, m, s: _probabilities(b, m, s * s),
        },
        probabilities,
        ROUNDING,
    ),
    Claim(
        "ddpm.L0_gradient",
        r"\partial_\mu \log P = \tfrac1\sigma \mathbb E[z \mid \text{bin}], \quad "
        r"\partial_{\log\sigma^2} \log P = \tfrac12 \bigl(\mathbb E[z^2 \mid \text{bin}] - 1\bigr)",
        FAMILY,
        ("ho2020-ddpm",),
        _slopes,
        {
            "at the level": _at_the_level,
            "sign": lambda b, m, s: _slopes(b, m, s, -1.0),
            "in log sigma": lambda b, m, s: (_slopes(b, m, s)[0], 2 * _slopes(b, m, s)[1]),
            "not divided by sigma": lambda b, m, s: (s * _slopes(b, m, s)[0], _slopes(b, m, s)[1]),
        },
        slopes,
        ROUNDING,
    ),
    Claim(
        "ll.bits_per_dimension",
        r"\text{bits} = \frac{-\log p(x)}{D \log 2} - \log_2 w,\quad x = w \cdot \text{level} + "
        r"\text{const}",
        FAMILY,
        ("theis2016-note",),
        lambda nats, D, width: bits_per_dimension(nats, D, width=width),
        {
            "the width forgotten": lambda nats, D, width: bits_per_dimension(nats, D),
            "the width's sign": lambda nats, D, width: bits_per_dimension(nats, D, width=1 / width),
            "once for all dimensions": lambda nats, D, width: (
                bits_per_dimension(nats, D) - math.log2(width) / D
            ),
            "in nats": lambda nats, D, width: nats / D - math.log(width),
        },
        bits,
        ROUNDING,
    ),
)
