"""Progressive distillation: a student that does in one step what its teacher does in two."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import tree
from refgen.exact import Mixture
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.processes.discrete import of_schedule
from refgen.processes.parametrization import convert
from refgen.processes.path import VP, CosinePath
from refgen.processes.schedule import cosine, linear, zero_terminal
from refgen.samplers import sample_ddim
from tests.objectives.models import Best, some, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
WORLD = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.1, 0.3]))
SCHEDULE = cosine(16)
CASES = {
    "schedule": (SCHEDULE, tuple(range(16, -1, -2))),
    "no signal": (zero_terminal(linear(12, 0.02, 0.3)), (12, 9, 6, 3, 0)),
    "vp": (VP(), (1.0, 0.75, 0.5, 0.25, 0.0)),
    "cosine": (CosinePath(), (1.0, 0.7, 0.4, 0.2, 0.0)),
}
each_case = pytest.mark.parametrize("name", CASES)


def exact_teacher(process):
    """Return the exact data estimate at the process's own times."""
    path = of_schedule(process) if hasattr(process, "beta") and hasattr(process, "T") else process

    def teacher(x, t):
        levels = path.levels(t)
        return WORLD.data_mean(x, levels.a, levels.b)

    return teacher, path


class Student:
    """What the target of an objective says, in the student's kind."""

    def __init__(self, objective, path, clock):
        self.objective, self.path, self.clock = objective, path, clock

    def data(self, x, t):
        """Return the estimate of the data at one of the student's times."""
        k = np.searchsorted(-np.array(self.objective.student_times), -np.asarray(t))
        return self.objective.aim(x, self.objective.step(k, x))

    def forward(self, params, x, t):
        """Return (y, None)."""
        at = t / self.clock if self.clock != 1 else t
        levels = self.path.levels(at)
        return convert(x, self.data(x, at), "data", self.objective.kind, levels), None


@each_case
@pytest.mark.parametrize("kind", ["v", "data"])
@pytest.mark.parametrize("weight", ["truncated", "v"])
def test_a_student_that_equals_two_steps_of_its_teacher_has_no_loss(name, kind, weight):
    process, times = CASES[name]
    teacher, path = exact_teacher(process)
    loss = ProgressiveDistillation(None, process, times, teacher, kind, weight)
    student = Student(loss, path, 1.0 if hasattr(path, "T") else 1000.0)
    data = WORLD.sample(60, Noise(0))
    own = ProgressiveDistillation(student, process, times, teacher, kind, weight)
    assert np.max(own.forward({}, data, Noise(1))[0]["loss"]) < 1e-20
    teachers = Best(WORLD, path, kind, student.clock)
    other = ProgressiveDistillation(teachers, process, times, teacher, kind, weight)
    assert np.mean(other.forward({}, data, Noise(1))[0]["loss"]) > 1e-4


def ddim(estimate, x, path, times):
    """Walk by (x − a D)/b along the same noise, with levels of a path."""
    for t, s in pairwise(times):
        now, end = path.levels(t), path.levels(s)
        data = estimate(x, np.full(len(x), t))
        x = end.a * data + end.b * (x - now.a * data) / now.b
    return x


@each_case
def test_halving_again_and_again_keeps_the_teachers_map(name):
    """Every student's walk, down to a single step, ends where the first teacher's does."""
    process, times = CASES[name]
    teacher, path = exact_teacher(process)
    x = np.linspace(-2.5, 2.5, 9)[:, None]
    exact, estimate = ddim(teacher, x, path, times), teacher
    while len(times) > 2:
        loss = ProgressiveDistillation(None, process, times, estimate)
        student = Student(loss, path, 1.0)
        times, estimate = loss.student_times, student.data
        np.testing.assert_allclose(ddim(estimate, x, path, times), exact, rtol=1e-9, atol=1e-10)
    assert len(times) == 2


def test_the_teachers_walk_is_the_ddim_sampler():
    teacher, path = exact_teacher(SCHEDULE)
    _, times = CASES["schedule"]
    x = np.linspace(-2.5, 2.5, 9)[:, None]
    loss = ProgressiveDistillation(None, SCHEDULE, times, teacher)
    student = Student(loss, path, 1.0)

    def noise(x, t):
        data = teacher(x, np.full(len(x), t))
        return (x - SCHEDULE.signal(t) * data) / SCHEDULE.spread(t)

    sampled = sample_ddim(noise, x, SCHEDULE, Noise(0), times=times)
    walked = ddim(student.data, x, path, loss.student_times)
    np.testing.assert_allclose(walked, sampled, rtol=1e-9)


