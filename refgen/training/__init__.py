"""Training: the loop, the optimizer, run folders and checkpoints."""

from refgen.training.checkpoint import CheckpointError, State
from refgen.training.loop import NumericFailure, Recipe, Stop, interruptible, start, train
from refgen.training.optimizer import Adam
from refgen.training.run import Run, RunError

__all__ = [
    "Adam",
    "CheckpointError",
    "NumericFailure",
    "Recipe",
    "Run",
    "RunError",
    "State",
    "Stop",
    "interruptible",
    "start",
    "train",
]
