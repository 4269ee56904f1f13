r"""Claims on the noise schedules and on the times that a sampler visits.

Sources    ho2020-ddpm  section 4;  nichol2021-improved  eq. 17

Truths are closed forms of ᾱ, or sums of logarithms; the schedules multiply.
"""

import math
from itertools import pairwise

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.processes import constant, cosine, linear, quadratic, stride
from refgen.processes.path import VP, CosinePath, Levels, Path, SigmoidPath
from refgen.typing import Array

FAMILY = "schedules"
ROUNDING = 1e-9
KEEP_ALL = 1 - 1e-12  # a largest β that clips the cosine's last step only


def _ends(noise: Noise) -> tuple[int, float, float]:
    T = beds.integer(noise.at("T"), 10, 1000)
    return T, beds.between(noise.at("first"), 1e-4, 1e-2), beds.between(noise.at("last"), 0.02, 0.3)


def linear_log_signal(form: Form, noise: Noise) -> float:
    """Compare with Σ log(1 − β_t), drawn ends and the literature's, whose sum is −10.1177."""
    worst = largest(0.0, abs(float(np.log(form(1000, 1e-4, 0.02)[-1])) + 10.1177) - 5e-5)
    T, first, last = _ends(noise)
    beta = [first + (last - first) * (t - 1) / (T - 1) for t in range(1, T + 1)]
    truth = math.fsum(math.log1p(-b) for b in beta)
    return largest(worst, gap(float(np.log(form(T, first, last)[-1])), truth))


def _quadratic_beta(form: Form, noise: Noise) -> float:
    T, first, last = _ends(noise)
    t = np.arange(T) / (T - 1)
    roots = (1 - t) * math.sqrt(first) + t * math.sqrt(last)
    return gap(form(T, first, last)[1:] / roots**2, np.ones(T))


def _constant_signal(form: Form, noise: Noise) -> float:
    T, _, beta = _ends(noise)
    truth = np.exp(np.arange(T + 1) * math.log1p(-beta))
    return gap(form(T, beta), truth)


def _two_cosines(form: Form, noise: Noise) -> float:
    """Compare with the lecture's other form."""
    T = beds.integer(noise, 5, 500)
    truth = 0.5 * (np.cos(math.pi * np.arange(T) / T) + 1)  # the last step is clipped
    return gap(form(T)[:T], truth)


def _on_the_arc(form: Form, noise: Noise) -> float:
    """Compare angle, radius and speed of form(t), levels and rates, with a clock hand's."""
    t = 0.1 + 0.8 * noise.uniform(6)
    a, b, da, db = form(t)
    place, speed = a + 1j * b, da + 1j * db
    hand = np.exp(0.5j * math.pi * t)
    return largest(gap(place, hand), gap(speed, 0.5j * math.pi * hand))


def _of(path: Path) -> Form:
    return lambda t: path.levels(t)


def _squared(t: Array) -> Levels:
    a, b, da, db = CosinePath().levels(t)
    return Levels(a * a, b * b, 2 * a * da, 2 * b * db)


def _cosine_offset(form: Form, noise: Noise) -> float:
    T, offset = beds.integer(noise.at("T"), 5, 500), beds.between(noise.at("offset"), 0.005, 0.1)
    t = np.arange(T)
    arc = (t / T + offset) / (1 + offset) * math.pi
    truth = (1 + np.cos(arc)) / (1 + math.cos(offset / (1 + offset) * math.pi))
    return gap(form(T, offset)[:T], truth)


def _clip(form: Form, noise: Noise) -> float:
    """Compare with no limit before T, and with what a largest β leaves at T."""
    T = beds.integer(noise, 100, 1000)
    keep = form(T, 1e-3)
    truth = np.cos(0.5 * math.pi * np.arange(T) / T) ** 2
    lost = 1.0 if keep[-1] <= 0 else 0.0
    return largest(lost, gap(keep[:T], truth), gap(keep[-1] / keep[-2], 1e-3))


def _clip_alpha(T: int, least: float) -> Array:
    alpha = cosine(T, 0.0, KEEP_ALL).alpha
    return np.cumprod(np.concatenate([[1.0], np.clip(alpha[1:], least, 1 - least)]))


def _even_times(form: Form, noise: Noise) -> float:
    """Count what is wrong: the ends, the number of steps, a time visited twice, uneven steps."""
    steps = beds.integer(noise.at("steps"), 3, 50)
    T = steps * beds.integer(noise.at("each"), 3, 20) + beds.integer(noise.at("rest"), 1, steps - 1)
    times = [float(t) for t in form(T, steps)]
    gaps = [t - s for t, s in pairwise(times)]
    wrong = (
        abs(times[0] - T),
        abs(times[-1]),
        abs(len(gaps) - steps),
        1.0 if min(gaps) < 1 else 0.0,
        largest(0.0, largest(*gaps) - min(gaps) - 1),
    )
    return largest(*wrong)


