r"""Claims on what else teaches a network: traces, teachers and neighbours on a path.

Sources    hyvarinen2005-score-matching  theorem 1;  song2019-sliced;  karras2022-edm  appendix B.6;
           song2023-consistency;  salimans2022-distillation

Truths are expectations over a mixture by quadrature, sums over all signs, conditional means by
Bayes' rule on a grid of data, and complex steps.
"""

import math
from typing import Any

import numpy as np

from refgen.check.witness import jacobian
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives.consistency import Consistency
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.objectives.precondition import Preconditioned
from refgen.objectives.score_matching import SlicedScoreMatching
from refgen.processes import Schedule
from refgen.typing import Array

SCORE, TAUGHT = "score", "distillation"
ROUNDING = 1e-9
FIELD = mlp((1, 5, 1), "tanh")
SPACE = mlp((3, 5, 3), "tanh")


def integration_by_parts(form: Form, noise: Noise) -> float:
    """Return how much E form(s, s') − E (s − ∇ log q)² varies with s, relative to its mean."""
    world = beds.some_mixture(noise.at("world"))
    x, weights = beds.data_line(world, 3000)
    exact = world.score(x[:, None])[:, 0]
    gaps = []
    for i in range(4):
        params = beds.random_tree(FIELD.init(Noise(0)), noise.at("params", i))
        s = FIELD.forward(params, x[:, None])[0][:, 0]
        gaps.append(float(weights @ (form(params, x) - (s - exact) ** 2)))
    return (max(gaps) - min(gaps)) / abs(float(np.mean(gaps)))


def _implicit(params: Any, x: Array, of_trace: float = 2.0, of_square: float = 1.0) -> Array:
    points = x[:, None]
    s = FIELD.forward(params, points)[0][:, 0]
    loss = SlicedScoreMatching(FIELD, kind="axes").value(params, points, [np.ones_like(points)])
    trace = 0.5 * (loss[0]["loss"] - s * s)
    implicit: Array = of_square * s * s + of_trace * trace
    return implicit


def slices(form: Form, noise: Noise) -> float:
    """Compare form(params, x, v) over all signs v with |s|² + 2 tr of the Jacobian."""
    params = beds.random_tree(SPACE.init(Noise(0)), noise.at("params"))
    x = noise.at("x").normal((1, 3))
    s = SPACE.forward(params, x)[0]
    dense = jacobian(lambda p: SPACE.forward(params, p[None])[0][0], x[0])
    truth = np.sum(s * s) + 2 * np.trace(dense)
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    return gap(form(params, x, [v + 0 * x for v in signs]), truth)


def _sliced(params: Any, x: Array, v: list[Array]) -> Array:
    return np.asarray(SlicedScoreMatching(SPACE, len(v)).value(params, x, v)[0]["loss"])


def unit_target(form: Form, noise: Noise) -> float:
    """Compare form(σ, σ_d) with the best linear guess's slope and the deviation from it."""
    std, sigma = beds.between(noise.at("std"), 0.3, 2.0), beds.between(noise.at("sigma"), 0.1, 3.0)
    cov = np.array([[std**2, std**2], [std**2, std**2 + sigma**2]])  # of data and x
    slope, var = beds.regression(cov, 0, [1])
    return gap(form(sigma, std), [slope[0], math.sqrt(var), 1 / math.sqrt(cov[1, 1])])


class _One:
    """A network that says 1, and remembers what it was shown."""

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Array]:
        """Return (1, x)."""
        return 0 * x + 1, x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, Any]:
        """Return (0, {}): nothing of what it says depends on anything."""
        return 0 * dy, {}


def _coefficients(sigma: float, std: float, first: float = 0.0) -> Array:
    """Return c_skip, c_out and c_in of the project."""
    model, ends = Preconditioned(_One(), std, first), np.array([[0.0], [1.0]])
    y, cache = model.forward({}, ends, np.full(2, sigma))
    return np.array([y[1, 0] - y[0, 0], y[0, 0], cache[3][1, 0]])


