"""Training: the loop, the optimizer, run folders and checkpoints."""

from refgen.training.checkpoint import CheckpointError, State
from refgen.training.judge import Judge, judge_of
from refgen.training.loop import (
    NumericFailure,
    Recipe,
    Stop,
    examples_for,
    interruptible,
    require_labels,
    resident,
    start,
    take_step,
    train,
)
from refgen.training.optimizer import Adam
from refgen.training.run import Run, RunError

__all__ = [
    "Adam",
    "CheckpointError",
    "Judge",
    "NumericFailure",
    "Recipe",
    "Run",
    "RunError",
    "State",
    "Stop",
    "examples_for",
    "interruptible",
    "judge_of",
    "require_labels",
    "resident",
    "start",
    "take_step",
    "train",
]
