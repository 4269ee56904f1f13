"""The training loop: every turn of a system, step after step, until done or told to stop.

Batches and noise have addresses, (step, player, repeat), so nothing random is carried along:
a run that stops anywhere and resumes takes the very steps that it would have taken.
"""

import json
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from refgen import tree
from refgen.data import Dataset, Examples
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.systems import Labelled, System
from refgen.systems.system import Stage, name_of
from refgen.training.checkpoint import State, steps
from refgen.training.optimizer import Adam
from refgen.training.run import Run, RunError

Row = dict[str, float]
ADVICE = "Lower lr, or look at the data and settings; the last checkpoint is untouched."


class NumericFailure(ArithmeticError):
    """A loss or a gradient that is not a finite number: at which step, where, and what to try."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train. Raises ValueError for counts below 1."""

    steps: int
    batch: int = 128
    lr: float = 1e-3
    beta1: float = 0.9
    decay: float = 0.999
    warmup: int = 100
    seed: int = 0
    log_every: int = 20
    save_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        self.optimizer(1)  # refuses rates that cannot be
        Noise(self.seed)

    def optimizer(self, repeat: int, steps: int = 0) -> Adam:
        """Return the optimizer of a player who moves `repeat` times in each of so many steps."""
        updates = (steps or self.steps) * repeat
        return Adam(updates, self.lr, self.beta1, warmup=self.warmup, decay=self.decay)


@dataclass
class Stop:
    """A request to stop after the current step; `signal` is the number of the signal received."""

    signal: int = 0


def start(system: System, recipe: Recipe) -> State:
    """Return the state before the first step, float32."""
    drawn = system.init(Noise(recipe.seed).at("init"))
    params = tree.map(lambda a: a.astype(np.float32), drawn)
    adam = recipe.optimizer(1)
    return State(0, params, {player: adam.start(params[player]) for player in params})


def require_labels(system: System, data: Dataset) -> None:
    """Raise ValueError where a system learns from labels that the data do not have."""
    if not any(turn.labelled for turn in system.turns()):
        return
    name = name_of(system)
    if data.labels is None:
        raise ValueError(
            f"{name} learns from labels, and {data.name} has none: give data with labels, such as "
            "digits, fashion, an .npz with an array `labels`, or a .csv with a column `label`"
        )
    classes, found = getattr(system, "classes", 0), int(data.labels.max()) + 1
    if found > len(data):
        raise ValueError(
            f"{data.name} has labels up to {found - 1} for {len(data)} examples: number its "
            "classes 0, 1, 2, ... without gaps"
        )
    if classes and found > classes:
        raise ValueError(
            f"{name} knows the labels 0 .. {classes - 1}, and {data.name} has labels up to "
            f"{found - 1}: set classes={found}"
        )


def train(
    system: System,
    data: Dataset,
    recipe: Recipe,
    run: Run | None = None,
    *,
    state: State | None = None,
    on_step: Callable[[State, Row], None] | None = None,
    stop: Stop | None = None,
) -> State:
    """Train from a state (default: the start) to recipe.steps, or until stop.signal is set.

    With a run, rows go to its log and states to its checkpoints; the state returned has been
    saved. on_step sees the state and the row of terms of every step. Raises NumericFailure for a
    loss, a gradient or a parameter to be saved that is not finite, with the last good checkpoint
    in place, RunError for a run that already has checkpoints when no state is given, and
    ValueError for data without the labels that the system learns from.
    """
    require_labels(system, data)
    if run and state is None and steps(run.path / "ckpt"):
        raise RunError(
            f"{run.path} already has checkpoints, and starting over would discard them. Go on from "
            "run.latest(), or create another run."
        )
    state = resident(system, state or start(system, recipe))
    examples = examples_for(system, data)
    log = Log(run, state.step)
    while state.step < recipe.steps and not (stop and stop.signal):
        state, row = take_step(system, examples, recipe, state)
        if state.step % recipe.log_every == 0 or state.step == recipe.steps:
            log.write(row)
        if run and (state.step % recipe.save_every == 0 or state.step == recipe.steps):
            run.save(_sound(fetched(system, state)))
        if on_step:
            on_step(state, row)
    if run and stop and stop.signal:
        run.save(_sound(fetched(system, state)))
    return fetched(system, state)


def resident(system: System, state: State) -> State:
    """Return a state where the system's ops compute."""
    put = partial(tree.map, system.ops.put)
    return State(state.step, put(state.params), put(state.moments))


def fetched(system: System, state: State) -> State:
    """Return a state in ordinary memory."""
    fetch = partial(tree.map, system.ops.fetch)
    return State(state.step, fetch(state.params), fetch(state.moments))


