"""Systems that act: what they learn from, what they do, and what becomes of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.data import Dataset
from refgen.data.demonstrations import FIRST, WIDTH, demonstrate, load_demonstrations, rows_of
from refgen.data.navigation import STEPS, world
from refgen.models.given import GivenMLP
from refgen.noise import Noise
from refgen.systems.bc import BC
from refgen.systems.diffusion_policy import DiffusionPolicy
from refgen.systems.goal_bc import GoalBC
from refgen.systems.policy import drift, is_acting, observed_of, planned_of, refuse_rows, roll
from refgen.systems.system import draw, is_generative
from refgen.training import Recipe, train

SHAPE = (WIDTH,)
SMALL = {"hidden": 5}
SYSTEMS = {
    "bc": BC(SHAPE, **SMALL),
    "goal-bc": BC(SHAPE, goal=True, chunk=2, **SMALL),
    "categorical": BC(SHAPE, policy="categorical", chunk=1, bins=3, **SMALL),
    "diffusion": DiffusionPolicy(SHAPE, T=8, blocks=1, sample_steps=4, **SMALL),
    "blind diffusion": DiffusionPolicy(SHAPE, T=8, blocks=1, goal=False, weight="elbo", **SMALL),
}
each = pytest.mark.parametrize("name", SYSTEMS)


def shaken(system, seed=0):
    rng = np.random.default_rng(seed)
    drawn = system.init(Noise(seed))
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), drawn)


def rows(seed=0, count=4):
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


@pytest.mark.tiny
@each
@given(seed=st.integers(0, 2**31), count=st.integers(1, 4))
def test_the_gradient_is_the_adjoint_of_the_mean_loss(name, seed, count):
    system, batch = SYSTEMS[name], rows(seed, count)
    params, rng = shaken(system, seed), np.random.default_rng(seed)
    terms, grads = system.turns()[0].gradient(params, batch, Noise(seed))
    assert terms["loss"].shape == (count,)
    theta = params["model"]
    direction = tree.map(lambda a: rng.normal(size=a.shape), theta)

    def mean_loss(*moved):
        named = tree.unflatten(dict(zip(tree.flatten(theta), moved, strict=True)))
        return np.mean(system.gradient({"model": named}, batch, Noise(seed))[0]["loss"])

    along = check.complex_step(mean_loss, list(tree.leaves(theta)), list(tree.leaves(direction)))
    gap = check.adjoint_gap(
        list(tree.leaves(direction)), list(tree.leaves(grads)), [np.ones(())], [along]
    )
    assert gap < 1e-12


@pytest.mark.tiny
@each
def test_it_learns_from_what_it_is_told_and_from_nothing_else(name):
    """Beyond its chunk the plan says nothing, and the goal nothing to who is not told it."""
    system, batch = SYSTEMS[name], rows()
    params = shaken(system)

    def losses(moved):
        return system.gradient(params, moved, Noise(0))[0]["loss"]

    for column in range(WIDTH):
        moved = batch.copy()
        moved[:, column] += 0.37
        used = column < FIRST if system.goal else column < 2
        used |= FIRST <= column < FIRST + 2 * system.chunk
        same = np.array_equal(losses(moved), losses(batch))
        assert same != used, f"column {column}"


@pytest.mark.tiny
@each
def test_it_plans_for_each_thing_that_it_observes(name):
    system = SYSTEMS[name]
    params, seen = shaken(system), observed_of(rows(count=7), system.goal)
    plan = system.act(params, seen, Noise(1))
    assert plan.shape == (7, system.chunk, 2)
    few = system.act(params, seen[:3], Noise(1))
    np.testing.assert_allclose(few, plan[:3], rtol=1e-10, atol=1e-12)
    if system.chunk > 1:
        soon = replace(system, execute=1)
        np.testing.assert_allclose(soon.act(params, seen, Noise(1)), plan[:, :1])


@pytest.mark.tiny
@each
def test_its_samples_are_paths_through_its_world(name):
    system = SYSTEMS[name]
    params = tree.map(lambda a: a.astype(np.float32), shaken(system))
    assert is_generative(system)
    assert is_acting(system)
    paths = draw(system, params, 6, Noise(2))
    assert paths.shape == (6, STEPS + 1, 2)
    assert paths.dtype == np.float32
    assert np.array_equal(paths, draw(system, params, 6, Noise(2)))
    assert np.array_equal(paths, roll(system, params, 6, Noise(2)).paths.astype(np.float32))
    assert not np.array_equal(paths, draw(system, params, 6, Noise(3)))
    goals = replace(system, world="navigation-goals")
    assert np.abs(draw(goals, params, 6, Noise(2))[:, 0]).max() < 0.2
    with pytest.raises(ValueError, match="has no sampler 'heun'"):
        draw(system, params, 2, Noise(2), sampler="heun")
    with pytest.raises(ValueError, match="sampling steps"):
        draw(system, params, 2, Noise(2), steps=-1)


@pytest.mark.tiny
def test_goal_bc_is_bc_that_is_told_the_goal_of_its_world():
    told, batch = GoalBC(SHAPE, **SMALL), rows()
    same = BC(SHAPE, goal=True, world="navigation-goals", **SMALL)
    params = shaken(told)
    losses = [s.gradient(params, batch, Noise(0))[0]["loss"] for s in (told, same)]
    assert np.array_equal(*losses)
    assert np.array_equal(*(draw(s, params, 3, Noise(1)) for s in (told, same)))
    assert (told.goal, told.world) == (True, "navigation-goals")
    with pytest.raises(ValueError, match="goal-bc has no sampler"):
        draw(told, params, 2, Noise(0), sampler="heun")
    with pytest.raises(ValueError, match=r"goal-bc learns from .*Take --data navigation-goals"):
        GoalBC((2,))


@pytest.mark.tiny
def test_a_plan_costs_as_many_network_calls_as_it_has_steps(monkeypatch):
    calls = []
    forward = GivenMLP.forward

    def counted(self, params, x, t, condition):
        calls.append(int(t[0]))
        return forward(self, params, x, t, condition)

    monkeypatch.setattr(GivenMLP, "forward", counted)
    system = SYSTEMS["diffusion"]
    params, seen = shaken(system), np.zeros((2, 4))
    for sampler in ("ddim", "ancestral"):
        for steps in range(1, 9):
            calls.clear()
            system.act(params, seen, Noise(0), sampler=sampler, steps=steps)
            assert len(calls) == steps
            assert calls[0] == 8
    calls.clear()
    system.act(params, seen, Noise(0))
    assert calls == [8, 6, 4, 2]
    default, ddim, other = (
        system.act(params, seen, Noise(0), sampler=name) for name in ("", "ddim", "ancestral")
    )
    assert np.array_equal(default, ddim)
    assert not np.array_equal(default, other)
    calls.clear()
    all_of_them = replace(system, sample_steps=0)
    all_of_them.act(params, seen, Noise(0))
    assert len(calls) == 8


@pytest.mark.tiny
def test_a_gaussian_acts_by_its_mean_and_draws_when_asked():
    system = SYSTEMS["bc"]
    params, seen = shaken(system), np.zeros((4000, 2))
    mean = system.act(params, seen, Noise(0))
    assert np.array_equal(mean, system.act(params, seen, Noise(0), sampler="mode"))
    assert np.array_equal(mean, system.act(params, seen, Noise(9)))
    drawn = system.act(params, seen, Noise(0), sampler="draw")
    std = np.exp(0.5 * params["model"]["logvar"]).reshape(4, 2)
    assert np.abs((drawn - mean).std(axis=0) / std - 1).max() < 4 / np.sqrt(8000)
    with pytest.raises(ValueError, match="cannot take 3 sampling steps"):
        system.act(params, seen, Noise(0), steps=3)
    table = SYSTEMS["categorical"]
    params = shaken(table)
    drawn = table.act(params, seen, Noise(0))
    assert np.array_equal(drawn, table.act(params, seen, Noise(0), sampler="draw"))
    assert len(np.unique(table.act(params, seen, Noise(0), sampler="mode"))) <= 2


class Certain(DiffusionPolicy):
    """A diffusion policy that knows the one plan there is for each state."""

    @property
    def network(self):
        schedule, chunk = self.process, self.chunk

        class Network(GivenMLP):
            def forward(self, params, x, t, condition):
                a, b = schedule.signal(t)[:, None], schedule.spread(t)[:, None]
                return (x - a * certain(condition, chunk)) / b, None

        return Network(2 * chunk, self.told)


def certain(observed, chunk):
    """Return 0.1 (1, 2, 3, ..) and the state, as rows have their actions: x, y, x, y, .."""
    return 0.1 * np.arange(1, 2 * chunk + 1) + np.tile(observed[:, :2], (1, chunk))


@pytest.mark.tiny
@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_a_plan_is_read_as_the_rows_were_written(sampler):
    system = Certain(SHAPE, T=50, chunk=3)
    seen = np.random.default_rng(0).uniform(-1, 1, size=(6, 4))
    plan = system.act({"model": {}}, seen, Noise(0), sampler=sampler)
    np.testing.assert_allclose(plan[:, 0], seen[:, :2] + [0.1, 0.2], atol=1e-9)
    np.testing.assert_allclose(plan[:, 2], seen[:, :2] + [0.5, 0.6], atol=1e-9)
    batch = np.concatenate([seen, certain(seen, 8)], axis=1)
    np.testing.assert_allclose(planned_of(batch, 3), plan.reshape(6, 6), atol=1e-9)


@pytest.mark.tiny
def test_the_estimate_of_a_plan_is_kept_within_its_clip():
    """The clip is on the plan, whatever the noise: a wild plan is cut to it."""
    seen = np.full((3, 4), 5.0)
    plan = Certain(SHAPE, T=50, chunk=1, clip=2.0).act({"model": {}}, seen, Noise(0))
    np.testing.assert_allclose(plan, 2.0, atol=1e-9)
    free = Certain(SHAPE, T=50, chunk=1, clip=0.0).act({"model": {}}, seen, Noise(0))
    np.testing.assert_allclose(free[:, 0], seen[:, :2] + [0.1, 0.2], atol=1e-6)


class Expert(BC):
    """A system that does what the expert does on average, going left."""

    def act(self, params, observed, noise, *, sampler="", steps=0):
        place = world(self.world)
        seen = np.asarray(observed, dtype=np.float64)
        goals = np.tile(place.goal, (len(seen), 1))
        return place.heading(seen[:, :2], goals, np.ones(len(seen)))[:, None]


class Hasty(Expert):
    """The expert's action, and then a jump."""

    def act(self, *args, **kwargs):
        first = super().act(*args, **kwargs)
        return np.concatenate([first, first + 9.0], axis=1)


