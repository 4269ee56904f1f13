"""A small system of two players, and a command that trains it: for tests that kill and resume."""

import argparse
import sys
from pathlib import Path

import numpy as np

from refgen.data import Dataset
from refgen.systems import build
from refgen.training import Recipe, Run, interruptible, train

SYSTEM = build("gan", (3,), {"hidden": 16, "latent": 2, "k": 2})
DATA = Dataset(
    "toy",
    np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32),
    None,
    "points",
    0,
)


def recipe(steps: int, save_every: int = 50) -> Recipe:
    return Recipe(steps, batch=16, lr=1e-3, warmup=10, log_every=5, save_every=save_every)


def main() -> None:
    """Train in a run folder, resuming whatever is there, and print each step that is saved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("steps", type=int)
    args = parser.parse_args()
    fresh = not (args.path / "config.toml").exists()
    run = Run.create(args.path, {"steps": args.steps}) if fresh else Run.open(args.path)
    state, _ = run.latest()
    print("start", state.step if state else 0, flush=True)
    with run.locked(), interruptible() as stop:
        plan = recipe(args.steps, save_every=5)

        def report(state, row):
            if state.step % 5 == 0:  # has just been saved: acknowledged
                print("saved", state.step, flush=True)

        state = train(SYSTEM, DATA, plan, run, state=state, on_step=report, stop=stop)
    print("end", state.step, flush=True)
    sys.exit(128 + stop.signal if stop.signal else 0)


if __name__ == "__main__":
    main()
