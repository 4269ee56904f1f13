"""Behaviour cloning that is told where to go: π(plan | state, goal).

Lectures   0 (imitation learning as conditional generation)
Sources    ding2019-goal-imitation

The same network, loss and settings as bc; two more numbers are observed. Where experts leave one
state for many goals, a Gaussian that is not told which can only learn the mean of what they do.
"""

from dataclasses import dataclass
from typing import ClassVar

from refgen.systems.bc import BC


@dataclass(frozen=True)
class GoalBC(BC):
    """A clone that is told the goal; its world has goals all round."""

    goal: bool = True
    world: str = "navigation-goals"
    name: ClassVar[str] = "goal-bc"
