r"""Claims on what runs a diffusion back: the reverse SDE, its flow, and the density carried along.

Sources    anderson1982-reverse;  song2021-sde  eq. 6, 13, appendix D

The walks are the project's; truths are the marginals of a world N(m, v), in closed form.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.claims.solvers import FAMILY, POINTS, Bed, even_in_log_snr
from refgen.noise import Noise
from refgen.processes.path import VP, Path, sde
from refgen.samplers.probability_flow import ProbabilityFlow, log_density, sample_probability_flow
from refgen.samplers.sde import sample_reverse_sde
from refgen.typing import Array


def _likelihood(form: Form, noise: Noise) -> float:
    """Compare form(flow, x, times) with log N(x; m_t, v_t) at a first time above 0."""
    bed = Bed(noise, VP(0.1, 40.0))

    def noise_hat(x: Array, t: float) -> Array:
        return bed.noise_hat(x[:, 0], t)[:, None]

    def pullback(x: Array, t: float) -> tuple[Array, Any]:
        slope = float(bed.path.levels(t).b) / bed.marginal(t)[1]
        return noise_hat(x, t), lambda e: slope * e

    flow = ProbabilityFlow(bed.path, noise_hat, pullback)
    times = even_in_log_snr(bed.path, 0.02, 1.0, 50)
    mean, var = bed.marginal(0.02)
    x = mean + math.sqrt(var) * POINTS
    return gap(form(flow, x[:, None], times), beds.log_normal(x, mean, var))


def _without_divergence(flow: ProbabilityFlow, x: Array, times: Sequence[float]) -> Array:
    """Return the density of the code alone."""
    code = sample_probability_flow(flow.predict_noise, x, flow.path, times=times, rule="rk4")
    return beds.log_normal(code[:, 0], 0.0, float(flow.path.levels(times[-1]).b) ** 2)


def _against_divergence(flow: ProbabilityFlow, x: Array, times: Sequence[float]) -> Array:
    return 2 * _without_divergence(flow, x, times) - log_density(flow, x, times=times)


def _one_family(form: Form, noise: Noise) -> float:
    """Return by how much a short step misses the marginal's variance, over the step's length.

    form(noise_hat, x, path, place, times, η) is affine in x with one draw: two points tell it all.
    """
    bed = Bed(noise, VP(0.1, 12.0))
    t, h, eta = beds.between(noise.at("t"), 0.3, 0.8), 1e-4, beds.between(noise.at("eta"), 0.4, 1.5)
    place = noise.at("walk")
    z = float(place.at("step", 0).normal((2,))[0])  # the draw of the first point
    of_mean, _ = bed.marginal(t)

    def end(off: float, eta: float) -> float:
        x = np.array([of_mean + off, 0.0])
        return float(form(bed.noise_hat, x, bed.path, place, [t, t - h], eta)[0])

    kept, added = end(1.0, eta) - end(0.0, eta), (end(0.0, eta) - end(0.0, 0.0)) / z
    var, var_next = bed.marginal(t)[1], bed.marginal(t - h)[1]
    return abs(float(kept**2 * var + added**2) - var_next) / h


def _by_sde(
    predict: Any, x: Array, path: Path, place: Noise, times: Sequence[float], eta: float
) -> Array:
    return sample_reverse_sde(predict, x, path, place, times=times, eta=eta)


def _mixed(of_drift: float, of_noise: float) -> Form:
    """Return the step with some other share of the score, and of the noise, than η's."""

    def form(
        predict: Any, x: Array, path: Path, place: Noise, times: Sequence[float], eta: float
    ) -> Array:
        moved = _by_sde(predict, x, path, place, times, eta)
        flow = _by_sde(predict, x, path, place, times, 0.0)
        var = eta**2 * float(sde(path, times[0])[1]) * (times[0] - times[1])
        draw = math.sqrt(var) * place.at("step", 0).normal(x.shape)
        mixed: Array = flow + of_drift * (moved - flow - draw) + of_noise * draw
        return mixed

    return form


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="sde.one_family",
        statement=r"dx=\bigl(fx-\tfrac{1+\eta^2}2g^2\nabla\log p_t\bigr)dt+\eta g\,dW"
        r"\text{, run back, has the same marginals for every }\eta",
        family=FAMILY,
        sources=("anderson1982-reverse", "song2021-sde"),
        right=_by_sde,
        wrong={
            "noise without its score": _mixed(0.0, 1.0),
            "the score without its noise": _mixed(1.0, 0.0),
            "twice the score": _mixed(2.0, 1.0),
            "half the noise": _mixed(1.0, 0.5),
        },
        check=_one_family,
        tolerance=0.1,  # of a step of 1e-4, over its length
    ),
    Claim(
        id="sde.flow_likelihood",
        statement=r"\log p_0(x_0)=\log\mathcal N(x_1;0,b_1^2I)+\int_0^1\mathrm{div}\,v_t(x_t)\,dt",
        family=FAMILY,
        sources=('L3 "Continuous-in-time Normalizing Flows"', "song2021-sde"),
        right=lambda flow, x, times: log_density(flow, x, times=times),
        wrong={
            "the density of the code alone": _without_divergence,
            "the divergence's sign": _against_divergence,
        },
        check=_likelihood,
        tolerance=1e-3,
    ),
)
