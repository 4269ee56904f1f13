r"""Demonstrations: what was seen and what was done, row by row, as a data set of points.

Shapes     M rows, H = 8 actions ahead.   row : (2 + 2 + 2 H,) float32
Sources    chi2023-diffusion-policy  section II.C (action sequences)

An expert walks E = 2000 episodes of a world (refgen.data.navigation); each of its states until the
goal is reached makes a row,

    row_t = [state_t, goal, action_t, action_{t+1}, .., action_{t+H−1}]                (DE.1)
    action_t = (state_{t+1} − state_t) / Δ,   0 once the episode is over               (DE.2)

so a system may condition on the state alone or on state and goal, and imitate one action or a plan.
Neighbouring rows are nearly alike: a tenth of them by lot would say nothing new. Held out are the
rows of the last tenth of the episodes.                                                (DE.3)
"""

import numpy as np

from refgen.data.dataset import Dataset
from refgen.data.navigation import DT, WORLDS, Navigation, Rollouts, world
from refgen.noise import Noise
from refgen.typing import Array

STATE, GOAL, ACTION, HORIZON = 2, 2, 2, 8
FIRST = STATE + GOAL  # the column where the actions begin
WIDTH = FIRST + ACTION * HORIZON
EPISODES = 2000
NAMES: tuple[str, ...] = tuple(WORLDS)


def load_demonstrations(name: str) -> Dataset:
    """Return the demonstrations in a world of NAMES, (M, 20), always the same.

    >>> load_demonstrations("navigation").shape
    (20,)
    """
    place = world(name)
    rows, episodes = rows_of(demonstrate(place, EPISODES, Noise(0).at("demonstrations", name)))
    held_out = np.flatnonzero(episodes >= EPISODES - EPISODES // 10)  # (DE.3)
    return Dataset(name, rows, None, "points", 0, held_out)


def demonstrate(place: Navigation, count: int, noise: Noise) -> Rollouts:
    """Let the expert walk; its ways are drawn here too."""
    ways = place.ways(count, noise.at("way"))
    return place.rollout(place.expert(ways), count, noise)


def rows_of(rollouts: Rollouts) -> tuple[Array, Array]:
    """Return the rows (M, 20) float32, episode after episode, and the episode of each, (M,)."""
    paths = rollouts.paths
    actions = np.diff(paths, axis=1) / DT  # (DE.2)
    ahead = np.concatenate([actions, np.zeros((len(paths), HORIZON - 1, 2))], axis=1)
    episode, t = np.nonzero(np.arange(actions.shape[1]) < rollouts.taken[:, None])
    plans = ahead[episode[:, None], t[:, None] + np.arange(HORIZON)]  # (M, H, 2)
    flat = np.reshape(plans, (len(t), ACTION * HORIZON))
    rows = np.concatenate([paths[episode, t], rollouts.goals[episode], flat], axis=1)  # (DE.1)
    return rows.astype(np.float32), episode
