"""What systems that act have in common: rows of demonstrations come in, paths come out.

Shapes     rows : (N, 20), see refgen.data.demonstrations    observed : (N, 2), or (N, 4) with the
           goal    plans : (N, H, 2)    paths : (N, T + 1, 2)
Lectures   0 (imitation learning as conditional generation)
"""

from typing import Any, Protocol

import numpy as np

from refgen import tree
from refgen.data.demonstrations import ACTION, FIRST, HORIZON, STATE, WIDTH
from refgen.data.navigation import STEPS, Rollouts, world
from refgen.noise import Noise
from refgen.systems.system import Generative
from refgen.typing import Array


class Acting(Generative, Protocol):
    """A system that acts. What others draw, it does: `sample` returns paths through its world."""

    @property
    def world(self) -> str:
        """The name of the world that it walks in."""

    @property
    def goal(self) -> bool:
        """Whether it is told the goal."""

    def act(
        self, params: Any, observed: Array, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Return a plan for each thing observed, (N, H, 2): what is done before looking again."""


def is_acting(system: Any) -> bool:
    """Tell whether a system acts in a world."""
    return hasattr(system, "act")


def observed_of(rows: Array, goal: bool) -> Array:
    """Return what a policy is told: the state, and the goal if `goal`."""
    return rows[:, : FIRST if goal else STATE]


def planned_of(rows: Array, chunk: int) -> Array:
    """Return the next `chunk` actions side by side, (N, 2 chunk)."""
    return rows[:, FIRST : FIRST + ACTION * chunk]


def roll(
    system: Acting,
    params: Any,
    count: int,
    noise: Noise,
    *,
    sampler: str = "",
    steps: int = 0,
    length: int = STEPS,
) -> Rollouts:
    """Let a system act in `count` episodes of its world, of at most `length` steps.

    The world is in ordinary memory, the parameters where the system computes; what is observed
    and what is planned cross between them. Raises ValueError for a sampler that it does not have.
    """
    dtype = next(tree.leaves(params)).dtype

    def act(states: Array, goals: Array, place: Noise) -> Array:
        seen = np.concatenate([states, goals], axis=1) if system.goal else states
        there = system.ops.put(seen.astype(dtype))
        plan = system.act(params, there, place, sampler=sampler, steps=steps)
        return system.ops.fetch(plan).astype(np.float64)

    return world(system.world).rollout(act, count, noise, length)


def paths_of(system: Acting, params: Any, rollouts: Rollouts) -> Array:
    """Return the paths as a system's samples are: in its own type, where it computes."""
    dtype = next(tree.leaves(params)).dtype
    return system.ops.put(rollouts.paths.astype(dtype))


def drift(system: Acting, params: Any, rows: Array, noise: Noise) -> tuple[float, float]:
    """Return the error of a system on the states that were shown, and on those it comes to.

    The error is the root mean square distance of its next action from the expert's mean action,
    whichever way of the expert's is nearer. What was shown are rows of demonstrations; where it
    comes to are the states of 500 episodes of its own, until each of them ends.
    """
    place, dtype = world(system.world), next(tree.leaves(params)).dtype
    told = system.ops.put(observed_of(rows, system.goal).astype(dtype))
    plan = system.ops.fetch(system.act(params, told, noise.at("shown"))).astype(np.float64)
    shown = place.error(rows[:, :STATE], rows[:, STATE:FIRST], plan[:, 0])
    own = place.error(*roll(system, params, 500, noise.at("own")).acts)
    return float(np.sqrt(np.mean(shown**2))), float(np.sqrt(np.mean(own**2)))


def refuse_rows(name: str, shape: tuple[int, ...], where: str, chunk: int, execute: int) -> None:
    """Raise ValueError for data, a world or a plan that a policy cannot have."""
    world(where)
    if shape != (WIDTH,):
        raise ValueError(
            f"{name} learns from demonstrations, rows of {WIDTH} numbers: a state, a goal and "
            f"{HORIZON} actions; not from examples of shape {shape}. Take --data {where}"
        )
    if not 1 <= chunk <= HORIZON:
        raise ValueError(f"chunk is 1 .. {HORIZON}, the actions that a row holds, not {chunk}")
    if not 0 <= execute <= chunk:
        raise ValueError(
            f"execute is 1 .. {chunk}, the actions of a plan, or 0 for all of them, not {execute}"
        )