@pytest.mark.tiny
def test_an_expert_does_not_drift_and_a_walk_through_the_wall_does():
    data = load_demonstrations("navigation")
    expert = Expert(SHAPE, chunk=1, **SMALL)
    params = shaken(expert)
    shown, own = drift(expert, params, data.data[:500], Noise(0))
    assert max(shown, own) < 1e-6
    assert roll(expert, params, 50, Noise(0)).success == 1
    hasty = Hasty(SHAPE, chunk=2, **SMALL)  # a plan is judged by what is done at once
    assert drift(hasty, params, data.data[:500], Noise(0))[0] < 1e-6
    still = BC(SHAPE, depth=0, chunk=1)
    nothing = tree.map(np.zeros_like, still.init(Noise(0)))
    np.testing.assert_allclose(drift(still, nothing, data.data[:500], Noise(0)), 1)


# What they make of what they are shown


def shown(name, share=0.5, episodes=400):
    place = replace(world(name), share=share)
    data, _ = rows_of(demonstrate(place, episodes, Noise(5)))
    return Dataset(name, data, None, "points", 0)


def walked(system, data, steps, lr=3e-3):
    state = train(system, data, Recipe(steps, 256, lr, warmup=20))
    return roll(system, state.average, 300, Noise(1))


def test_shown_one_way_a_gaussian_arrives_and_shown_two_it_walks_between_them():
    """The same network, the same loss, as many examples: only the second way is new."""
    system = BC(SHAPE, hidden=32)
    one = walked(system, shown("navigation", share=1.0), 300)
    two = walked(system, shown("navigation"), 300)
    assert one.success > 0.95
    assert np.all(one.ways[one.reached] == 1)
    assert two.success < 0.1
    assert two.touched.mean() > 0.9


