"""Policies: how often they arrive, which ways they go, and what their errors cost.

A clone arrives where 1,000 episodes of its own end at the goal and touch nothing. The rope is the
world of refgen.exact.tightrope: a table of counts is fitted to demonstrations in which one action
in two thousand is a slip, walks by draws, and its cost is held against the exact one.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, medians, trained
from refgen import check, tree
from refgen.data import Dataset, load
from refgen.data.demonstrations import EPISODES, demonstrate, rows_of
from refgen.data.navigation import Rollouts, world
from refgen.exact.tightrope import OFF, ON, WRONG, Tightrope
from refgen.models import CategoricalPolicy
from refgen.noise import Noise
from refgen.systems.policy import drift, roll
from refgen.typing import Array, Params

WALKS = 1000
SLIP, LABELS = 5e-4, 100_000  # of the demonstrator on the rope
LENGTHS, WALKERS = (16, 32, 64, 128), 100_000


class Rope(NamedTuple):
    """What a clone on the rope costs."""

    error: float  # that it learned
    share: float  # of slips in what it was shown
    costs: Array  # (len(LENGTHS),) steps off the rope in so many steps, the mean of all walkers
    exact: Array  # the same, of a policy of that error


def accept_bc() -> Measured:
    """Two ways shown, one way shown, a table in place of a Gaussian; and the rope."""
    both, rows = load("navigation"), []
    for seed in SEEDS:
        place = Noise(seed)
        two, drifted = arrival("bc", both, seed, "gaussian")
        one, _ = arrival("bc", one_way(place.at("shown")), seed, "one_way")
        table, _ = arrival("bc", both, seed, "categorical", policy="categorical", chunk=1)
        lost = rope(place.at("never"), back=False, shown=(ON,))
        mended = rope(place.at("both"), back=True, shown=(ON, OFF))
        rows.append(
            two
            | drifted
            | {"one_way_success": one["one_way_success"]}
            | table
            | {
                "counts_gap": abs(lost.error - lost.share),
                "rope_slope_less_2": slope(lost) - 2,
                "rope_cost_less_exact": lost.costs[-1] / lost.exact[-1] - 1,
                "rope_slope_less_1_when_shown_the_way_back": slope(mended) - 1,
            }
        )
    return rounded(rows)


def accept_goal_bc() -> Measured:
    """With the goal and, by the same recipe and for the same goals, without."""
    goals, rows = load("navigation-goals"), []
    for seed in SEEDS:
        told, drifted = arrival("goal-bc", goals, seed, "goal")
        untold, _ = arrival("bc", goals, seed, "untold", world="navigation-goals")
        gain = told["goal_success"] - untold["untold_success"]
        rows.append(told | drifted | untold | {"goal_success_above_untold": gain})
    return rounded(rows)


def accept_diffusion_policy() -> Measured:
    """Success, and the way that is taken less often."""
    data, rows = load("navigation"), []
    for seed in SEEDS:
        found, drifted = arrival("diffusion-policy", data, seed, "diffusion")
        rows.append(found | drifted)
    return rounded(rows)


def arrival(
    name: str, data: Dataset, seed: int, word: str, **settings: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Train a policy; return how it walks, and how far its actions are from the expert's."""
    train_set, held_out = data.split()
    system, state = trained(name, train_set, seed, **settings)
    walked = roll(system, state.average, WALKS, Noise(seed).at("judge"))
    found = {f"{word}_success": walked.success}
    if world(system.world).radius:
        found |= {
            f"{word}_touched": float(np.mean(walked.touched)),
            f"{word}_rarer_way": rarer(walked),
        }
    shown, own = drift(system, state.average, held_out.data, Noise(seed).at("drift"))
    return found, {f"{word}_error_shown": shown, f"{word}_error_own": own}


def rarer(walked: Rollouts) -> float:
    """Return the share of the rarer way among the episodes that arrive, 0 where none does."""
    if not np.any(walked.reached):
        return 0.0
    left = float(np.mean(walked.ways[walked.reached] > 0))
    return min(left, 1 - left)


def one_way(noise: Noise) -> Dataset:
    """Return as many demonstrations of the left way alone."""
    rows, _ = rows_of(demonstrate(replace(world("navigation"), share=1.0), EPISODES, noise))
    return Dataset("navigation, one way", rows, None, "points", 0)


def rope(noise: Noise, *, back: bool, shown: tuple[int, ...], labels: int = LABELS) -> Rope:
    """Fit a table to what is shown in some states, and let it walk.

    With `back` the right action leads back onto the rope; without, nobody returns.
    """
    policy = CategoricalPolicy(2, 1, bins=2, limit=1.0, depth=0)  # cell 0 is right, cell 1 wrong
    slips = noise.at("slip").uniform((len(shown), labels)) < SLIP
    params = fit(policy, np.eye(2)[list(shown)], np.mean(slips, axis=1), noise.at("init"))
    seen, wrong = np.eye(2), policy.corners(np.array([WRONG])) + 0.5
    error = np.exp(-policy.forward(params, seen, np.repeat(wrong, 2, axis=0))[0])
    state, off, costs = np.full(WALKERS, ON), 0, []
    for t in range(LENGTHS[-1]):
        action = policy.draw(params, seen[state], noise.at("walk", t))
        went = policy.cells(action)
        state = np.where((state == OFF) & (not back), OFF, went)
        off += int(np.sum(state == OFF))
        if t + 1 in LENGTHS:
            costs.append(off / WALKERS)
    same = Tightrope(float(error[ON]), float(1 - error[OFF]) if back else 0.0)
    exact = np.array([same.cost(steps) for steps in LENGTHS])
    return Rope(float(error[ON]), float(np.mean(slips[0])), np.array(costs), exact)


def fit(policy: CategoricalPolicy, seen: Array, wrong: Array, noise: Noise) -> Params:
    """Descend −log likelihood of right and wrong actions, in these shares in each state."""
    params = policy.init(noise)
    told = np.repeat(seen, 2, axis=0)
    done = np.tile(policy.corners(np.array([0, WRONG])) + 0.5, (len(seen), 1))
    share = np.stack([1 - wrong, wrong], axis=1).ravel() / len(seen)
    for _ in range(8000):
        _, cache = policy.forward(params, told, done)
        grads = policy.backward(share, cache)
        params = tree.map(lambda p, g: p - 40.0 * g, params, grads)
    return params


def slope(walked: Rope) -> float:
    """Return the power of T with which costs grow."""
    return -check.order_of_convergence(list(LENGTHS), list(walked.costs))


def rounded(rows: list[dict[str, float]]) -> Measured:
    """Return the median of every figure, in six places."""
    return {name: round(float(value), 6) for name, value in medians(rows).items()}


MEASURE = {
    "bc": accept_bc,
    "goal-bc": accept_goal_bc,
    "diffusion-policy": accept_diffusion_policy,
}
BARS: dict[str, Bars] = {
    "bc": {
        "gaussian_success": ("<=", 0.2),
        "one_way_success": (">=", 0.95),
        "categorical_success": (">=", 0.95),
        "categorical_rarer_way": (">=", 0.25),
        "counts_gap": ("<=", 1e-6),
        "rope_slope_less_2": ("within", 0.1),
        "rope_cost_less_exact": ("within", 0.15),
        "rope_slope_less_1_when_shown_the_way_back": ("within", 0.1),
    },
    "goal-bc": {
        "goal_success": (">=", 0.95),
        "goal_success_above_untold": (">=", 0.5),
    },
    "diffusion-policy": {
        "diffusion_success": (">=", 0.95),
        "diffusion_rarer_way": (">=", 0.25),
    },
}