def examples_for(system: System, data: Dataset) -> Examples:
    """Return data where the system's ops compute."""
    labels = None if data.labels is None else system.ops.put(data.labels)
    return Examples(system.ops.put(data.data), labels)


def take_step(
    system: System, data: Examples | Dataset, recipe: Recipe, state: State
) -> tuple[State, Row]:
    """Take every turn of one step; return the new state and its row of the log.

    A player who learns in one part of the training has rates that rise and fall in that part; all
    turns of a player are in one part, and an heir inherits before its first step. Data and state
    are resident; nothing leaves a device but the row. Raises NumericFailure for a loss or a
    gradient that is not finite.
    """
    params: Any = dict(state.params)
    moments: Any = dict(state.moments)
    for turn in system.turns():
        if turn.heir_of and turn.span(recipe.steps).start == state.step:
            params[turn.player] = tree.map(np.copy, moments[turn.heir_of]["average"])
            moments[turn.player] = recipe.optimizer(1).start(params[turn.player])
    row: Row = {"step": state.step + 1}
    now = min(state.step, recipe.steps - 1)  # who goes on beyond the end repeats its last step
    turns = [turn for turn in system.turns() if now in turn.span(recipe.steps)]
    repeats, done = Counter[str](), Counter[str]()  # updates of each player in one step
    for turn in turns:
        repeats[turn.player] += turn.repeat
    for turn in turns:
        span = turn.span(recipe.steps)
        adam = recipe.optimizer(repeats[turn.player], len(span))
        for k in range(done[turn.player], done[turn.player] + turn.repeat):
            place = Noise(recipe.seed).at("train", state.step, turn.player, k)
            x, labels = data.batch(place.at("batch"), recipe.batch, system.ops.words)
            batch = Labelled(x, labels) if turn.labelled and labels is not None else x
            stage = (_stage(now, span, moments),) if turn.staged else ()
            terms, grads = turn.gradient(params, batch, place.at("draw"), *stage)
            update = (state.step - span.start) * repeats[turn.player] + k + 1
            means, norm = _checked(state.step + 1, turn.player, terms, grads, system.ops)
            params[turn.player], moments[turn.player] = adam.update(
                system.ops, params[turn.player], grads, moments[turn.player], update
            )
        done[turn.player] += turn.repeat
        row |= {f"{turn.player}/{name}": mean for name, mean in means.items()}
        row[f"{turn.player}/gradient"] = norm
    return State(state.step + 1, params, moments), row


def _stage(now: int, span: range, moments: Any) -> Stage:
    """Return where a turn stands, before an update."""
    average = {player: both["average"] for player, both in moments.items()}
    return Stage(now - span.start, len(span), average)


def _sound(state: State) -> State:
    """Return a state that may be saved. Raises NumericFailure where it is not finite."""
    for kind, held in (("parameter", state.params), ("moment", state.moments)):
        for path, a in tree.flatten(held).items():
            if not np.isfinite(a).all():
                raise NumericFailure(f"step {state.step}: {kind} {path} is not finite. {ADVICE}")
    return state


def _checked(
    step: int, player: str, terms: dict[str, Any], grads: Any, ops: Ops
) -> tuple[Row, float]:
    """Return the mean of every term, and the norm of the gradient.

    They are fetched together: one crossing from a device. Raises NumericFailure where anything is
    not finite.
    """
    leaves = tree.flatten(grads)
    found = [np.mean(v) for v in terms.values()] + [np.vdot(g, g) for g in leaves.values()]
    numbers = [float(n) for n in ops.fetch(np.stack(found))]
    means = dict(zip(terms, numbers, strict=False))
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise NumericFailure(f"step {step}: {player}'s {name} is not finite. {ADVICE}")
    squares = numbers[len(terms) :]
    for path, square in zip(leaves, squares, strict=True):
        if not math.isfinite(square):
            raise NumericFailure(
                f"step {step}: the gradient of {player}/{path} is not finite. {ADVICE}"
            )
    return means, math.sqrt(sum(squares))


@dataclass
class Log:
    """Appends rows to the run's metrics, each a line that is flushed; a resumed log is rewound."""

    run: Run | None
    step: int
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.run:
            self.run.rewind(self.step)

    def write(self, row: Row) -> None:
        """Append a row, with the seconds since this process began to train."""
        if self.run:
            timed = row | {"seconds": round(time.monotonic() - self.began, 3)}
            with open(self.run.metrics, "a") as file:
                file.write(json.dumps(timed) + "\n")


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second SIGINT ends at once."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = number

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