def test_told_the_goal_a_policy_goes_there_and_untold_anywhere():
    data = shown("navigation-goals", episodes=800)
    told, untold = (
        walked(BC(SHAPE, goal=goal, hidden=64, world="navigation-goals"), data, 600)
        for goal in (True, False)
    )
    assert told.success > 0.95
    assert untold.success < 0.2


@pytest.mark.slow
def test_a_diffusion_policy_goes_either_way_and_arrives():
    system = DiffusionPolicy(SHAPE)
    train_set, _ = load_demonstrations("navigation").split()
    state = train(system, train_set, Recipe(4000, 256, 3e-3))
    found = roll(system, state.average, 1000, Noise(0).at("judge"))
    assert found.success > 0.95
    assert 0.4 < np.mean(found.ways[found.reached] > 0) < 0.6


@pytest.mark.tiny
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BC((8, 8, 1)), "learns from demonstrations, rows of 20 numbers"),
        (lambda: DiffusionPolicy((2,)), "Take --data navigation"),
        (lambda: BC(SHAPE, world="maze"), "no world is called 'maze'"),
        (lambda: BC(SHAPE, policy="uniform"), "gaussian, categorical"),
        (lambda: BC(SHAPE, policy="categorical"), "chunk=1"),
        (lambda: BC(SHAPE, chunk=9), "chunk is 1 .. 8"),
        (lambda: BC(SHAPE, chunk=0), "chunk is 1 .. 8"),
        (lambda: BC(SHAPE, chunk=2, execute=3), "execute is 1 .. 2"),
        (lambda: DiffusionPolicy(SHAPE, execute=-1), "or 0 for all"),
        (lambda: DiffusionPolicy(SHAPE, clip=-1.0), "clip"),
        (lambda: DiffusionPolicy(SHAPE, sample_steps=-1), "sample_steps"),
        (lambda: DiffusionPolicy(SHAPE, schedule="straight"), "unknown schedule"),
        (lambda: DiffusionPolicy(SHAPE, T=0), "T ≥ 1"),
        (lambda: DiffusionPolicy(SHAPE, weight="heavy"), "unknown loss weight"),
        (lambda: refuse_rows("it", (3,), "navigation", 1, 1), "not from examples of shape"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.tiny
def test_plans_are_the_columns_after_the_goal():
    batch = np.arange(2 * WIDTH).reshape(2, WIDTH)
    assert observed_of(batch, False).shape == (2, 2)
    assert observed_of(batch, True).shape == (2, FIRST)
    assert planned_of(batch, 3)[0].tolist() == [4, 5, 6, 7, 8, 9]
