"""Samples in one step or a few: who learns from whom and when, and what an exact answer makes."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.data import Dataset, load
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.objectives.consistency import karras_levels
from refgen.systems.consistency import ConsistencyModel, sample_multistep
from refgen.systems.progressive_distillation import PATH, Progressive, even_times, named, walk
from refgen.systems.system import Stage, Turn, draw
from refgen.training import Recipe, Run, train
from refgen.training.loop import start, take_step
from tests.duck import Duck, undress

pytestmark = pytest.mark.tiny
IMAGE, POINT = (4, 4, 1), (2,)
SMALL = {"hidden": 16, "blocks": 1}


def cases():
    """Return every system in every form, small."""
    grid = {"coarse": 2, "fine": 8, **SMALL}
    return {
        "training": ConsistencyModel(POINT, **grid),
        "training unet": ConsistencyModel(IMAGE, model="unet", clip=1.0, **grid),
        "taught": ConsistencyModel(POINT, taught=True, distance="squared", **grid),
        "taught dit": ConsistencyModel(IMAGE, model="dit", taught=True, **grid),
        "halving": Progressive(POINT, first=8, last=2, **SMALL),
        "halving to one": Progressive(POINT, first=4, last=1, clip=1.0, **SMALL),
        "halving unet": Progressive(IMAGE, first=4, last=2, model="unet", **SMALL),
    }


each = pytest.mark.parametrize("name", cases())


def moved(system, seed=0, by=0.3):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + by * rng.normal(size=a.shape), system.init(Noise(seed)))


def dataset(shape, count=64):
    data = np.tanh(np.random.default_rng(0).normal(size=(count, *shape))).astype(np.float32)
    return Dataset("some", data, None, "images" if len(shape) == 3 else "points", 0)


def same(one, other):
    """Tell whether two trees hold the same bits."""
    pairs = zip(tree.leaves(one), tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@each
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31))
def test_the_gradient_of_every_turn_is_the_adjoint_of_its_loss(name, seed):
    """The averages, which targets and teachers are made of, stand still."""
    system, rng = cases()[name], np.random.default_rng(seed)
    system = replace(system, target="average") if hasattr(system, "target") else system
    params, average = moved(system, seed), moved(system, seed + 1)
    data = rng.normal(size=(4, *system.shape))
    for turn in system.turns():
        learn = partial(turn.gradient, batch=data, noise=Noise(seed))
        learn = partial(learn, stage=Stage(3, 7, average)) if turn.staged else learn
        theta = params[turn.player]
        _, grads = learn(params)
        assert list(tree.flatten(grads)) == list(tree.flatten(theta))
        direction = tree.map(lambda a: rng.normal(size=a.shape), theta)

        def mean_loss(*leaves, turn=turn, learn=learn, theta=theta):
            now = tree.unflatten(dict(zip(tree.flatten(theta), leaves, strict=True)))
            return np.mean(learn({**params, turn.player: now})[0]["loss"])

        leaves = [list(tree.leaves(a)) for a in (theta, direction, grads)]
        along = check.complex_step(mean_loss, leaves[0], leaves[1])
        assert check.adjoint_gap(leaves[1], leaves[2], [np.ones(())], [along]) < 1e-12, turn.player


@pytest.mark.parametrize("name", ["training", "taught"])
def test_an_own_target_is_held_fixed_as_an_average_is(name):
    """The gradient does not pass through the target: it is that of a target that is a constant."""
    own = cases()[name]
    params, data = moved(own), np.random.default_rng(0).normal(size=(5, 2))
    stage = Stage(1, 4, params)
    (a, slope), (b, other) = (
        replace(own, target=target).gradient(params, data, Noise(1), stage)
        for target in ("own", "average")
    )
    np.testing.assert_array_equal(a["loss"], b["loss"])
    assert same(slope, other)
    third = replace(own, target="average").gradient(
        params, data, Noise(1), Stage(1, 4, moved(own, 5))
    )
    assert not np.allclose(a["loss"], third[0]["loss"])


@each
def test_twenty_steps_and_a_sample_are_finite(name):
    system = cases()[name]
    state = train(system, dataset(system.shape), Recipe(20, batch=8, warmup=5))
    for sampler in ("", *system.samplers):
        if sampler == "teacher" and "teacher" not in state.params:
            continue
        x = draw(system, state.average, 3, Noise(1), sampler=sampler)
        assert x.shape == (3, *system.shape)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        again, elsewhere = (
            draw(system, state.average, 3, Noise(n), sampler=sampler) for n in (1, 2)
        )
        assert np.array_equal(x, again)
        assert not np.array_equal(x, elsewhere)


@pytest.mark.parametrize("name", ["training", "taught", "halving to one"])
def test_every_turn_and_every_walk_are_the_same_where_arrays_live_elsewhere(name):
    """Nothing is looked at and nothing mixed: a strict duck array answers as the page does."""
    away = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
    away.normals = lambda *where: Duck(ops.normals(*where))
    away.words = lambda *where: Duck(ops.words(*where))
    away.put = Duck
    here = cases()[name]
    here = replace(here, target="average") if hasattr(here, "target") else here
    there = replace(here, ops=away)
    params, average = (
        tree.map(lambda a: a.astype(np.float32), moved(here, seed)) for seed in range(2)
    )
    ducks, means = tree.map(Duck, params), tree.map(Duck, average)
    data = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    for turn, far in zip(here.turns(), there.turns(), strict=True):
        own, others = ((Stage(2, 5, a),) if turn.staged else () for a in (average, means))
        _, grads = turn.gradient(params, data, Noise(1), *own)
        _, found = far.gradient(ducks, Duck(data), Noise(1), *others)
        for a, b in zip(tree.leaves(found), tree.leaves(grads), strict=True):
            np.testing.assert_allclose(undress(a), b, rtol=1e-3, atol=1e-4)
    for sampler in ("", *here.samplers):
        if sampler == "teacher" and "teacher" not in params:
            continue
        x = there.sample(ducks, 3, Noise(2), sampler=sampler)
        assert isinstance(x, Duck)
        expected = here.sample(params, 3, Noise(2), sampler=sampler)
        np.testing.assert_allclose(undress(x), expected, rtol=1e-3, atol=1e-4)


def history(system, steps):
    """Return the states of a training, steps + 1 of them, and its rows."""
    recipe = Recipe(steps, batch=4, lr=1e-2, warmup=1)
    states, rows = [start(system, recipe)], []

    def hear(state, row):
        states.append(state)
        rows.append(row)

    train(system, dataset(system.shape), recipe, on_step=hear)
    return states, rows


def test_each_student_learns_in_its_own_part_and_begins_as_its_teachers_average():
    system = replace(cases()["halving"], share=0.5)
    states, rows = history(system, 12)
    parts = {"teacher": range(6), "student4": range(6, 9), "student2": range(9, 12)}
    for i, row in enumerate(rows):
        for player, part in parts.items():
            still = same(states[i].params[player], states[i + 1].params[player])
            assert still == (i not in part), (player, i)
            assert (f"{player}/loss" in row) == (i in part)
    for player, before, first in (("student4", "teacher", 6), ("student2", "student4", 9)):
        heir, left = states[first + 1], states[first]
        recipe = replace(Recipe(12, batch=4, lr=1e-12, warmup=1))
        now, _ = take_step(system, dataset(POINT), recipe, left)
        pairs = zip(tree.leaves(now.params[player]), tree.leaves(left.average[before]), strict=True)
        for a, b in pairs:  # after a step that hardly moves
            np.testing.assert_allclose(a, b, atol=1e-6)
        assert not same(left.average[before], left.params[before])
        assert not same(heir.params[player], left.params[player])


def test_targets_and_teachers_are_the_averages_of_the_loop_and_know_how_far_it_is():
    seen = []

    class Watched(Progressive):
        def student_gradient(self, params, batch, noise, stage=None, *, steps, teacher):
            seen.append((stage.step, stage.steps, teacher, stage.average[teacher]))
            return super().student_gradient(
                params, batch, noise, stage, steps=steps, teacher=teacher
            )

    states, _ = history(Watched(POINT, first=4, last=1, share=0.5, **SMALL), 12)
    told = [(0, 3, "teacher"), (1, 3, "teacher"), (2, 3, "teacher")]
    told += [(k, 3, "student2") for k in range(3)]
    assert [row[:3] for row in seen] == told
    for _, _, player, average in seen:
        assert same(average, states[-1].average[player])
    teacher = states[-1]
    assert not same(teacher.average["teacher"], teacher.params["teacher"])


def test_a_round_is_taught_by_the_network_before_it_and_by_no_other():
    """Each turn's loss depends on its own network and its teacher's, whoever else there is."""
    system, data = cases()["halving"], np.random.default_rng(0).normal(size=(6, 2))
    params, average, other = (moved(system, seed) for seed in range(3))
    before = {"student4": "teacher", "student2": "student4"}
    for turn in system.turns()[1:]:
        for player in params:
            changed = {**average, player: other[player]}
            here, there = (
                turn.gradient(params, data, Noise(1), Stage(0, 1, held))[0]["loss"]
                for held in (average, changed)
            )
            assert np.allclose(here, there) == (player != before[turn.player]), turn.player


@pytest.mark.parametrize("name", ["training", "taught", "halving"])
def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(name, tmp_path):
    """In the middle of a round, and before the first step of an heir."""
    system = cases()[name]
    system = replace(system, target="average") if hasattr(system, "target") else system
    data, recipe = dataset(system.shape), Recipe(10, batch=4, save_every=20)
    whole = train(system, data, recipe)
    for stop in (4, 5, 7, 9):  # parts of `halving` begin at 4 and 7
        run = Run.create(tmp_path / str(stop), {"steps": 10})
        state = start(system, recipe)
        for _ in range(stop):
            state, _ = take_step(system, data, recipe, state)
        run.save(state)
        again, _ = run.latest()
        ended = train(system, data, recipe, run, state=again)
        assert same(whole.params, ended.params)
        assert same(whole.moments, ended.moments)


def test_an_heir_inherits_once_and_also_where_its_part_is_empty():
    system, recipe = replace(cases()["halving"], share=0.9), Recipe(3, batch=4)
    parts = [turn.span(3) for turn in system.turns()]
    assert parts == [range(3), range(3, 3), range(3, 3)]
    system = replace(system, share=0.4)
    assert [len(turn.span(3)) for turn in system.turns()] == [1, 1, 1]
    state = train(system, dataset(POINT), recipe)
    on, row = take_step(system, dataset(POINT), recipe, state)
    assert "student2/loss" in row
    assert not same(on.params["student2"], state.average["student4"])


def test_turns_of_rounds_leave_no_gap():
    for steps in (7, 100, 3001):
        system = Progressive(POINT, first=16, last=1, share=0.37)
        spans = [turn.span(steps) for turn in system.turns()]
        assert [i for span in spans for i in span] == list(range(steps))
        assert [turn.player for turn in system.turns()] == ["teacher", *map(named, system.counts)]
    assert Turn("a", print).heir_of == ""


# ---- exact worlds

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


def test_noise_of_the_whole_level_would_widen_what_is_drawn(monkeypatch):
    """The wrong form: data + τ z, though the data have noise of level ε already."""
    count, level = 100_000, 0.7
    x = MEAN + math.sqrt(STD**2 + 25.0) * Noise(0).normal((count, 1))
    once = exact_jump(x, 5.0)
    wrong = exact_jump(once + level * Noise(2).normal((count, 1)), level)
    due = STD**2 + FIRST**2
    assert wrong.var() > due + 8 * due * math.sqrt(2 / count)


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
        for own in (1, 2, 4, 8):
            found = objective.forward(own, data, Noise(steps))[0]["loss"] if own >= steps else None
            if own == steps:
                assert np.max(found) < 1e-20
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


def test_the_grid_grows_by_doubling_from_coarse_to_fine():
    system = ConsistencyModel(POINT, coarse=10, fine=160)
    counts = [system.count_at(k, 1000) for k in range(1000)]
    assert sorted(set(counts)) == [11, 21, 41, 81, 161]
    assert counts == sorted(counts)
    assert even_times(8)[::2] == even_times(4)
    for a, b in pairwise(even_times(8)):
        assert a > b


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


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("training", {"sampler": "teacher"}, "has no teacher"),
        ("training", {"sampler": "ddim"}, "no sampler 'ddim'"),
        ("training", {"steps": -1}, "-1 sampling steps"),
        ("halving", {"steps": 3}, "students walk in 4, 2, the teacher in 8 or more"),
        ("halving", {"sampler": "ddim"}, "no sampler 'ddim'"),
    ],
)
def test_samples_that_nobody_learned_are_refused(name, asked, said):
    system = cases()[name]
    with pytest.raises(ValueError, match=said):
        draw(system, system.init(Noise(0)), 1, Noise(0), **asked)


@pytest.mark.slow
@pytest.mark.parametrize("taught", [False, True])
def test_a_trained_consistency_model_finds_both_modes_in_one_call(taught):
    system = ConsistencyModel(
        (1,), hidden=64, taught=taught, first=0.02, last=10.0, data_std=1.5, sample_steps=1
    )
    state = train(system, load("toy:bimodal"), Recipe(3000, batch=256, lr=2e-3))
    x = draw(system, state.average, 10_000, Noise(0))
    assert abs(np.mean(x < 0) - 1 / 3) < 0.06
    assert x[x > 0].mean() == pytest.approx(1.5, abs=0.1)


@pytest.mark.slow
def test_a_trained_student_walks_nearer_to_its_teachers_end_than_the_teacher_in_as_few_steps():
    system = Progressive((1,), first=16, last=4, hidden=64)
    state = train(system, load("toy:bimodal"), Recipe(2500, batch=256, lr=2e-3))
    own, end, rushed = (
        draw(system, state.average, 2000, Noise(0), **asked)
        for asked in ({}, {"sampler": "teacher"}, {"sampler": "teacher", "steps": 4})
    )
    assert np.mean((own - end) ** 2) < 0.3 * np.mean((rushed - end) ** 2)
