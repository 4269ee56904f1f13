"""Samples in one step or a few: what exact answers make, in one call or many."""

import math
from dataclasses import replace

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.objectives.consistency import karras_levels
from refgen.systems.consistency import ConsistencyModel, sample_multistep
from refgen.systems.progressive_distillation import PATH, Progressive, even_times, walk

pytestmark = pytest.mark.tiny
POINT = (2,)
MEAN, STD, FIRST = 0.4, 0.6, 0.3
WORLD = Gaussian(np.array([MEAN]), np.array([[STD**2]]))


def exact_jump(x, sigma):
    """Return the beginning, at level FIRST, of the flow's path through x."""
    scale = np.sqrt((STD**2 + FIRST**2) / (STD**2 + np.asarray(sigma) ** 2))
    return MEAN + np.reshape(scale, (-1, 1)) * (x - MEAN)


class Jumper:
    """The exact consistency function of the Gaussian world in the place of a network."""

    network = None

    def forward(self, params, x, sigma):
        """Return (f, None)."""
        return exact_jump(x, sigma), None


class Estimator:
    """The exact E[data | x] of the Gaussian world."""

    def forward(self, params, x, sigma):
        """Return (D, None)."""
        return WORLD.data_mean(x, 1.0, sigma), None


def test_the_exact_consistency_function_has_no_loss_and_another_has(monkeypatch):
    """Heun's step is all that errs: on the finest grid the loss is that of O(h³) a step."""
    monkeypatch.setattr(ConsistencyModel, "jumper", Jumper())
    monkeypatch.setattr(ConsistencyModel, "estimator", Estimator())
    system = ConsistencyModel(
        (1,), taught=True, first=FIRST, last=5.0, distance="squared", fine=640
    )
    data = WORLD.sample(200, Noise(0))
    params = {"model": {}, "teacher": {}}
    loss, _ = system.loss(641, {}).forward({}, data, Noise(1))
    assert np.max(loss["loss"]) < 1e-7

    class Other(Jumper):
        def forward(self, params, x, sigma):
            return WORLD.data_mean(x, 1.0, sigma), None  # the mean of the data is not their flow

    monkeypatch.setattr(ConsistencyModel, "jumper", Other())
    loss, _ = system.loss(641, params["teacher"]).forward({}, data, Noise(1))
    assert np.mean(loss["loss"]) > 1e-4


def test_the_multistep_sampler_keeps_the_distribution():
    """From the noised law to N(mean, std² + ε²) in any number of steps, and one call a step."""
    count = 100_000
    levels = karras_levels(6, FIRST, 5.0)[:0:-1]
    x = MEAN + math.sqrt(STD**2 + 25.0) * Noise(0).normal((count, 1))
    due = STD**2 + FIRST**2
    for steps in range(1, 6):
        asked = []

        def jump(x, sigma, asked=asked):
            asked.append(sigma)
            return exact_jump(x, sigma)

        y = sample_multistep(jump, x, levels[:steps], FIRST, Noise(1))
        assert asked == list(levels[:steps])
        assert abs(y.mean() - MEAN) < 4 * math.sqrt(due / count)
        assert abs(y.var() - due) < 4 * due * math.sqrt(2 / count)


def test_noise_of_the_whole_level_would_widen_what_is_drawn():
    """The wrong form: data + τ z, as if the data had no noise of level ε already."""
    count, level = 100_000, 0.7
    x = MEAN + math.sqrt(STD**2 + 25.0) * Noise(0).normal((count, 1))
    wrong = sample_multistep(exact_jump, x, (5.0, level), 0.0, Noise(2))
    due = STD**2 + FIRST**2
    wide = due * (due + level**2) / (STD**2 + level**2)
    assert wide > due + 8 * due * math.sqrt(2 / count)
    assert abs(wrong.var() - wide) < 4 * wide * math.sqrt(2 / count)


