"""Claims on normalizing flows.

Sources    dinh2017-realnvp;  dinh2015-nice
"""

import math
from typing import Any

import numpy as np

from refgen import check, ops, tree
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.models import CouplingFlow
from refgen.noise import Noise
from refgen.objectives import NegativeLogLikelihood
from refgen.typing import Array

FAMILY = "flows"
FLOW = 'L0 "Normalizing Flow"'
CITED = ('L1 "References"', 'L4 "Normalizing Flows"')


class Bend:
    """A monotone map of the line with a closed-form inverse: x = f(z) = c sinh(z) + m."""

    def __init__(self, noise: Noise) -> None:
        self.c, self.m = beds.between(noise.at("c"), 0.5, 2), beds.between(noise.at("m"), -1, 1)

    def forward(self, z: Any) -> Any:
        """Return f(z)."""
        return self.c * np.sinh(z) + self.m

    def slope(self, z: Any) -> Any:
        """Return df/dz at z."""
        return self.c * np.cosh(z)

    def inverse(self, x: Any) -> Any:
        """Return the z whose image is x."""
        return np.arcsinh((x - self.m) / self.c)

    def inverse_slope(self, x: Any) -> Any:
        """Return the derivative of the inverse at x, positive."""
        return 1 / np.sqrt((x - self.m) ** 2 + self.c**2)


def _change_of_variables(form: Form, noise: Noise) -> float:
    """Compare with the probability of a short interval: P(f(z) ≤ x) is Φ(f⁻¹(x))."""
    bend, x = Bend(noise), np.linspace(-2, 2, 9)

    def normal_cdf(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    def cdf(x: Array) -> Array:
        return np.array([normal_cdf(float(bend.inverse(v))) for v in x])

    slope = check.central_difference(cdf, [x], [np.ones_like(x)], h=1e-2)
    return beds.gap(form(bend, x), slope.value)


def _standard(z: Any) -> Any:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _inverse_function(form: Form, noise: Noise) -> float:
    bend, y = Bend(noise), np.linspace(-2, 2, 9)
    truth = check.complex_step(bend.inverse, [y], [np.ones_like(y)])
    return beds.gap(form(bend, y), truth)


def _some_flow(noise: Noise) -> tuple[CouplingFlow, Any, Array]:
    """Return a flow away from the identity, its parameters, and one point."""
    flow = CouplingFlow(beds.integer(noise.at("dim"), 2, 4), layers=4, hidden=6)
    params = flow.init(noise.at("params"))
    flat = tree.flatten(params)
    shaken = {k: a + 0.3 * noise.at("shake", k).normal(a.shape) for k, a in flat.items()}
    return flow, tree.unflatten(shaken), noise.at("x").normal((1, flow.dim))


def _composition(form: Form, noise: Noise) -> float:
    flow, params, x = _some_flow(noise)
    jacobian = check.jacobian(lambda v: flow.forward(params, v[None])[0][0], x[0])
    z = flow.forward(params, x)[0]
    log_prior = float(np.sum(beds.log_normal(z, 0.0, 1.0)))
    return beds.gap(form(flow, params, x), log_prior + np.linalg.slogdet(jacobian)[1])


def _code_log_density(flow: CouplingFlow, params: Any, x: Array) -> float:
    terms, _ = NegativeLogLikelihood(flow).forward(params, x)
    return -float(terms["loss"][0])


def _log_density(sign: float, layers: slice) -> Form:
    """Return log π(z) + sign · Σ log-determinants of some of the layers."""

    def form(flow: CouplingFlow, params: Any, x: Array) -> float:
        z, _, caches = flow.forward(params, x)
        total = sum(float(np.sum(log_scale)) for _, log_scale, _ in caches[layers])
        return float(np.sum(beds.log_normal(z, 0.0, 1.0))) + sign * total

    return form


def _coupling_inverse(form: Form, noise: Noise) -> float:
    x, shift, log_scale = (noise.at(name).normal((3, 4)) for name in ("x", "shift", "scale"))
    y, _, _ = ops.affine_coupling_forward(x, shift, log_scale)
    return beds.gap(form(y, shift, log_scale), x)


def _coupling_logdet(form: Form, noise: Noise) -> float:
    x, shift, log_scale = (noise.at(name).normal((1, 4)) for name in ("x", "shift", "scale"))
    jacobian = check.jacobian(
        lambda v: ops.affine_coupling_forward(v[None], shift, log_scale)[0][0], x[0]
    )
    return beds.gap(form(x, shift, log_scale), np.linalg.slogdet(jacobian)[1])


CLAIMS = (
    Claim(
        "nf.change_of_variables_1d",
        r"p(x) = \pi(f^{-1}(x))\,\lvert (f^{-1})'(x) \rvert",
        FAMILY,
        (FLOW,),
        lambda bend, x: _standard(bend.inverse(x)) * bend.inverse_slope(x),
        {
            "no change of volume": lambda bend, x: _standard(bend.inverse(x)),
            "the forward slope": lambda bend, x: (
                _standard(bend.inverse(x)) * bend.slope(bend.inverse(x))
            ),
            "the prior at x": lambda bend, x: _standard(x) * bend.inverse_slope(x),
        },
        _change_of_variables,
        1e-7,
    ),
    Claim(
        "nf.inverse_function",
        r"\frac{d f^{-1}(y)}{dy} = \Bigl(\frac{df}{dx}(f^{-1}(y))\Bigr)^{-1}",
        FAMILY,
        (FLOW,),
        lambda bend, y: 1 / bend.slope(bend.inverse(y)),
        {
            "the slope at y": lambda bend, y: 1 / bend.slope(y),
            "not inverted": lambda bend, y: bend.slope(bend.inverse(y)),
        },
        _inverse_function,
        1e-10,
    ),
    Claim(
        "nf.composition_logdet",
        r"\log p(x) = \log \pi_0(z_0) "
        r"- \sum_i \log\Bigl\lvert\det \tfrac{df_i}{dz_{i-1}}\Bigr\rvert",
        FAMILY,
        (FLOW, 'L3 "Continuous-in-time normalizing flows"', "dinh2017-realnvp eq. 3"),
        _code_log_density,
        {
            "the sign": _log_density(-1.0, slice(None)),
            "the last layer alone": _log_density(1.0, slice(-1, None)),
            "no volume": _log_density(0.0, slice(None)),
        },
        _composition,
        1e-9,
    ),
    Claim(
        "nf.coupling_inverse",
        r"y_b = x_b \odot e^{s(x_a)} + t(x_a): \quad x_b = (y_b - t)\,e^{-s}",
        FAMILY,
        (*CITED, "dinh2017-realnvp eq. 8"),
        ops.affine_coupling_inverse,
        {
            "unshift last": lambda y, t, s: y * np.exp(-s) - t,
            "scale again": lambda y, t, s: (y - t) * np.exp(s),
            "shift again": lambda y, t, s: (y + t) * np.exp(-s),
        },
        _coupling_inverse,
        1e-10,
    ),
    Claim(
        "nf.coupling_logdet",
        r"\log\lvert\det\rvert = \sum s",
        FAMILY,
        (*CITED, "dinh2017-realnvp eq. 6"),
        lambda x, t, s: ops.affine_coupling_forward(x, t, s)[1][0],
        {
            "the scale, not its logarithm": lambda x, t, s: np.sum(np.exp(s)),
            "the mean for the sum": lambda x, t, s: np.mean(s),
            "the inverse's": lambda x, t, s: -np.sum(s),
        },
        _coupling_logdet,
        1e-10,
    ),
)
