"""A world to walk in and an expert: what they promise; and demonstrations say what was done."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.data import navigation
from refgen.data.demonstrations import (
    FIRST,
    HORIZON,
    NAMES,
    demonstrate,
    load_demonstrations,
    rows_of,
)
from refgen.data.navigation import DT, NEAR, WOBBLE, Navigation, Rollouts, world
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
PLACE = world("navigation")
points = st.tuples(st.floats(-2, 2), st.floats(-2, 2))


def straight(states, goals, noise):
    return np.tile([1.0, 0.0], (len(states), 1, 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_expert_arrives_and_takes_the_way_that_it_chose(name):
    place = world(name)
    walked = demonstrate(place, 1000, Noise(7))
    assert walked.reached.all()
    assert not walked.touched.any()
    if place.radius:
        ways = place.ways(1000, Noise(7).at("way"))
        assert np.array_equal(walked.ways, ways)
        assert np.sum(ways) == 0  # half of them, by lot
        assert abs(np.mean(ways[:500])) < 0.2


def test_the_share_of_left_is_kept_exactly():
    ways = replace(PLACE, share=0.3).ways(1000, Noise(0))
    assert np.sum(ways == 1) == 300
    assert np.sum(ways == -1) == 700


@given(here=points, there=points)
def test_a_step_touches_where_a_point_of_its_segment_does(here, there):
    here, there = np.array([here]), np.array([there])
    u = np.linspace(0, 1, 4001)[:, None]
    nearest = np.linalg.norm(here + u * (there - here), axis=1).min()
    if abs(nearest - PLACE.radius) > 1e-5:
        assert PLACE.touches(here, there)[0] == (nearest < PLACE.radius)


def test_nobody_jumps_across_and_an_open_world_is_never_touched():
    """A test of the ends alone would let this step through."""
    here, there = np.array([[-2.0, 0.1], [-2.0, 1.0]]), np.array([[2.0, 0.1], [2.0, 1.0]])
    assert PLACE.touches(here, there).tolist() == [True, False]
    assert not replace(PLACE, radius=0.0).touches(here, 0 * there).any()


def test_the_world_and_its_expert_are_their_own_mirror_image():
    rng = np.random.default_rng(0)
    s, g, w = rng.normal(size=(50, 2)), rng.normal(size=(50, 2)), np.sign(rng.normal(size=50))
    mirror = np.array([1.0, -1.0])
    there = PLACE.heading(s, g, w)
    np.testing.assert_allclose(PLACE.heading(s * mirror, g * mirror, -w), there * mirror)
    assert np.array_equal(PLACE.touches(s, g), PLACE.touches(s * mirror, g * mirror))


def test_an_experts_action_is_its_heading_and_a_wobble():
    n = 20_000
    states, goals = np.tile([-1.0, 0.3], (n, 1)), np.tile(PLACE.goal, (n, 1))
    ways = np.ones(n)
    acts = PLACE.expert(ways)(states, goals, Noise(0))[:, 0]
    heading = PLACE.heading(states, goals, ways)
    np.testing.assert_allclose(np.linalg.norm(heading, axis=1), 1)
    np.testing.assert_allclose(heading[0] / heading[0, 0], [1, 0.7])  # from (−1, 0.3) to (0, 1)
    assert np.abs(np.mean(acts - heading, axis=0)).max() < 4 * WOBBLE / np.sqrt(n)
    assert np.abs(np.std(acts - heading, axis=0) / WOBBLE - 1).max() < 4 / np.sqrt(2 * n)


def test_at_the_start_the_mean_of_both_ways_leads_into_the_obstacle():
    """What makes the world hard: no expert does what they do on average."""
    state, goal = np.array([PLACE.start]), np.array([PLACE.goal])
    left, right = (PLACE.heading(state, goal, np.array([w])) for w in (1.0, -1.0))
    np.testing.assert_allclose((left + right)[0, 1], 0, atol=1e-15)
    assert PLACE.rollout(straight, 200, Noise(0)).touched.all()
    mean = 0.5 * (left + right)
    np.testing.assert_allclose(PLACE.error(state, goal, mean), np.linalg.norm(left - mean))
    for way in (left, right):
        assert PLACE.error(state, goal, way) < 1e-12


def test_a_path_is_the_sum_of_its_actions_and_rests_where_it_ends():
    place = replace(PLACE, radius=0.0)
    walked = place.rollout(straight, 3, Noise(0), steps=14)
    taken = walked.taken
    for path, n in zip(walked.paths, taken, strict=True):
        steps = np.diff(path, axis=0)
        np.testing.assert_allclose(steps[:n], np.tile([DT, 0], (n, 1)), atol=1e-12)
        assert not steps[n:].any()
        gaps = np.linalg.norm(path - place.goal, axis=1)
        assert gaps[n] <= NEAR < gaps[n - 1]
    here, goals, acts = walked.acts
    assert len(here) == len(goals) == taken.sum()
    np.testing.assert_allclose(acts, np.tile([1.0, 0.0], (taken.sum(), 1)), atol=1e-12)


def test_a_goal_in_the_wall_is_touched_and_never_reached():
    walked = replace(PLACE, goal=(-0.3, 0.0)).rollout(straight, 50, Noise(0))
    assert walked.touched.all()
    assert walked.success == 0


def test_a_plan_is_carried_out_in_full_and_cut_where_the_episode_ends():
    rng = np.random.default_rng(0)
    script = 0.2 * rng.normal(size=(5, 12, 2))

    def planner(length):
        calls = []

        def act(states, goals, noise):
            t = length * len(calls)
            calls.append(t)
            return script[:, t : t + length]

        return act, calls

    paths = []
    for length in (1, 3, 4):
        act, calls = planner(length)
        paths.append(PLACE.rollout(act, 5, Noise(0), steps=10).paths)
        assert calls == list(range(0, 10, length))
    assert paths[0].shape == (5, 11, 2)
    assert np.array_equal(paths[0], paths[1])
    assert np.array_equal(paths[0], paths[2])


def test_an_episode_does_not_depend_on_how_many_there_are():
    few, many = (PLACE.rollout(PLACE.expert(np.ones(n)), n, Noise(3)) for n in (5, 50))
    for a, b in zip(few, many, strict=True):
        assert np.array_equal(a, b[:5])
    ring = world("navigation-goals")
    assert np.array_equal(ring.goals(5, Noise(0)), ring.goals(50, Noise(0))[:5])
    np.testing.assert_allclose(np.linalg.norm(ring.goals(50, Noise(0)), axis=1), ring.ring)


def test_the_way_is_told_by_the_first_place_beyond_the_obstacle():
    paths = np.zeros((3, 3, 2))
    paths[:, :, 0] = [[-1, 0.1, 0.2], [-1, -0.1, 0.2], [-1, -0.5, -0.2]]
    paths[:, :, 1] = [[0.5, 0.5, -9.0], [0.5, 0.5, -9.0], [1.0, 1.0, 1.0]]
    walked = Rollouts(paths, paths[:, 0], np.ones(3, bool), np.zeros(3, bool), np.full(3, 2))
    assert walked.ways.tolist() == [1, -1, 0]


def test_what_is_no_plan_and_no_world_is_refused():
    for plan in (np.zeros((4, 2)), np.zeros((3, 1, 2)), np.zeros((4, 0, 2)), np.zeros((4, 1, 3))):
        with pytest.raises(ValueError, match="returns a plan of actions for each of 4 states"):
            PLACE.rollout(lambda s, g, n, plan=plan: plan, 4, Noise(0))
    with pytest.raises(ValueError, match="no world is called 'maze'"):
        world("maze")


def test_actions_that_are_no_numbers_never_arrive():
    lost = PLACE.rollout(lambda s, g, n: np.full((3, 2, 2), np.nan), 3, Noise(0))
    assert lost.success == 0


# Demonstrations


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_where_an_expert_was_and_what_it_did_next(name):
    walked = demonstrate(world(name), 40, Noise(1))
    rows, episodes = rows_of(walked)
    assert len(rows) == walked.taken.sum()
    plans = rows[:, FIRST:].reshape(-1, HORIZON, 2)
    for e in range(40):
        mine, path = np.flatnonzero(episodes == e), walked.paths[e]
        n = len(mine)
        np.testing.assert_allclose(rows[mine, :2], path[:n], atol=1e-6)
        assert np.all(rows[mine, 2:4] == walked.goals[e].astype(np.float32))
        moved = rows[mine, :2] + DT * plans[mine, 0]
        np.testing.assert_allclose(moved, path[1 : n + 1], atol=1e-6)
        for h in range(1, HORIZON):  # the plan of a row is what the rows after it did
            assert np.array_equal(plans[mine, h][: n - h], plans[mine, 0][h:])
            assert not plans[mine, h][max(n - h, 0) :].any()


@pytest.mark.parametrize("name", NAMES)
def test_no_episode_is_both_trained_on_and_held_out(name):
    data = load_demonstrations(name)
    train, held_out = data.split()
    place = world(name)
    walked = demonstrate(place, 2000, Noise(0).at("demonstrations", name))
    first = walked.paths[:, 0].astype(np.float32)
    ends = {tuple(p) for p in first[1800:]}
    assert not any(tuple(row[:2]) in ends for row in train.data)
    assert sum(tuple(row[:2]) in ends for row in held_out.data) == 200
    assert len(train) + len(held_out) == len(data)
    assert np.array_equal(data.data, load_demonstrations(name).data)
    assert data.kind == "points"
    assert data.data.dtype == np.float32


def test_a_world_is_settled_by_its_fields():
    assert Navigation("navigation") == PLACE
    assert set(navigation.WORLDS) == set(NAMES)
