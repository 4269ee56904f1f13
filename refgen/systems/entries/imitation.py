"""Policies."""

from refgen.systems.bc import BC
from refgen.systems.diffusion_policy import DiffusionPolicy
from refgen.systems.entry import Entry
from refgen.systems.goal_bc import GoalBC

IMAGES = {"steps": 1}  # a policy refuses images; a recipe is asked for first

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "bc",
        "Behaviour cloning",
        "imitation",
        (0,),
        "navigation, two ways shown: at most 20 % arrive, and 95 % when one way is shown; "
        "categorical: 95 %, a quarter or more on each way; the rope: slope 2 within 0.1",
        BC,
        IMAGES,
        {"steps": 2000, "batch": 256, "lr": 3e-3},
        data="navigation",
    ),
    Entry(
        "goal-bc",
        "Goal-conditioned behaviour cloning",
        "imitation",
        (0,),
        "navigation-goals: 95 % arrive, and 50 points more than without the goal",
        GoalBC,
        IMAGES,
        {"steps": 2000, "batch": 256, "lr": 3e-3},
        data="navigation-goals",
    ),
    Entry(
        "diffusion-policy",
        "Diffusion policy",
        "imitation",
        (0,),
        "navigation: 95 % arrive, a quarter or more of them on each way",
        DiffusionPolicy,
        IMAGES,
        {"steps": 4000, "batch": 256, "lr": 3e-3},
        data="navigation",
    ),
)
