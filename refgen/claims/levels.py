r"""Claims on paths and on the lists of levels: what noise there is, and which of it is visited.

Sources    lin2024-zero-snr;  karras2022-edm;  nichol2021-improved;  song2021-sde;  song2019-ncsn

Truths are the moments of an SDE step by step, conditioned Gaussians, and lists in whole fractions.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.processes.discrete import transition
from refgen.processes.path import VE, VP, Path, SubVP
from refgen.processes.schedule import Schedule, geometric, zero_terminal
from refgen.processes.spacing import karras, leading, linspace, respaced, trailing
from refgen.typing import Array

FAMILY = "schedules"
ROUNDING = 1e-9


def _zero_terminal(form: Form, noise: Noise) -> float:
    """Compare with the affine map of √ᾱ that keeps its first level and takes its last to 0."""
    schedule = beds.some_schedule(noise)
    root = np.sqrt([beds.kept(schedule, t) for t in range(1, schedule.T + 1)])
    ends = np.array([[root[0], 1.0], [root[-1], 1.0]])
    slope, shift = np.linalg.solve(ends, [root[0], 0.0])
    return gap(form(schedule), np.append(1.0, (slope * root + shift) ** 2))


def _shifted_square(schedule: Schedule) -> Array:
    keep = schedule.alpha_bar.copy()
    keep[1:] = (keep[1:] - keep[-1]) * keep[1] / (keep[1] - keep[-1])
    return keep


def _from_the_data(schedule: Schedule) -> Array:
    root = np.sqrt(schedule.alpha_bar)
    keep: Array = np.square((root - root[-1]) / (1 - root[-1]))
    return keep


def _last_only(schedule: Schedule) -> Array:
    return np.append(schedule.alpha_bar[:-1], 0.0)


def _trailing(form: Form, noise: Noise) -> float:
    steps = beds.integer(noise.at("steps"), 3, 30)
    T = steps * beds.integer(noise.at("each"), 3, 20) + beds.integer(noise.at("rest"), 1, steps - 1)
    exact = [Fraction(T * i, steps) for i in range(steps, -1, -1)]
    return gap(form(T, steps), [math.floor(t + Fraction(1, 2)) for t in exact])


def _karras(form: Form, noise: Noise) -> float:
    """Compare with eq. 5 of the paper, i = 0 .. N − 1, and σ_N = 0."""
    N, rho = beds.integer(noise.at("N"), 3, 30), beds.between(noise.at("rho"), 2.0, 9.0)
    most, least = beds.between(noise.at("most"), 5, 80), beds.between(noise.at("least"), 0.01, 0.1)
    logs = [
        rho * math.log((1 - i / (N - 1)) * most ** (1 / rho) + i / (N - 1) * least ** (1 / rho))
        for i in range(N)
    ]
    return gap(form(N, most, least, rho), [*(math.exp(log) for log in logs), 0.0])


def _respaced(form: Form, noise: Noise) -> float:
    """Compare form(schedule, times) with the variance of x_s given x_t and x_0, jump by jump."""
    schedule = beds.some_schedule(noise, 8)
    s = beds.integer(noise.at("s"), 2, schedule.T - 3)
    times = (schedule.T - 1, s + 1, s, 0)
    truth = [beds.posterior(schedule, t, s)[2] for t, s in pairwise(times)]
    return gap(form(schedule, times), [0.0, *truth[::-1]])


def _picked(schedule: Schedule, times: tuple[int, ...]) -> Array:
    beta = schedule.beta[list(times)[::-1]]
    return Schedule("picked", np.append(0.0, beta[1:])).posterior_var


def _moments(form: Form, noise: Noise) -> float:
    """Follow v' = 2 f v + g² with the paper's f and g²; compare with form(path, t)."""
    first, last = beds.between(noise.at("first"), 0.1, 1.0), beds.between(noise.at("last"), 3, 9)
    end, worst, steps = beds.between(noise.at("end"), 0.4, 1.0), 0.0, 400
    h, log = end / steps, math.log(last / 0.1)

    def total(t: float) -> float:
        return first * t + 0.5 * (last - first) * t * t

    def beta(t: float) -> float:
        return first + (last - first) * t

    printed: dict[Path, Callable[[float], tuple[float, float]]] = {
        VP(first, last): lambda t: (-0.5 * beta(t), beta(t)),
        SubVP(first, last): lambda t: (-0.5 * beta(t), beta(t) * (1 - math.exp(-2 * total(t)))),
        VE(0.1, last): lambda t: (0.0, 2 * log * (0.1 * math.exp(log * t)) ** 2),
    }
    for path, coefficients in printed.items():
        v = float(path.levels(0.0).b) ** 2
        for i in range(steps):
            slopes: list[float] = []
            for part in (0.0, 0.5, 0.5, 1.0):
                f, g2 = coefficients((i + part) * h)
                slopes.append(2 * f * (v + part * h * (slopes[-1] if slopes else 0.0)) + g2)
            v += h / 6 * (slopes[0] + 2 * slopes[1] + 2 * slopes[2] + slopes[3])
        worst = largest(worst, gap(form(path, end), v))
    return worst


def _var(path: Path, t: float) -> float:
    return float(path.levels(t).b) ** 2


def _exploding(form: Form, noise: Noise) -> float:
    """Add up form(path, t, s), signal kept and variance of a step, from σ_0 to every σ_t."""
    first, last = beds.between(noise.at("first"), 0.1, 0.5), beds.between(noise.at("last"), 3, 9)
    times = np.linspace(0.0, 1.0, beds.integer(noise.at("steps"), 3, 8) + 1)
    signal, var, worst = 1.0, 0.0, 0.0
    for s, t in pairwise(times):
        gain, more = form(VE(first, last), float(t), float(s))
        signal, var = gain * signal, gain * gain * var + more
        sigma = math.exp((1 - t) * math.log(first) + t * math.log(last))
        worst = largest(worst, abs(signal - 1), gap(var, sigma**2 - first**2))
    return worst


def _step(path: Path, t: float, s: float) -> tuple[float, float]:
    gain, var = transition(path.levels(t), path.levels(s))
    return float(gain), float(var)


def _many_small_steps(form: Form, noise: Noise) -> float:
    """Compare with Π (1 − β(i/n)/n) up to time t, the limit told from n and 2n factors."""
    first, last = beds.between(noise.at("first"), 0.1, 1.0), beds.between(noise.at("last"), 4, 8)
    t, products = beds.between(noise.at("t"), 0.3, 1.0), []
    for n in (20_000, 40_000):
        part = t * np.arange(1, n + 1) / n
        beta = (1 - part) * first + part * last
        products.append(math.exp(float(np.sum(np.log1p(-beta * t / n)))))
    return gap(form(VP(first, last), t), 2 * products[1] - products[0])


def _geometric(form: Form, noise: Noise) -> float:
    L, last = beds.integer(noise.at("L"), 3, 20), beds.between(noise.at("last"), 0.01, 0.2)
    first = beds.between(noise.at("first"), 1.0, 30.0)
    sigma = np.asarray(form(L, first, last))
    each = math.exp((math.log(last) - math.log(first)) / (L - 1))
    ends = largest(abs(float(sigma[0]) - first), abs(float(sigma[-1]) - last))
    return largest(ends, gap(sigma[1:] / sigma[:-1], np.full(L - 1, each)))


CLAIMS = (
    Claim(
        "sched.zero_terminal",
        r"\sqrt{\bar\alpha'_t} = \bigl(\sqrt{\bar\alpha_t} - \sqrt{\bar\alpha_T}\bigr) "
        r"\frac{\sqrt{\bar\alpha_1}}{\sqrt{\bar\alpha_1} - \sqrt{\bar\alpha_T}}",
        FAMILY,
        ("lin2024-zero-snr",),
        lambda schedule: zero_terminal(schedule).alpha_bar,
        {
            "ᾱ shifted, not its root": _shifted_square,
            "stretched from ᾱ_0, so that ᾱ_1 moves": _from_the_data,
            "the last level only": _last_only,
        },
        _zero_terminal,
        ROUNDING,
    ),
    Claim(
        "sched.trailing",
        r"t_i = \lfloor iT/S + \tfrac12 \rfloor,\ i = S, \dots, 0: \text{ from } T \text{ to } 0",
        FAMILY,
        ("lin2024-zero-snr",),
        lambda T, steps: np.array(trailing(T, steps), float),
        {
            "leading": lambda T, steps: np.array(leading(T, steps), float),
            "linspace": lambda T, steps: np.array(linspace(T, steps), float),
            "a step of ⌊T/S⌋": lambda T, steps: T - np.arange(steps + 1.0) * (T // steps),
        },
        _trailing,
        ROUNDING,
    ),
    Claim(
        "sched.karras",
        r"\sigma_i = \Bigl(\sigma_{\max}^{1/\rho} + \tfrac i{N - 1}\bigl(\sigma_{\min}^{1/\rho} - "
        r"\sigma_{\max}^{1/\rho}\bigr)\Bigr)^\rho,\ \sigma_N = 0",
        FAMILY,
        ("karras2022-edm",),
        lambda N, most, least, rho: np.array(karras(N, most, least, rho)),
        {
            "1/ρ for ρ": lambda N, most, least, rho: np.array(karras(N, most, least, 1 / rho)),
            "N for N − 1": lambda N, most, least, rho: np.append(
                karras(N + 1, most, least, rho)[:-2], 0.0
            ),
            "even in σ": lambda N, most, least, rho: np.append(np.linspace(most, least, N), 0.0),
        },
        _karras,
        ROUNDING,
    ),
    Claim(
        "sched.respaced",
        r"\bar\alpha'_i = \bar\alpha_{t_i} \Rightarrow \tilde\beta'_i = \mathrm{Var}(x_{t_{i-1}} "
        r"\mid x_{t_i}, x_0)",
        FAMILY,
        ("nichol2021-improved",),
        lambda schedule, times: respaced(schedule, times).posterior_var,
        {
            "the β of the times": _picked,
            "the β̃ of the times": lambda s, times: s.posterior_var[list(times)[::-1]],
            "β'": lambda s, times: respaced(s, times).beta,
        },
        _respaced,
        ROUNDING,
    ),
    Claim(
        "sde.marginal_variances",
        r"\text{VP } 1 - e^{-\int\beta},\quad \text{sub-VP } (1 - e^{-\int\beta})^2,\quad \text{VE "
        r"} \sigma_0^2 (\sigma_1/\sigma_0)^{2t}",
        FAMILY,
        ("song2021-sde",),
        _var,
        {
            "the deviation": lambda path, t: math.sqrt(_var(path, t)),
            "VP's for sub-VP": lambda path, t: _var(
                VP(path.first, path.last) if isinstance(path, SubVP) else path, t
            ),
            "1 − a": lambda path, t: (
                _var(path, t) if isinstance(path, VE) else 1 - float(path.levels(t).a)
            ),
        },
        _moments,
        1e-7,
    ),
    Claim(
        "ve.forward_step",
        r"q(x_t \mid x_{t-1}) = \mathcal N(x_{t-1}, (\sigma_t^2 - \sigma_{t-1}^2) I) \Rightarrow "
        r"q(x_t \mid x_0) = \mathcal N(x_0, (\sigma_t^2 - \sigma_0^2) I)",
        FAMILY,
        ('L1 "VP-SDE vs. VE-SDE"', "song2021-sde"),
        _step,
        {
            "the whole variance": lambda path, t, s: (1.0, _var(path, t)),
            "the square of a difference": lambda path, t, s: (
                1.0,
                (math.sqrt(_var(path, t)) - math.sqrt(_var(path, s))) ** 2,
            ),
            "deviations": lambda path, t, s: (1.0, math.sqrt(_var(path, t)) - _var(path, s) ** 0.5),
            "the data made smaller too": lambda path, t, s: (
                math.sqrt(_var(path, s) / _var(path, t)),
                _step(path, t, s)[1],
            ),
        },
        _exploding,
        ROUNDING,
    ),
    Claim(
        "sde.vp_limit",
        r"\prod_{i \le n}\bigl(1 - \tfrac tn \beta(\tfrac{it}n)\bigr) \to e^{-\int_0^t \beta}, "
        r"\text{ what } dx = -\tfrac12\beta x\,dt + \sqrt\beta\,dW \text{ keeps of } \Vert x_0 "
        r"\Vert^2",
        FAMILY,
        ('L1 "VP-SDE vs. VE-SDE"', "song2021-sde"),
        lambda path, t: float(path.levels(t).a) ** 2,
        {
            "the signal, not its square": lambda path, t: float(path.levels(t).a),
            "the last β throughout": lambda path, t: math.exp(-t * path.beta(t)),
            "the drift doubled": lambda path, t: float(path.levels(t).a) ** 4,
            "one step": lambda path, t: 1 - path.total(t),
        },
        _many_small_steps,
        1e-6,
    ),
    Claim(
        "ncsn.geometric_levels",
        r"\sigma_i = \sigma_1 (\sigma_L/\sigma_1)^{(i-1)/(L-1)}: \text{ equal ratios, } \sigma_1 > "
        r"\dots > \sigma_L",
        FAMILY,
        ('L4 "Noise Conditional Score Network"', "song2019-ncsn"),
        geometric,
        {
            "equal differences": lambda L, first, last: np.linspace(first, last, L),
            "L for L − 1": lambda L, first, last: first * (last / first) ** (np.arange(L) / L),
            "the smallest first": lambda L, first, last: geometric(L, first, last)[::-1],
        },
        _geometric,
        ROUNDING,
    ),
)