def test_a_system_that_jumps_exactly_draws_from_the_data_in_any_number_of_calls(monkeypatch):
    """From σ_max z; the levels between are those of the grid, and none is asked twice."""
    monkeypatch.setattr(ConsistencyModel, "jumper", Jumper())
    system = ConsistencyModel((1,), first=FIRST, last=20.0)
    params, count = {"model": {"w": np.zeros(1)}}, 40_000
    due = STD**2 + FIRST**2
    for steps in (1, 2, 3):
        y = system.sample(params, count, Noise(steps), steps=steps)
        start = due * 400 / (STD**2 + 400)  # σ_max z lacks the data's own variance
        assert abs(y.var() - (start if steps == 1 else due)) < 4 * due * math.sqrt(2 / count)
        assert abs(y.mean() - MEAN) < 4 * math.sqrt(due / count) + MEAN * (steps == 1) / 20
        assert y.dtype == np.float64
    default, two = (system.sample(params, 4, Noise(0), **asked) for asked in ({}, {"steps": 2}))
    assert np.array_equal(default, two)
    held = replace(system, clip=0.5).sample(params, 400, Noise(0))
    assert np.abs(held).max() == 0.5


def exact_v(x, t):
    """E[v | x] of the Gaussian world at times (N,) of the path."""
    levels = PATH.levels(t)
    a, b = levels.a[:, None], levels.b[:, None]
    scale = a * STD**2 / (a * a * STD**2 + b * b)
    data = MEAN + scale * (x - a * MEAN)
    noise = b * (x - a * MEAN) / (a * a * STD**2 + b * b)
    return a * noise - b * data


class Halves:
    """What a student of so many steps must say, in closed form: its step is two of its teacher's.

    params is the number of steps; from `first` on it is the exact teacher.
    """

    first = 8

    def forward(self, params, x, t):
        """Return (v, None); t is as the network is told it."""
        return self.v(params, x, t / 1000), None

    def v(self, steps, x, t):
        """Return v of the student of so many steps at its own times."""
        if steps >= self.first:
            return exact_v(x, t)
        middle, end = t - 0.5 / steps, t - 1 / steps
        there = self.step(2 * steps, self.step(2 * steps, x, t, middle), middle, end)
        now, last = PATH.levels(t), PATH.levels(end)
        angle = np.arctan2(now.b, now.a) - np.arctan2(last.b, last.a)
        turned, leaned = np.cos(angle)[:, None], np.sin(angle)[:, None]
        return (turned * x - there) / leaned  # DDIM turns (x, v) by the angle between two times

    def step(self, steps, x, t, s):
        """Return DDIM's step: cos ω x − sin ω v, ω the angle from s to t."""
        now, end = PATH.levels(t), PATH.levels(s)
        angle = np.arctan2(now.b, now.a) - np.arctan2(end.b, end.a)
        return np.cos(angle)[:, None] * x - np.sin(angle)[:, None] * self.v(steps, x, t)


@pytest.fixture
def halving(monkeypatch):
    """Return a system whose networks are exact."""
    monkeypatch.setattr(Progressive, "network", Halves())
    return Progressive((1,), first=8, last=1)


def test_a_student_whose_step_is_two_of_its_teachers_has_no_loss_and_walks_as_the_teacher(halving):
    data = WORLD.sample(300, Noise(0))
    params = {"teacher": 8, "student4": 4, "student2": 2, "student1": 1}
    noise = Noise(3).at("start").normal((50, 1))
    ends = walk(halving.estimate(8), noise, even_times(8))
    for turn in halving.turns()[1:]:
        steps, teacher = turn.gradient.keywords["steps"], turn.gradient.keywords["teacher"]
        objective = halving.distillation(params[teacher], steps)
        assert objective.times == even_times(2 * steps)
        own = objective.forward(steps, data, Noise(steps))[0]["loss"]
        assert np.max(own) < 1e-20
        wrong = objective.forward(params[teacher], data, Noise(steps))[0]["loss"]
        assert np.mean(wrong) > 1e-5  # to say what the teacher says is to take one of its steps
        walked = walk(halving.estimate(steps), noise, even_times(steps))
        np.testing.assert_allclose(walked, ends, rtol=1e-9, atol=1e-10)
    shorter = walk(halving.estimate(8), noise, even_times(4))
    assert np.max(np.abs(shorter - ends)) > 1e-3