def boundary(form: Form, noise: Noise) -> float:
    """Compare form(x, ε, σ_d), whose network says 1, with x."""
    std, first = beds.between(noise.at("std"), 0.3, 2.0), beds.between(noise.at("first"), 0.05, 0.3)
    x = noise.at("x").normal((5, 1))
    return gap(form(x, first, std), x)


def _at_the_start(x: Array, first: float, std: float, known: float = 1.0) -> Array:
    """Return the project's f(x, ε); known is the share of ε that it has been told."""
    model = Preconditioned(_One(), std, known * first)
    return model.forward({}, x, np.full(len(x), first))[0]


def draw_is_eulers_step(form: Form, noise: Noise) -> float:
    """Compare form(E[data | x], x, σ, σ') with E[data + σ' z | x = data + σ z], by Bayes' rule."""
    world = beds.some_mixture(noise.at("world"))
    high = beds.between(noise.at("high"), 0.4, 1.5)
    low = high * beds.between(noise.at("low"), 0.3, 0.8)
    x = np.linspace(-2.0, 2.0, 9)
    grid, weight = beds.data_line(world)
    joint = weight * np.exp(-0.5 * ((x[:, None] - grid) / high) ** 2)
    share = joint / np.sum(joint, axis=1, keepdims=True)
    ends = grid + low * (x[:, None] - grid) / high
    return gap(form(share @ grid, x, high, low), np.sum(share * ends, axis=1))


def _euler(data: Array, x: Array, high: float, low: float, sign: float = 1.0) -> Array:
    def teacher(at: Array, sigma: Array) -> Array:
        return at + sign * (data[:, None] - at)

    loss = Consistency(_One(), (0.1, 1.0), teacher, "euler")
    return loss.step(x[:, None], np.full(len(x), high), np.full(len(x), low))[:, 0]


def two_steps_in_one(form: Form, noise: Noise) -> float:
    """Compare the end of one step with form's data with that of a teacher's two, by DDIM."""
    schedule = beds.some_schedule(noise.at("schedule"))
    t = beds.integer(noise.at("t"), 3, schedule.T)
    half, s = t - 1, beds.integer(noise.at("s"), 1, t - 2)
    x, guesses = noise.at("x").normal((4, 1)), noise.at("guesses").normal((2, 4, 1))
    a, b = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)

    def walk(x: Array, data: Array, now: int, end: int) -> Array:
        moved: Array = a[end] * data + b[end] * (x - a[now] * data) / b[now]
        return moved

    truth = walk(walk(x, guesses[0], t, half), guesses[1], half, s)
    found = form(schedule, (t, half, s), x, guesses, truth)
    return gap(walk(x, found, t, s), truth)


def _aim(
    schedule: Schedule, times: tuple[int, int, int], x: Array, guesses: Array, end: Array
) -> Array:
    answers = iter(guesses)
    loss = ProgressiveDistillation(_One(), schedule, times, lambda x, t: next(answers), "data")
    return loss.aim(x, loss.step(np.zeros(len(x), np.int64), x))


def _solved(schedule: Schedule, times: Any, x: Array, end: Array, power: int, sign: float) -> Array:
    """Return (x'' ± ratio x) / (a_s − ratio a_t), the ratio b_s/b_t or its inverse."""
    t, _, s = times
    a, b = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    ratio = (b[s] / b[t]) ** power
    return np.asarray((end + sign * ratio * x) / (a[s] - ratio * a[t]))


