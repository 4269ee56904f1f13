r"""A plane to walk in, round an obstacle on either side, and an expert who knows the ways.

Shapes     N episodes, T steps, H actions in a plan, M states.   states, goals, actions : (N, 2)
           plans : (N, H, 2)    paths : (N, T + 1, 2)    ways : (N,), +1 left, −1 right
Lectures   0 (imitation learning as conditional generation)
Sources    chi2023-diffusion-policy  (why two ways are hard to imitate)

A state is a place, an action a velocity; the obstacle is a disc of radius R about the origin. A
step touches it where the segment walked does, so nobody jumps across.

    state' = state + Δ action,   Δ = 0.2                                              (NV.1)
    touched: ‖state + u (state' − state)‖ ≤ R at the nearest point of the segment,
             u = −state · (state' − state) / ‖state' − state‖², cut to [0, 1]         (NV.2)
    reached: ‖state' − goal‖ ≤ 0.15, and nothing was touched                          (NV.3)

An episode ends where it touches or reaches, and stays there. The expert goes left (w = 1) in a
share of the episodes, which are chosen by lot, wherever they start, and right (w = −1) in the
others. It walks at unit speed, never quite straight.

    aim = (0, w) while there is an obstacle and x < −0.1, else the goal               (NV.4)
    action = (aim − state) / ‖aim − state‖ + 0.1 ε,   ε ~ N(0, I)                     (NV.5)

So the state says nothing about the way until one is taken: at the start the mean of what experts do
points between the ways, at the obstacle. The worlds are

    navigation         from (−1, 0) to (1, 0), R = 0.5: two ways to one goal
    navigation-goals   from the origin to anywhere on the circle of radius 1.5, no obstacle
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refgen.noise import Noise
from refgen.typing import Array

Policy = Callable[[Array, Array, Noise], Array]  # (states, goals, where to draw) -> plans
DT, NEAR, DETOUR, TURN = 0.2, 0.15, 1.0, -0.1  # of (NV.1), (NV.3) and (NV.4)
WOBBLE = 0.1  # std of the expert's action in each coordinate
STEPS = 30  # of an episode; the expert needs about 14


class Rollouts(NamedTuple):
    """What became of some episodes."""

    paths: Array  # (N, T + 1, 2)  places, the last one repeated
    goals: Array  # (N, 2)
    reached: Array  # (N,) bool
    touched: Array  # (N,) bool
    taken: Array  # (N,)  how many steps until it was over

    @property
    def success(self) -> float:
        """The share of episodes that reached the goal without touching the obstacle."""
        return float(np.mean(self.reached))

    @property
    def ways(self) -> Array:
        """Return +1 for a path that passes the obstacle on its left, −1 right, 0 if neither.

        (N,); the side is that of the first place beyond x = 0.
        """
        past = self.paths[:, :, 0] >= 0  # (N, T + 1)
        first = np.argmax(past, axis=1)
        side = np.sign(self.paths[np.arange(len(past)), first, 1])
        found: Array = np.where(np.any(past, axis=1), side, 0.0)
        return found

    @property
    def acts(self) -> tuple[Array, Array, Array]:
        """Return state, goal and action of every step until the end, each (M, 2)."""
        episode, t = np.nonzero(np.arange(self.paths.shape[1] - 1) < self.taken[:, None])
        here, there = self.paths[episode, t], self.paths[episode, t + 1]
        return here, self.goals[episode], (there - here) / DT


@dataclass(frozen=True)
class Navigation:
    """A start, an obstacle and a goal; a `ring` puts the goals on that circle about the origin."""

    name: str
    radius: float = 0.5
    start: tuple[float, float] = (-1.0, 0.0)
    spread: float = 0.03
    goal: tuple[float, float] = (1.0, 0.0)
    ring: float = 0.0
    share: float = 0.5

    def starts(self, count: int, noise: Noise) -> Array:
        """Draw the first states, (N, 2)."""
        return np.array(self.start) + self.spread * noise.normal((count, 2))

    def goals(self, count: int, noise: Noise) -> Array:
        """Draw the goals, (N, 2): the one there is, or any of the ring."""
        if not self.ring:
            return np.tile(np.array(self.goal), (count, 1))
        angle = 2 * np.pi * noise.uniform(count)
        return self.ring * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def ways(self, count: int, noise: Noise) -> Array:
        """Draw the side that the expert takes, (N,): +1 in a share of the episodes, else −1."""
        order = np.argsort(noise.uniform(count), kind="stable")
        return np.where(order < round(self.share * count), 1.0, -1.0)

    def touches(self, here: Array, there: Array) -> Array:
        """Tell whether each segment meets the obstacle, (N,) bool."""
        walked = there - here
        square = np.sum(walked * walked, axis=1)
        along = -np.sum(here * walked, axis=1) / np.where(square > 0, square, 1.0)
        nearest = here + np.clip(along, 0.0, 1.0)[:, None] * walked
        met: Array = np.sum(nearest * nearest, axis=1) <= self.radius**2  # (NV.2)
        return met if self.radius > 0 else np.zeros_like(met)

    def heading(self, states: Array, goals: Array, ways: Array) -> Array:
        """Return the mean of the expert's action, (N, 2): of length 1."""
        detour = np.stack([np.zeros_like(ways), DETOUR * ways], axis=1)
        before = (states[:, :1] < TURN) & (self.radius > 0)
        away = np.where(before, detour, goals) - states  # (NV.4)
        length = np.sqrt(np.sum(away * away, axis=1, keepdims=True))
        unit: Array = away / np.where(length > 0, length, 1.0)
        return unit

    def error(self, states: Array, goals: Array, actions: Array) -> Array:
        """Return how far each action is from the expert's mean on the nearer of its ways, (N,)."""
        there = np.ones(len(states))
        gaps = [actions - self.heading(states, goals, way * there) for way in (1.0, -1.0)]
        nearer: Array = np.min([np.sqrt(np.sum(gap * gap, axis=1)) for gap in gaps], axis=0)
        return nearer

    def expert(self, ways: Array) -> Policy:
        """Return the expert who has chosen these ways, (N,): a plan of one action."""

        def act(states: Array, goals: Array, noise: Noise) -> Array:
            drawn = WOBBLE * noise.normal(states.shape)
            return (self.heading(states, goals, ways) + drawn)[:, None]  # (NV.5)

        return act

    def rollout(self, policy: Policy, count: int, noise: Noise, steps: int = STEPS) -> Rollouts:
        """Let a policy act in `count` episodes at once, each of its plans carried out in full.

        Episode i draws the same start and goal however many there are. Raises ValueError for
        plans that are not (N, H, 2).
        """
        states, goals = self.starts(count, noise.at("start")), self.goals(count, noise.at("goal"))
        paths = [states]
        reached, touched = np.zeros(count, bool), np.zeros(count, bool)
        taken = np.zeros(count, np.int64)
        while len(paths) <= steps:
            plan = policy(states, goals, noise.at("act", len(paths) - 1))
            if plan.ndim != 3 or plan.shape[::2] != (count, 2) or plan.shape[1] < 1:
                raise ValueError(
                    f"{self.name}: a policy returns a plan of actions for each of {count} states, "
                    f"({count}, H, 2) with H ≥ 1, not {plan.shape}"
                )
            for action in np.moveaxis(plan, 1, 0)[: steps + 1 - len(paths)]:
                walks = ~(reached | touched)
                moved = np.where(walks[:, None], states + DT * action, states)  # (NV.1)
                touched = touched | (walks & self.touches(states, moved))
                gap = moved - goals
                near = np.sum(gap * gap, axis=1) <= NEAR**2
                reached = reached | (near & ~touched)  # (NV.3)
                taken = taken + walks
                states = moved
                paths.append(moved)
            if np.all(reached | touched):
                paths += [states] * (steps + 1 - len(paths))
        return Rollouts(np.stack(paths, axis=1), goals, reached, touched, taken)


WORLDS: dict[str, Navigation] = {
    world.name: world
    for world in (
        Navigation("navigation"),
        Navigation("navigation-goals", radius=0.0, start=(0.0, 0.0), ring=1.5),
    )
}


def world(name: str) -> Navigation:
    """Return a world by name. Raises ValueError for a name that there is not."""
    if name not in WORLDS:
        raise ValueError(f"no world is called {name!r}: there are {', '.join(WORLDS)}")
    return WORLDS[name]