@each_case
@pytest.mark.parametrize("kind", ["v", "data"])
def test_the_weight_is_the_truncated_snr_on_the_error_of_the_data(name, kind):
    """max(SNR, 1): at pure noise it is 1, where the SNR alone would teach nothing."""
    process, times = CASES[name]
    teacher, path = exact_teacher(process)
    rng = np.random.default_rng(0)
    guess = rng.normal(size=(6, 2))

    class Guess:
        def forward(self, params, x, t):
            at = t if hasattr(path, "T") else t / 1000
            return convert(x, guess, "data", kind, path.levels(at)), None

    def one(x, t):
        return teacher(x.reshape(-1, 1), np.repeat(t, 2)).reshape(x.shape)

    loss = ProgressiveDistillation(Guess(), process, times, one, kind)
    k = np.arange(6) % (len(times) // 2)
    data, drawn = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    levels = path.levels(np.array(times)[::2][k])
    x = levels.a[:, None] * data + levels.b[:, None] * drawn
    error = np.sum((guess - loss.aim(x, loss.step(k, x))) ** 2, axis=1)
    exact = np.maximum(levels.a**2 / levels.b**2, 1.0) * error
    np.testing.assert_allclose(loss.value({}, data, drawn, k)[0]["loss"], exact, rtol=1e-9)
    if name != "vp":
        assert exact[0] == pytest.approx(error[0], rel=1e-3)


def test_a_teacher_who_knows_the_datum_teaches_the_datum():
    x = np.random.default_rng(0).normal(size=(5, 2))
    loss = ProgressiveDistillation(None, VP(), (1.0, 0.6, 0.3, 0.1, 0.0), lambda x, t: 0 * x + 0.7)
    found = loss.aim(x, loss.step(np.array([0, 1, 0, 1, 0]), x))
    np.testing.assert_allclose(found, 0.7, rtol=1e-10)


@each_case
@pytest.mark.parametrize("kind", ["v", "data"])
@given(seed=seeds)
def test_the_gradient_is_the_adjoint_of_the_loss(name, kind, seed):
    process, times = CASES[name]
    network, rng = TimeMLP(1, 6, 1, embedding=4), np.random.default_rng(seed)
    loss = ProgressiveDistillation(network, process, times, exact_teacher(process)[0], kind)
    params, data = some(network, Noise(seed)), rng.normal(size=(4, 1))
    assert witnessed(loss, params, data, Noise(seed), rng) < 1e-12


def test_the_student_is_told_its_own_times_and_the_teacher_both_of_its_steps():
    asked, told = [], []

    def teacher(x, t):
        asked.append(t)
        return 0 * x

    class Told:
        def forward(self, params, x, t):
            told.append(t)
            return 0 * x, None

    loss = ProgressiveDistillation(Told(), SCHEDULE, (16, 11, 6, 3, 0), teacher)
    loss.forward({}, np.zeros((100, 1)), Noise(0))
    assert loss.student_times == (16, 6, 0)
    assert set(told[0]) == {16, 6}
    assert [set(t) for t in asked] == [{16, 6}, {11, 3}]
    np.testing.assert_array_equal(told[0] == 16, asked[1] == 11)
    loss = ProgressiveDistillation(Told(), VP(), (1.0, 0.5, 0.0), teacher)
    loss.forward({}, np.zeros((3, 1)), Noise(0))
    np.testing.assert_array_equal(told[1], 1000.0)
    np.testing.assert_array_equal(asked[-1], 0.5)


def test_float32_stays_float32():
    network = TimeMLP(2, 4, 1, embedding=4)
    params = tree.map(lambda a: a.astype(np.float32), some(network, Noise(0)))
    loss = ProgressiveDistillation(network, VP(), (1.0, 0.5, 0.0), lambda x, t: 0 * x)
    terms, cache = loss.forward(params, np.ones((3, 2), np.float32), Noise(0))
    grads = loss.backward(np.ones(3, np.float32), cache)
    assert {a.dtype for a in [terms["loss"], *tree.leaves(grads)]} == {np.dtype(np.float32)}


def test_what_cannot_be_is_refused():
    teacher = exact_teacher(SCHEDULE)[0]
    for times in ((16, 0), (16, 8, 4, 0), (0, 8, 16), (16, 8, 8), (16,)):
        with pytest.raises(ValueError, match="every other one of 2 K"):
            ProgressiveDistillation(None, SCHEDULE, times, teacher)
    with pytest.raises(ValueError, match="whole numbers"):
        ProgressiveDistillation(None, SCHEDULE, (16, 8.5, 0), teacher)
    with pytest.raises(ValueError, match=r"0 \.\. 16"):
        ProgressiveDistillation(None, SCHEDULE, (17, 8, 0), teacher)
    with pytest.raises(ValueError, match="unknown weight 'elbo'"):
        ProgressiveDistillation(None, SCHEDULE, (16, 8, 0), teacher, weight="elbo")
    with pytest.raises(ValueError, match="predict v there"):
        ProgressiveDistillation(None, CosinePath(), (1.0, 0.5, 0.0), teacher, "noise")