CLAIMS = (
    Claim(
        "score.implicit",
        r"\mathbb E \Vert s - \nabla\log q \Vert^2 = \mathbb E\,[\Vert s \Vert^2 + 2\,\mathrm{tr}\,"
        r"\partial_x s] + \text{const}",
        SCORE,
        ('L4 "Score Matching"', "hyvarinen2005-score-matching"),
        _implicit,
        {
            "the trace's sign": lambda p, x: _implicit(p, x, -2.0),
            "the trace once": lambda p, x: _implicit(p, x, 1.0),
            "half the square": lambda p, x: _implicit(p, x, 2.0, 0.5),
            "no trace": lambda p, x: _implicit(p, x, 0.0),
        },
        integration_by_parts,
        1e-8,
    ),
    Claim(
        "score.sliced",
        r"\Vert s \Vert^2 + 2\,\mathrm{tr}\,\partial_x s = \mathbb E_v\,[(v^\top s)^2 + 2\,v^\top "
        r"(\partial_x s)\,v],\quad v_i = \pm 1",
        SCORE,
        ("song2019-sliced",),
        _sliced,
        {
            "slices of length 1": lambda p, x, v: _sliced(p, x, [a / math.sqrt(3) for a in v]),
            "the sum over slices": lambda p, x, v: len(v) * _sliced(p, x, v),
            "one and the same slice": lambda p, x, v: _sliced(p, x, v[-1:]),
        },
        slices,
        ROUNDING,
    ),
    Claim(
        "edm.preconditioning",
        r"c_{skip} = \frac{\sigma_d^2}{\sigma^2 + \sigma_d^2},\ c_{out} = \frac{\sigma\sigma_d}"
        r"{\sqrt{\sigma^2 + \sigma_d^2}},\ c_{in} = \frac1{\sqrt{\sigma^2 + \sigma_d^2}}: "
        r"\text{ the best linear guess, what it misses, and } 1/\mathrm{std}\,x",
        SCORE,
        ("karras2022-edm",),
        _coefficients,
        {
            "deviations for variances": lambda sigma, std: _coefficients(
                math.sqrt(sigma), math.sqrt(std)
            ),
            "data and noise exchanged": lambda sigma, std: _coefficients(std, sigma),
            "no skip": lambda sigma, std: _coefficients(sigma, std) * [0, 1, 1],
        },
        unit_target,
        ROUNDING,
    ),
    Claim(
        "cm.boundary",
        r"c_{skip} = \frac{\sigma_d^2}{(\sigma - \varepsilon)^2 + \sigma_d^2},\ c_{out} = "
        r"\frac{\sigma_d(\sigma - \varepsilon)}{\sqrt{\sigma^2 + \sigma_d^2}}: \quad f(x, "
        r"\varepsilon) = x, \text{ whatever the network says}",
        TAUGHT,
        ("song2023-consistency",),
        _at_the_start,
        {
            "the coefficients of EDM": lambda x, first, std: _at_the_start(x, first, std, 0.0),
            "half of ε": lambda x, first, std: _at_the_start(x, first, std, 0.5),
            "no skip": lambda x, first, std: 0 * x + 1,
        },
        boundary,
        ROUNDING,
    ),
    Claim(
        "cm.training_is_eulers_step",
        r"\mathbb E[x_0 + \sigma' z \mid x] = x + (\sigma' - \sigma)\,\frac{x - \mathbb E[x_0 \mid "
        r"x]}{\sigma},\quad x = x_0 + \sigma z",
        TAUGHT,
        ('L0 "DDPM algorithm"', "song2023-consistency"),
        _euler,
        {
            "up the path": lambda d, x, high, low: _euler(d, x, high, 2 * high - low),
            "the slope's sign": lambda d, x, high, low: _euler(d, x, high, low, -1.0),
            "not divided by sigma": lambda d, x, high, low: x + (low - high) * (x - d),
            "divided by the other sigma": lambda d, x, high, low: x + (low - high) * (x - d) / low,
        },
        draw_is_eulers_step,
        1e-8,
    ),
    Claim(
        "distill.two_steps_in_one",
        r"\tilde x = \frac{x'' - (b_s/b_t)\,x}{a_s - (b_s/b_t)\,a_t}: \text{ DDIM with } \tilde x "
        r"\text{ from } t \text{ to } s \text{ ends at } x''",
        TAUGHT,
        ('L0 "DDPM algorithm"', "salimans2022-distillation"),
        _aim,
        {
            "the teacher's last guess": lambda s, times, x, guesses, end: guesses[1],
            "the teacher's end, scaled": lambda s, times, x, guesses, end: (
                end / math.sqrt(s.alpha_bar[times[2]])
            ),
            "the ratio upside down": lambda s, times, x, guesses, end: _solved(
                s, times, x, end, -1, -1.0
            ),
            "a sign": lambda s, times, x, guesses, end: _solved(s, times, x, end, 1, 1.0),
        },
        two_steps_in_one,
        ROUNDING,
    ),
)
