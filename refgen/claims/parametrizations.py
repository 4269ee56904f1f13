r"""Claims on what a network may predict, and how one prediction becomes another.

Sources    salimans2022-distillation;  lin2024-zero-snr;  song2021-sde;  lipman2023-flow-matching

Truths are Bayes' rule on a grid, conditioned Gaussians, and data and noise that are known.
"""

import math

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.processes.parametrization import KINDS, area, convert
from refgen.processes.path import VP, Levels, sde
from refgen.typing import Array

FAMILY = "parametrizations"
ROUNDING = 1e-9
POINTS = np.linspace(-2.5, 2.5, 11)


def on_the_circle(noise: Noise) -> Levels:
    """Return levels with a² + b² = 1 and arbitrary rates."""
    angle = beds.between(noise.at("angle"), 0.3, 1.2)
    da, db = -beds.between(noise.at("da"), 0.2, 2.0), beds.between(noise.at("db"), 0.2, 2.0)
    return Levels(math.cos(angle), math.sin(angle), da, db)


def _v_names_the_data(form: Form, noise: Noise) -> float:
    """Compare form(x, E[v | x], a, b) with E[data | x]; both are integrals over a grid of data."""
    world, (a, b, _, _) = beds.some_mixture(noise.at("world")), on_the_circle(noise)
    keep, means = float(a * a), []
    for x in POINTS:

        def v(data: Array, x: float = float(x)) -> Array:
            target: Array = a * (x - a * data) / b - b * data
            return target

        means.append(float(beds.mean_given(world, np.array([x]), keep, v)[0]))
    truth = beds.mean_given(world, POINTS, keep, lambda grid: grid)
    return gap(form(POINTS, np.array(means), a, b), truth)


def _at_zero_signal(form: Form, noise: Noise) -> float:
    data, x = noise.normal((2, 5))
    return gap(form(x, 0.0 * x - 1.0 * data), data)


def _commute(form: Form, noise: Noise) -> float:
    """Compare every conversion with what known data and noise make of every kind."""
    levels = on_the_circle(noise)
    a, b, da, db = levels
    earlier = Levels(a + 0.5 * (1 - a), 0.6 * b, 0.0, 0.0)
    data, draw = noise.at("pair").normal((2, 4))
    x, r = a * data + b * draw, a / earlier.a
    cov = np.array([[earlier.b**2, r * earlier.b**2], [r * earlier.b**2, b * b]])  # given the data
    (slope,), _ = beds.regression(cov, 0, [1])
    says = {
        "data": data,
        "noise": draw,
        "v": a * draw - b * data,
        "score": -(x - a * data) / b**2,
        "velocity": da * data + db * draw,
        "mean": earlier.a * data + slope * (x - a * data),
    }
    pairs = [(k, m) for k in KINDS for m in KINDS if k != m]
    return largest(*(gap(form(x, says[k], k, m, levels, earlier), says[m]) for k, m in pairs))


def converted(x: Array, y: Array, k: str, m: str, levels: Levels, earlier: Levels) -> Array:
    """Return the project's conversion from kind k to kind m."""
    return convert(x, y, k, m, levels, earlier=earlier)


def _flow_velocity(form: Form, noise: Noise) -> float:
    """Compare form(f, g², x, score) with E[a' data + b' noise | x] by Bayes' rule on a grid."""
    world, t = beds.some_mixture(noise.at("world")), beds.between(noise.at("t"), 0.2, 0.6)
    path = VP(0.1, beds.between(noise.at("last"), 4.0, 12.0))
    a, b, da, db = (float(level) for level in path.levels(t))
    data = beds.mean_given(world, POINTS, a * a, lambda grid: grid)
    draw = (POINTS - a * data) / b
    return gap(form(*sde(path, t), POINTS, -draw / b), da * data + db * draw)


CLAIMS = (
    Claim(
        "param.v_prediction",
        r"v = a\,\epsilon - b\,x_0,\ a^2 + b^2 = 1: \quad \mathbb E[x_0 \mid x] = a\,x - b\,"
        r"\mathbb E[v \mid x]",
        FAMILY,
        ("salimans2022-distillation",),
        lambda x, v, a, b: convert(x, v, "v", "data", Levels(a, b, 0.0, 0.0)),
        {
            "sign": lambda x, v, a, b: a * x + b * v,
            "the noise, which is b x + a v": lambda x, v, a, b: b * x + a * v,
            "v taken for the noise": lambda x, v, a, b: (x - b * v) / a,
        },
        _v_names_the_data,
        1e-8,
    ),
    Claim(
        "param.v_at_zero_signal",
        r"a = 0: \quad v = -x_0 \text{ names the data, where } \epsilon = x \text{ does not}",
        FAMILY,
        ("lin2024-zero-snr", "salimans2022-distillation"),
        lambda x, v: convert(x, v, "v", "data", Levels(0.0, 1.0, -1.0, 0.0)),
        {
            "sign": lambda x, v: v,
            "by way of the noise": lambda x, v: (x - 1.0 * x) / np.zeros_like(x),
        },
        _at_zero_signal,
        ROUNDING,
    ),
    Claim(
        "param.six_kinds_commute",
        r"y = p\,x_0 + q\,\epsilon,\ \Delta = a q - b p: \quad y' = \frac{(p'q - q'p)\,x + "
        r"\Delta' y}{\Delta}",
        FAMILY,
        ("salimans2022-distillation", "song2021-sde", "lipman2023-flow-matching"),
        converted,
        {
            "Δ/Δ' for Δ'/Δ": lambda x, y, k, m, now, s: (
                converted(x, y, k, m, now, s)
                + (area(k, now, s) / area(m, now, s) - area(m, now, s) / area(k, now, s)) * y
            ),
            "x left out": lambda x, y, k, m, now, s: area(m, now, s) / area(k, now, s) * y,
            "the rates for the levels": lambda x, y, k, m, now, s: converted(
                x, y, k, m, Levels(now.a, now.b, now.b, -now.a), s
            ),
        },
        _commute,
        ROUNDING,
    ),
    Claim(
        "param.flow_velocity",
        r"\mathbb E[a' x_0 + b' \epsilon \mid x] = f x - \tfrac12 g^2 \nabla \log p_t(x)",
        FAMILY,
        ("song2021-sde", "lipman2023-flow-matching"),
        lambda f, g2, x, score: f * x - 0.5 * g2 * score,
        {
            "g² not halved, as in the reverse SDE": lambda f, g2, x, score: f * x - g2 * score,
            "sign of the score": lambda f, g2, x, score: f * x + 0.5 * g2 * score,
            "g for g²": lambda f, g2, x, score: f * x - 0.5 * math.sqrt(g2) * score,
        },
        _flow_velocity,
        1e-8,
    ),
)
