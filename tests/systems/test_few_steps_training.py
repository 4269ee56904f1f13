"""Samples in one step or a few: who learns from whom and when."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.data import Dataset
from refgen.noise import Noise
from refgen.systems.consistency import ConsistencyModel
from refgen.systems.progressive_distillation import Progressive, even_times, named
from refgen.systems.system import Stage, Turn, draw
from refgen.training import Recipe, train
from refgen.training.loop import start, take_step
from tests.duck import Duck, undress
from tests.systems.stopped import stopped_and_ended

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
        ended = stopped_and_ended(system, data, recipe, stop, tmp_path / str(stop))
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


def test_the_grid_grows_by_doubling_from_coarse_to_fine():
    system = ConsistencyModel(POINT, coarse=10, fine=160)
    counts = [system.count_at(k, 1000) for k in range(1000)]
    assert sorted(set(counts)) == [11, 21, 41, 81, 161]
    assert counts == sorted(counts)
    assert even_times(8)[::2] == even_times(4)
    for a, b in pairwise(even_times(8)):
        assert a > b


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
