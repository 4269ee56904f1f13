r"""Claims on the samplers that solve the probability flow's equation, and on the way back along it.

Sources    karras2022-edm  algorithm 1;  lu2022-dpm-solver-pp;  song2021-ddim  section 4.3

All walks are the project's. In a world N(m, v) the flow is a map in closed form.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from refgen.check.witness import order_of_convergence
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes import Schedule, linear, stride
from refgen.processes.path import EDM, VP, Path, log_snr, time_of
from refgen.processes.spacing import karras
from refgen.samplers import sample_ddim
from refgen.samplers.ddim import invert_ddim
from refgen.samplers.dpm_solver import sample_dpm_solver_2m
from refgen.samplers.edm import sample_edm
from refgen.samplers.probability_flow import sample_probability_flow
from refgen.typing import Array

FAMILY = "sampling"
ROUNDING = 1e-9
POINTS = np.linspace(-2.0, 2.0, 5)
COUNTS = (32, 64, 128, 256)
LECTURE_4 = 'L4 "Denoising Diffusion Implicit Models"'


class Bed:
    """Data N(m, v) on a path: what predicts the noise, the marginals, and the flow."""

    def __init__(self, noise: Noise, path: Path) -> None:
        self.mean = beds.between(noise.at("mean"), 0.3, 1.0)
        self.var = beds.between(noise.at("var"), 0.2, 0.6)
        self.path = path

    def marginal(self, t: float) -> tuple[float, float]:
        """Return mean and variance at a time."""
        a, b = (float(level) for level in self.path.levels(t)[:2])
        return a * self.mean, a * a * self.var + b * b

    def noise_hat(self, x: Array, t: float) -> Array:
        """Return E[noise | x]."""
        world = Gaussian(np.array([self.mean]), np.array([[self.var]]))
        a, b = (float(level) for level in self.path.levels(t)[:2])
        return world.noise_mean(x[:, None], a, b)[:, 0]

    def carried(self, x: Array, t: float, s: float) -> Array:
        """Return where the flow takes points from t to s."""
        (mean, var), (mean_next, var_next) = self.marginal(t), self.marginal(s)
        return mean_next + math.sqrt(var_next / var) * (x - mean)


def even_in_log_snr(path: Path, first: float, last: float, count: int) -> list[float]:
    """Return count + 1 times from first to last, in equal steps of λ."""
    ends = [float(log_snr(path, t)) for t in (first, last)]
    times: list[float] = np.asarray(
        time_of(path, np.linspace(ends[0], ends[1], count + 1))
    ).tolist()
    return times


def _second_order(form: Form, noise: Noise) -> float:
    """Return how far the order of form(noise_hat, x, path, times) is from 2."""
    bed, errors = Bed(noise, VP(0.1, 12.0)), []
    for count in COUNTS:
        times = even_in_log_snr(bed.path, 1.0, 0.05, count)
        found = form(bed.noise_hat, POINTS, bed.path, times)
        errors.append(gap(found, bed.carried(POINTS, 1.0, 0.05)))
    return abs(order_of_convergence(COUNTS, errors) - 2)


def _by_rule(rule: str) -> Form:
    return lambda predict, x, path, times: sample_probability_flow(
        predict, x, path, times=times, rule=rule
    )


def _first_order(predict: Any, x: Array, path: Path, times: Sequence[float]) -> Array:
    """Return the end of single steps of 2M, each of which has no step before it."""
    for pair in pairwise(times):
        x = sample_dpm_solver_2m(predict, x, path, times=pair)
    return x


def _edm_order(form: Form, noise: Noise) -> float:
    """Return how far the order of form(estimate of the data, x, σ) is from 2."""
    bed, errors = Bed(noise, EDM(1.0)), []

    def denoise(x: Array, sigma: float) -> Array:
        return x - sigma * bed.noise_hat(x, sigma)

    for count in COUNTS[:3]:
        sigmas = karras(count + 1, 10.0, 0.1)[:-1]  # without the last step, to 0
        found = form(denoise, 5 * POINTS, sigmas)
        errors.append(gap(found, bed.carried(5 * POINTS, 10.0, 0.1)))
    return abs(order_of_convergence(COUNTS[:3], errors) - 2)


def _by_edm(denoise: Any, x: Array, sigmas: Sequence[float]) -> Array:
    return sample_edm(denoise, x, sigmas, Noise(0))


def _euler_only(denoise: Any, x: Array, sigmas: Sequence[float]) -> Array:
    for sigma, after in pairwise(sigmas):
        x = x + (after - sigma) * (x - denoise(x, sigma)) / sigma
    return x


def _same_slope_twice(denoise: Any, x: Array, sigmas: Sequence[float]) -> Array:
    """Return Heun's rule with the second slope at the first point."""
    for sigma, after in pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        again = (x - denoise(x, after)) / after
        x = x + (after - sigma) * 0.5 * (slope + again)
    return x


