r"""Claims on normalizing flows: how a density changes under an invertible map.

Sources    dinh2015-nice;  dinh2017-realnvp  eq. 2-8

Truths are derivatives of the distribution function, complex steps of an inverse, dense Jacobians
and round trips. The lecture writes maps from latent to data, the project's flow runs from data to
latent; its log-determinant is therefore added where the lecture's is subtracted.
"""

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from refgen import ops, tree
from refgen.check import central_difference, complex_step, jacobian
from refgen.claims.claim import Claim, Form
from refgen.claims.latent import LOG_2PI
from refgen.claims.residual import gap, largest
from refgen.models import CouplingFlow
from refgen.noise import Noise
from refgen.objectives import NegativeLogLikelihood
from refgen.typing import Array

FAMILY = "flows"
ROUNDING = 1e-9
FLOW_SLIDE = 'L0 "Normalizing Flow"'


# One dimension: x = m + s sinh z, with s of either sign


def _map(noise: Noise) -> tuple[float, float]:
    return float(noise.at("m").normal((1,))[0]), 0.4 + float(noise.at("size").uniform(1)[0])


def _change_of_variables_1d(form: Form, noise: Noise) -> float:
    m, size = _map(noise)
    rising, falling = (_density_gap(form, m, s, noise) for s in (size, -size))
    return largest(rising, falling)


def _density_gap(form: Form, m: float, s: float, noise: Noise) -> float:
    x = m + 1.5 * noise.at("x").normal((6,))

    def inverse(x: Array) -> Array:
        return np.asarray(np.arcsinh((x - m) / s))

    def distribution(x: Array) -> Array:  # P(data <= x); a falling map exchanges the tails
        return np.asarray(ndtr(math.copysign(1.0, s) * inverse(x)))

    density = central_difference(distribution, [x], [np.ones(6)], h=1e-3).value
    slope = complex_step(inverse, [x], [np.ones(6)])
    return gap(form(inverse(x), slope), density)


def _normal(z: Array) -> Array:
    density: Array = np.exp(-0.5 * (z * z + LOG_2PI))
    return density


def _inverse_function(form: Form, noise: Noise) -> float:
    m, s = _map(noise)
    y = m + noise.at("y").normal((6,))

    def inverse(y: Array) -> Array:
        return np.asarray(np.arcsinh((y - m) / s))

    def slope(x: Array) -> Array:  # of the map itself
        return np.asarray(s * np.cosh(x))

    return gap(form(slope, inverse, y), complex_step(inverse, [y], [np.ones(6)]))


# Couplings


def some_flow(noise: Noise) -> tuple[CouplingFlow, Any, Array]:
    """Return a flow with weights that are not its first, and three points."""
    flow = CouplingFlow(dim=4, layers=4, hidden=5, depth=1)
    first = flow.init(noise.at("init"))
    moves = {k: noise.at("move", k) for k in tree.flatten(first)}
    moved = {k: a + 0.5 * moves[k].normal(a.shape) for k, a in tree.flatten(first).items()}
    return flow, tree.unflatten(moved), noise.at("x").normal((3, 4))


def _composition_logdet(form: Form, noise: Noise) -> float:
    flow, params, x = some_flow(noise)
    truth = []
    for point in x:
        z = flow.forward(params, point[None])[0][0]
        dense = jacobian(lambda p: flow.forward(params, p[None])[0][0], point)
        truth.append(-0.5 * (z @ z + 4 * LOG_2PI) + np.linalg.slogdet(dense)[1])
    return gap(form(flow, params, x), truth)


def _log_density(flow: CouplingFlow, params: Any, x: Array, times: float = 1.0) -> Array:
    """Return log p(x) by the project's loss, with the log-determinant counted so many times."""
    loss = NegativeLogLikelihood(flow).forward(params, x)[0]["loss"]
    logdet = flow.forward(params, x)[1]
    log_p: Array = -loss + (times - 1.0) * logdet
    return log_p


def _flow_inverse(form: Form, noise: Noise) -> float:
    flow, params, x = some_flow(noise)
    return gap(form(flow, params, flow.forward(params, x)[0]), x)


def _shuffled(params: Any) -> Any:
    """Return the layers' networks in the wrong order."""
    return {**params, "coupling0": params["coupling2"], "coupling2": params["coupling0"]}


def _coupling(noise: Noise) -> tuple[Array, Array, Array]:
    x, shift, log_scale = (noise.at(k).normal((4, 3)) for k in ("x", "shift", "log_scale"))
    return x, shift, log_scale


def _coupling_inverse(form: Form, noise: Noise) -> float:
    x, shift, log_scale = _coupling(noise)
    y, _, _ = ops.affine_coupling_forward(x, shift, log_scale)
    return gap(form(y, shift, log_scale), x)


def _coupling_logdet(form: Form, noise: Noise) -> float:
    """Compare with the dense Jacobian of the whole layer, whose kept half computes s and t."""
    w = noise.at("w").normal((2, 2, 2))

    def layer(x: Array) -> Array:
        a, b = x[None, :2], x[None, 2:]
        y, _, _ = ops.affine_coupling_forward(b, np.tanh(a @ w[0]), np.sin(a @ w[1]))
        return np.asarray(np.concatenate([a, y], axis=1)[0])

    x = noise.at("x").normal((4,))
    a = x[None, :2]
    truth = np.linalg.slogdet(jacobian(layer, x))[1]
    return gap(form(x[None, 2:], np.tanh(a @ w[0]), np.sin(a @ w[1])), truth)


