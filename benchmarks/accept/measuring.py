"""What the measurements have in common: training as a user would, and the figures of images."""

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from refgen import metrics
from refgen.cli.backends import choose
from refgen.cli.judging import ON_PIXELS
from refgen.data import Dataset, load
from refgen.noise import Noise
from refgen.systems import SYSTEMS, build
from refgen.systems.system import draw
from refgen.training import Recipe, State, train
from refgen.training.judge import judge_of
from refgen.typing import Array

SEEDS = (0, 1, 2)
RECIPE = {f.name for f in fields(Recipe)}
COUNT = 500  # samples, and held-out images that they are judged against
Measured = dict[str, float | list[float]]
Bars = dict[str, tuple[str, float]]  # figure -> (">=", "<=" or "within", limit)
DIGITS: Bars = {  # what one Gaussian per class has; copies of the training set have 0
    "digits_precision": (">=", 0.712),
    "digits_recall": (">=", 0.822),
    "digits_copy_ratio": (">=", 0.9),
}


def trained(
    name: str, data: Dataset, seed: int, recipe: dict[str, Any] | None = None, **settings: Any
) -> tuple[Any, State]:
    """Train by the registry's recipe for the kind of data, with settings and recipe on top."""
    wanted = {**SYSTEMS[name].recipe(data.kind, settings.get("model", "")), **settings}
    if data.levels and "levels" not in settings and has(name, "levels"):
        wanted["levels"] = data.levels  # as `refgen train` does
    rates = {k: v for k, v in wanted.items() if k in RECIPE} | (recipe or {})
    chosen = {k: v for k, v in wanted.items() if k not in RECIPE}
    system = build(name, data.shape, {**chosen, "ops": choose("auto")[0]})
    plan = Recipe(**rates, seed=seed)
    every = max(1, plan.steps // 10)

    def report(state: State, row: dict[str, float]) -> None:
        if state.step % every == 0:
            losses = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.endswith("loss"))
            print(f"{name} seed {seed}: {state.step}/{plan.steps}  {losses}", file=sys.stderr)

    return system, train(system, data, plan, on_step=report)


def has(name: str, setting: str) -> bool:
    """Tell whether a system has a setting."""
    return setting in {f.name for f in fields(SYSTEMS[name].make)}  # type: ignore[arg-type]


def figures(samples: Array, dataset: Dataset) -> dict[str, float]:
    """Return the figures of one set of samples, as `refgen train` judges them."""
    train_set, held_out = dataset.split()
    real = held_out.data[: len(samples)]
    features = None if dataset.name in ON_PIXELS else judge_of(dataset).features
    near = metrics.knn_precision_recall(samples, real, features=features)
    found = {
        "precision": near.precision,
        "recall": near.recall,
        "one_nn": metrics.one_nn_accuracy(samples, real, features),
        "copy_ratio": metrics.copy_ratio(samples, real, train_set.data),
        "frechet": metrics.frechet_distance(samples, real, features),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def image_figures(
    name: str, data: str = "digits", *, seeds: Sequence[int] = SEEDS, **settings: Any
) -> Measured:
    """Train on images from each seed; return the median of each figure, "digits_recall"."""
    dataset, rows = load(data), []
    for seed in seeds:
        system, state = trained(name, dataset.split()[0], seed, **settings)
        samples = draw(system, state.average, COUNT, Noise(seed).at("judge"))
        rows.append(figures(samples, dataset))
    return {f"{data}_{key}": value for key, value in medians(rows).items()}


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of every figure."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def loss_of(system: Any, params: Any, x: Array, noise: Noise) -> float:
    """Return the mean loss of examples."""
    terms, _ = system.gradient(params, x, noise)
    return float(np.mean(terms["loss"], dtype=np.float64))


def commit() -> str | None:
    """Return the short name of the commit that runs, None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return found or None