CLAIMS = (
    Claim(
        "sched.linear_abarT",
        r"\beta_t \text{ linear from } 10^{-4} \text{ to } 0.02,\ T = 1000: "
        r"\log\bar\alpha_T = -10.118",
        FAMILY,
        ('L1 "Choice of β_t"', 'L4 "DDPM - Noise Schedule"', "ho2020-ddpm"),
        lambda T, first, last: linear(T, first, last).alpha_bar,
        {
            "twice the last β": lambda T, first, last: linear(T, first, 2 * last).alpha_bar,
            "T + 1 points": lambda T, first, last: linear(T + 1, first, last).alpha_bar[:-1],
            "equal steps of √β": lambda T, first, last: quadratic(T, first, last).alpha_bar,
        },
        linear_log_signal,
        ROUNDING,
    ),
    Claim(
        "sched.quadratic",
        r"\sqrt{\beta_t} \text{ in equal steps from } \sqrt{\beta_1} \text{ to } \sqrt{\beta_T}",
        FAMILY,
        ('L1 "Choice of β_t"',),
        lambda T, first, last: quadratic(T, first, last).beta,
        {
            "β itself in equal steps": lambda T, first, last: linear(T, first, last).beta,
            "equal steps of β²": lambda T, first, last: np.append(
                0.0, np.sqrt(np.linspace(first**2, last**2, T))
            ),
        },
        _quadratic_beta,
        ROUNDING,
    ),
    Claim(
        "sched.constant",
        r"\beta_t = \beta \Rightarrow \bar\alpha_t = (1 - \beta)^t",
        FAMILY,
        ('L1 "Choice of β_t"',),
        lambda T, beta: constant(T, beta).alpha_bar,
        {
            "1 − tβ": lambda T, beta: np.maximum(0, 1 - beta * np.arange(T + 1)),
            "one step more": lambda T, beta: constant(T, beta).alpha_bar * (1 - beta),
        },
        _constant_signal,
        ROUNDING,
    ),
    Claim(
        "sched.cosine_is_cos2",
        r"\bar\alpha_t = \tfrac12(\cos\tfrac{\pi t}T + 1) = \cos^2\tfrac{\pi t}{2T}",
        FAMILY,
        ('L1 "Choice of β_t"', 'L4 "DDPM - Noise Schedule"', "nichol2021-improved"),
        lambda T: cosine(T, offset=0.0).alpha_bar,
        {
            "not squared": lambda T: np.cos(0.5 * math.pi * np.arange(T + 1) / T),
            "uniform in ᾱ": lambda T: 1 - np.arange(T + 1) / T,
            "the whole half circle": lambda T: np.cos(math.pi * np.arange(T + 1) / T) ** 2,
        },
        _two_cosines,
        ROUNDING,
    ),
    Claim(
        "sched.arc_uniform",
        r"\sqrt{\bar\alpha_t} + i\sqrt{1 - \bar\alpha_t} = e^{i\pi t/2T}: \text{ uniform motion on "
        r"a quarter of the circle}",
        FAMILY,
        ('L4 "DDPM - Noise Schedule"', "nichol2021-improved"),
        _of(CosinePath()),
        {
            "no roots": _squared,
            "with an offset": _of(CosinePath(0.1)),
            "another arc, not uniform": _of(SigmoidPath()),
            "β growing linearly": _of(VP()),
            "the other way round": lambda t: CosinePath().levels(1 - t),
        },
        _on_the_arc,
        ROUNDING,
    ),
    Claim(
        "sched.cosine_offset",
        r"\bar\alpha_t = f(t)/f(0), \quad f(t) = \cos^2\Bigl(\frac{t/T + o}{1 + o}\frac\pi2\Bigr)",
        FAMILY,
        ('L4 "DDPM - Noise Schedule"', "nichol2021-improved"),
        lambda T, offset: cosine(T, offset).alpha_bar,
        {
            "not divided by f(0)": lambda T, offset: (
                np.cos(0.5 * math.pi * (np.arange(T + 1) / T + offset) / (1 + offset)) ** 2
            ),
            "no offset": lambda T, offset: cosine(T, 0.0).alpha_bar,
            "twice the offset": lambda T, offset: cosine(T, 2 * offset).alpha_bar,
        },
        _cosine_offset,
        ROUNDING,
    ),
    Claim(
        "sched.cosine_clip",
        r"\beta_t \leftarrow \min(\beta_t, 1 - \varepsilon) \text{ keeps } \bar\alpha_T > 0 \text{ "
        r"and changes no } \bar\alpha_t,\ t < T",
        FAMILY,
        ('L4 "DDPM - Noise Schedule"', "nichol2021-improved"),
        lambda T, least: cosine(T, 0.0, 1 - least).alpha_bar,
        {
            "α clipped at both ends": _clip_alpha,
            "no clip": lambda T, least: np.cos(0.5 * math.pi * np.arange(T + 1) / T) ** 2,
        },
        _clip,
        ROUNDING,
    ),
    Claim(
        "sched.stride",
        r"t_i = \lfloor iT/S \rfloor,\ i = S, \dots, 0: \text{ from } T \text{ to } 0 \text{ in } "
        r"S \text{ steps that differ by at most } 1",
        FAMILY,
        ('L4 "Denoising Diffusion Implicit Models"', "song2021-ddim"),
        stride,
        {
            "ends at 1": lambda T, steps: (*stride(T, steps)[:-1], 1),
            "a rounded step": lambda T, steps: [T - i * -(-T // steps) for i in range(steps + 1)],
            "0 left out": lambda T, steps: stride(T, steps)[:-1],
        },
        _even_times,
        0.0,
    ),
)