def test_the_walk_is_first_order_and_ends_on_the_flow():
    """DDIM on the circle: its end tends to that of the exact flow, mean + std x."""
    x = np.linspace(-2, 2, 9)[:, None]
    sizes, errors = (16, 32, 64, 128), []
    exact = Progressive((1,), first=8, last=1)
    for steps in sizes:
        calls = []

        def estimate(x, t, calls=calls):
            calls.append(t[0])
            levels = PATH.levels(t)
            return levels.a[:, None] * x - levels.b[:, None] * exact_v(x, t)

        errors.append(np.max(np.abs(walk(estimate, x, even_times(steps)) - (MEAN + STD * x))))
        assert len(calls) == steps
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)
    assert exact.counts == (4, 2, 1)


def test_steps_choose_who_walks(halving, monkeypatch):
    seen = []

    class Watched(Halves):
        def forward(self, params, x, t):
            seen.append(params)
            return 0 * x, None

    monkeypatch.setattr(Progressive, "network", Watched())
    who = {"student1": 1.0, "student2": 2.0, "student4": 4.0, "teacher": 8.0}
    params = {name: {"who": np.array(number)} for name, number in who.items()}
    for asked, walker, calls in (
        ({}, "student1", 1),
        ({"steps": 2}, "student2", 2),
        ({"steps": 4}, "student4", 4),
        ({"steps": 8}, "teacher", 8),
        ({"steps": 11}, "teacher", 11),
        ({"sampler": "teacher"}, "teacher", 8),
        ({"sampler": "teacher", "steps": 2}, "teacher", 2),
    ):
        seen.clear()
        halving.sample(params, 3, Noise(0), **asked)
        assert [float(p["who"]) for p in seen] == [who[walker]] * calls


def drawn(system, **asked):
    return system.sample(system.init(Noise(0)), 1, Noise(1), **asked)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ConsistencyModel(POINT, first=0.0), "first > 0 up to last"),
        (lambda: ConsistencyModel(POINT, first=3.0, last=2.0), "first > 0 up to last"),
        (lambda: ConsistencyModel(POINT, data_std=0.0), "deviation above 0"),
        (lambda: ConsistencyModel(POINT, coarse=0), "coarse"),
        (lambda: ConsistencyModel(POINT, coarse=9, fine=8), "coarse ≤ fine"),
        (lambda: ConsistencyModel(POINT, target="other"), "own, average"),
        (lambda: ConsistencyModel(POINT, distance="far"), "huber, squared"),
        (lambda: ConsistencyModel(POINT, share=1.0), "between 0 and 1"),
        (lambda: ConsistencyModel(POINT, clip=-1.0), "clip"),
        (lambda: ConsistencyModel(POINT, sample_steps=0), "sample_steps"),
        (lambda: ConsistencyModel(POINT, sample_steps=161), r"1 \.\. 160, as many as the finest"),
        (lambda: drawn(ConsistencyModel(POINT), steps=161), r"take 1 \.\. 160, not 161"),
        (lambda: drawn(ConsistencyModel(POINT, taught=True), steps=161, sampler="teacher"), "161"),
        (lambda: ConsistencyModel(POINT, model="unet"), "use model=mlp"),
        (lambda: Progressive(POINT, first=4, last=4), "first = last"),
        (lambda: Progressive(POINT, first=12, last=4), "first = last"),
        (lambda: Progressive(POINT, first=4, last=0), "first = last"),
        (lambda: Progressive(POINT, share=0.0), "between 0 and 1"),
        (lambda: Progressive(POINT, clip=-1.0), "clip"),
        (lambda: Progressive(POINT, weight="elbo"), "elbo"),
        (lambda: Progressive(POINT, weight="no"), "unknown loss weight"),
        (lambda: Progressive(POINT, model="dit"), "use model=mlp"),
        (lambda: sample_multistep(exact_jump, np.ones((1, 1)), (), 0.1, Noise(0)), "one at least"),
        (lambda: sample_multistep(exact_jump, np.ones((1, 1)), (0.1,), 0.1, Noise(0)), "above 0.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
