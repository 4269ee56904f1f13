"""Diffusion that is told a label.

Digits: the judge's figures of samples of all labels, and what a weight above 1 buys and costs: how
often the judge names the label that was asked for, and how much of the data is still drawn. The
labelled mixture: p(label | x) of the samples that are asked for a label, against its exact mean.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.accept.measuring import (
    COUNT,
    DIGITS,
    SEEDS,
    Bars,
    Measured,
    figures,
    medians,
    trained,
)
from refgen.data import Dataset, load
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.systems.system import Request, draw
from refgen.training.judge import judge_of
from refgen.typing import Array, Params

WEIGHTS = {"cfg": 2.0, "classifier-guidance": 6.0}  # the one above 1 that is measured
MARGIN = 0.03  # by which the judge may recognise less than real digits
POINTS, LEVELS = 5_000, 250  # samples of the mixture for each label, and steps to each
WORLD = Mixture(  # two components have label 0, two have label 1; they overlap
    np.array([0.35, 0.25, 0.25, 0.15]),
    np.array([[-1.2, 0.9], [1.2, 0.8], [1.0, -0.4], [-0.6, -1.2]]),
    np.array([0.16, 0.2, 0.3, 0.12]),
)
CLASSES = ([0, 1], [2, 3])


def mixture(count: int = 20_000, seed: int = 0) -> Dataset:
    """Return draws of the labelled mixture; a label has the weight of its components."""
    place = Noise(seed).at("mixture")
    labels = np.isin(WORLD.labels(count, place), CLASSES[1]).astype(np.int64)
    data = WORLD.sample(count, place).astype(np.float32)
    return Dataset("mixture", data, labels, "points", 0)


def posterior(x: Array, label: int) -> Array:
    """Return p(label | x), (N,), of the mixture."""
    share: Array = np.sum(WORLD.responsibilities(x)[:, CLASSES[label]], axis=1)
    return share


def exact_posterior(label: int, gamma: float = 1.0) -> float:
    """Return E p(label | x) under p(x) p(label | x)^γ / Z, by quadrature on a grid."""
    axis = np.linspace(-5, 5, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    share = posterior(grid, label)
    weight = np.exp(WORLD.log_density(grid)) * share**gamma
    return float(weight @ share / weight.sum())


def of_each_label(
    system: Any, params: Params, each: int, noise: Noise, gamma: float | None = None
) -> tuple[Array, Array]:
    """Return samples asked for every label, `each` of each, and what they were asked for."""
    labels = range(system.classes)
    parts = [
        draw(system, params, each, noise.at(y), request=Request(label=y, guidance=gamma))
        for y in labels
    ]
    return np.concatenate(parts), np.repeat(labels, each)


def errors_of_mixture(system: Any, params: Params, noise: Noise) -> dict[str, float]:
    """Return by how many standard errors the posterior of a sampler is off, the worse label's."""
    found = {}
    for sampler in system.samplers:
        off = []
        for label in range(len(CLASSES)):
            place, asked = noise.at(sampler, label), Request(label=label, guidance=1.0)
            x = draw(system, params, POINTS, place, sampler=sampler, steps=LEVELS, request=asked)
            share = posterior(x.astype(np.float64), label)
            error = float(share.std()) / math.sqrt(POINTS)
            off.append(abs(float(share.mean()) - exact_posterior(label)) / error)
        found[f"mixture_{sampler}_standard_errors"] = round(max(off), 2)
    return found


def accept(name: str) -> Measured:
    """Train on digits and on the mixture from each seed; return the medians."""
    dataset, points = load("digits"), mixture()
    train_set, _ = dataset.split()
    judge, rows = judge_of(dataset), []
    for seed in SEEDS:
        noise = Noise(seed).at("judge")
        system, state = trained(name, train_set, seed)
        all_labels = figures(draw(system, state.average, COUNT, noise), dataset)
        row = {f"digits_{key}": value for key, value in all_labels.items()}
        each = COUNT // system.classes
        x, asked = of_each_label(system, state.average, each, noise, WEIGHTS[name])
        row["digits_recognised"] = float(np.mean(judge.labels(x) == asked))
        row["digits_guided_recall"] = figures(x, dataset)["recall"]
        system, state = trained(name, points, seed, classes=len(CLASSES))
        rows.append(row | errors_of_mixture(system, state.average, noise.at("mixture")))
    found: Measured = {**medians(rows), "weight": WEIGHTS[name], "judge_accuracy": judge.accuracy}
    found["digits_recognised_less_judge"] = medians(rows)["digits_recognised"] - judge.accuracy
    return found


MEASURE: dict[str, Callable[[], Measured]] = {name: partial(accept, name) for name in WEIGHTS}
BARS: dict[str, Bars] = {
    name: {
        **DIGITS,
        "digits_recognised_less_judge": (">=", -MARGIN),
        "digits_guided_recall": (">=", 0.3),
        "mixture_ancestral_standard_errors": ("<=", 3.0),
        "mixture_ddim_standard_errors": ("<=", 3.0),
    }
    for name in MEASURE
}