def _inv1x1_logdet(form: Form, noise: Noise) -> float:
    w, (height, width) = noise.at("w").normal((3, 3)), 3 + noise.at("size").integers(3, (2,))
    dense = np.kron(np.eye(int(height * width)), w)  # the image as one long vector
    return gap(form(w, int(height), int(width)), np.linalg.slogdet(dense)[1])


def _log_abs_det(w: Array) -> float:
    return float(np.linalg.slogdet(w)[1])


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="nf.change_of_variables_1d",
        statement=r"p(x)=\pi(f^{-1}(x))\,|(f^{-1})'(x)|",
        family=FAMILY,
        sources=(FLOW_SLIDE,),
        right=lambda z, slope: _normal(z) * np.abs(slope),
        wrong={
            "divided by the slope": lambda z, slope: _normal(z) / np.abs(slope),
            "no absolute value": lambda z, slope: _normal(z) * slope,
            "no slope": lambda z, slope: _normal(z),
        },
        check=_change_of_variables_1d,
        tolerance=1e-7,
    ),
    Claim(
        id="nf.inverse_function",
        statement=r"\frac{df^{-1}(y)}{dy}=\Bigl(\frac{df}{dx}\bigl(f^{-1}(y)\bigr)\Bigr)^{-1}",
        family=FAMILY,
        sources=(FLOW_SLIDE,),
        right=lambda slope, inverse, y: 1 / slope(inverse(y)),
        wrong={
            "at y": lambda slope, inverse, y: 1 / slope(y),
            "not inverted": lambda slope, inverse, y: slope(inverse(y)),
            "the sign": lambda slope, inverse, y: -1 / slope(inverse(y)),
        },
        check=_inverse_function,
        tolerance=ROUNDING,
    ),
    Claim(
        id="nf.composition_logdet",
        statement=r"\log p(x)=\log\pi_0(z_0)"
        r"-\sum_i\log\Bigl|\det\frac{df_i}{dz_{i-1}}\Bigr|",
        family=FAMILY,
        sources=(FLOW_SLIDE, "dinh2017-realnvp"),
        right=_log_density,
        wrong={
            "the sign of the sum": lambda f, p, x: _log_density(f, p, x, -1.0),
            "no determinants": lambda f, p, x: _log_density(f, p, x, 0.0),
            "counted twice": lambda f, p, x: _log_density(f, p, x, 2.0),
        },
        check=_composition_logdet,
        tolerance=ROUNDING,
    ),
    Claim(
        id="nf.flow_inverse",
        statement=r"(f_K\circ\dots\circ f_1)^{-1}=f_1^{-1}\circ\dots\circ f_K^{-1}",
        family=FAMILY,
        sources=(FLOW_SLIDE, "dinh2017-realnvp"),
        right=lambda flow, params, z: flow.inverse(params, z),
        wrong={
            "layers in another order": lambda flow, p, z: flow.inverse(_shuffled(p), z),
            "forward again": lambda flow, p, z: flow.forward(p, z)[0],
        },
        check=_flow_inverse,
        tolerance=ROUNDING,
    ),
    Claim(
        id="nf.coupling_inverse",
        statement=r"y_b=x_b\odot e^{s(x_a)}+t(x_a)\iff x_b=(y_b-t(x_a))\odot e^{-s(x_a)}",
        family=FAMILY,
        sources=('L1 "VAEs → Diffusion Models"', "dinh2017-realnvp"),
        right=ops.affine_coupling_inverse,
        wrong={
            "unscale first": lambda y, t, s: y * np.exp(-s) - t,
            "the scale's sign": lambda y, t, s: (y - t) * np.exp(s),
            "the shift's sign": lambda y, t, s: (y + t) * np.exp(-s),
        },
        check=_coupling_inverse,
        tolerance=ROUNDING,
    ),
    Claim(
        id="nf.coupling_logdet",
        statement=r"\log\Bigl|\det\frac{\partial(y_a,y_b)}{\partial(x_a,x_b)}\Bigr|=\sum_ds_d(x_a)",
        family=FAMILY,
        sources=('L1 "VAEs → Diffusion Models"', "dinh2017-realnvp"),
        right=lambda x, t, s: ops.affine_coupling_forward(x, t, s)[1],
        wrong={
            "the scales themselves": lambda x, t, s: np.sum(np.exp(s), axis=1),
            "the sign": lambda x, t, s: -np.sum(s, axis=1),
            "a mean": lambda x, t, s: np.mean(s, axis=1),
            "volume kept": lambda x, t, s: np.zeros(len(s)),
        },
        check=_coupling_logdet,
        tolerance=ROUNDING,
    ),
    Claim(
        id="nf.inv1x1_logdet",
        statement=r"\log|\det|\text{ of a }1\times1\text{ convolution }=h\,w\,\log|\det W|",
        family=FAMILY,
        sources=('L1 "VAEs → Diffusion Models"',),
        right=lambda w, height, width: height * width * _log_abs_det(w),
        wrong={
            "once for the image": lambda w, height, width: _log_abs_det(w),
            "once a side": lambda w, height, width: (height + width) * _log_abs_det(w),
            "once a channel": lambda w, height, width: height * width * len(w) * _log_abs_det(w),
        },
        check=_inv1x1_logdet,
        tolerance=ROUNDING,
    ),
)