def _one_datum(form: Form, noise: Noise) -> float:
    """Compare form(noise_hat, x, path, times) for data at one point with b/b and the point."""
    path, datum = VP(0.1, 12.0), float(noise.at("datum").normal(1)[0])
    times = [0.9, beds.between(noise.at("t"), 0.4, 0.6), 0.2]
    draw = noise.at("draw").normal(5)
    levels = [path.levels(t) for t in times]

    def predict(x: Array, t: float) -> Array:
        a, b, _, _ = path.levels(t)
        return np.asarray((x - a * datum) / b)

    found = form(predict, levels[0].a * datum + levels[0].b * draw, path, times)
    return gap(found, levels[-1].a * datum + levels[-1].b * draw)


def _returns(form: Form, noise: Noise) -> float:
    """Compare with the data what DDIM makes of form(noise_hat, data, schedule, times)."""
    bed, schedule = Bed(noise, VP()), linear(200, 1e-3, 0.05)
    world = Gaussian(np.array([bed.mean]), np.array([[bed.var]]))

    def predict(x: Array, t: int) -> Array:
        a, b = float(schedule.signal(t)), float(schedule.spread(t))
        return world.noise_mean(x[:, None], a, b)[:, 0]

    code = form(predict, POINTS, schedule, stride(schedule.T, 50))
    back = sample_ddim(predict, code, schedule, noise, times=stride(schedule.T, 50))
    return gap(back, POINTS)


def _inverted(rounds: int) -> Form:
    return lambda predict, x, s, times: invert_ddim(predict, x, s, times=times, rounds=rounds)


def _noised_again(predict: Any, x: Array, schedule: Schedule, times: Sequence[int]) -> Array:
    """Return a draw of q(x_T | data)."""
    T = schedule.T
    noised: Array = schedule.signal(T) * x + schedule.spread(T) * Noise(0).normal(x.shape)
    return noised


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="dpm.exact_for_one_datum",
        statement=r"x_s=\tfrac{b_s}{b_t}x_t-a_s(e^{-h}-1)\,\hat x_0,\ h=\lambda_s-\lambda_t:"
        r"\text{ a step of any length is exact where }\hat x_0\text{ does not change}",
        family=FAMILY,
        sources=("lu2022-dpm-solver-pp",),
        right=lambda predict, x, path, times: sample_dpm_solver_2m(predict, x, path, times=times),
        wrong={
            "Euler's rule on the flow": _by_rule("euler"),
            "Heun's": _by_rule("heun"),
        },
        check=_one_datum,
        tolerance=ROUNDING,
    ),
    Claim(
        id="dpm.order2_in_S",
        statement=r"D=\hat x_t+\tfrac h{2h'}(\hat x_t-\hat x_{\mathrm{before}}):"
        r"\text{ the error of }S\text{ steps, one call each, is }O(1/S^2)",
        family=FAMILY,
        sources=("lu2022-dpm-solver-pp",),
        right=lambda predict, x, path, times: sample_dpm_solver_2m(predict, x, path, times=times),
        wrong={
            "no memory of the step before": _first_order,
            "Euler's rule on the flow": _by_rule("euler"),
        },
        check=_second_order,
        tolerance=0.25,
    ),
    Claim(
        id="edm.order2_in_S",
        statement=r"\tfrac{dx}{d\sigma}=\tfrac{x-D(x,\sigma)}\sigma\text{ by Heun's rule: the "
        r"error of }S\text{ steps is }O(1/S^2)",
        family=FAMILY,
        sources=("karras2022-edm",),
        right=_by_edm,
        wrong={
            "Euler's rule": _euler_only,
            "the second slope where the step begins": _same_slope_twice,
        },
        check=_edm_order,
        tolerance=0.15,
    ),
    Claim(
        id="ddim.inversion",
        statement=r"x_t=(x_s-q\,\epsilon_\theta(x_t,t))/p,\text{ solved for }x_t\text{ step by "
        r"step, is the }x_T\text{ from which DDIM returns}",
        family=FAMILY,
        sources=(LECTURE_4, "song2021-ddim"),
        right=_inverted(40),
        wrong={
            "one round": _inverted(1),
            "two rounds": _inverted(2),
            "noise drawn afresh": _noised_again,
        },
        check=_returns,
        tolerance=ROUNDING,
    ),
)
