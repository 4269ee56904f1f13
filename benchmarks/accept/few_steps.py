"""One step or a few: how good samples are, by how many calls of the network they cost."""

import statistics
from collections.abc import Callable, Mapping, Sequence
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
from refgen import metrics
from refgen.data import Dataset, load
from refgen.data.toys import toy
from refgen.noise import Noise
from refgen.systems.system import draw
from refgen.typing import Array

Way = tuple[str, str, int]  # what the figures are called, sampler, steps


def images(name: str, ways: Sequence[Way], seeds: Sequence[int], **settings: Any) -> Measured:
    """Train on digits from each seed; return the median of each figure of every way of drawing."""
    dataset = load("digits")
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        system, state = trained(name, dataset.split()[0], seed, **settings)
        for title, sampler, steps in ways:
            place = Noise(seed).at("judge")
            samples = draw(system, state.average, COUNT, place, sampler=sampler, steps=steps)
            rows.setdefault(title, []).append(figures(samples, dataset))
    return {f"{title}_{k}": v for title, found in rows.items() for k, v in medians(found).items()}


def points(name: str, ways: Sequence[Way], seeds: Sequence[int], **settings: Any) -> Measured:
    """Train on the ring from each seed; return the medians of the toy protocol's figures."""
    ring, rows = toy("ring"), []
    assert ring.modes is not None
    many = ring.sample(200_000, Noise(5)).astype(np.float32)
    data = Dataset("ring", many, None, "points", 0)
    for seed in seeds:
        system, state = trained(name, data, seed, **settings)
        row: dict[str, float] = {}
        for title, sampler, steps in ways:

            def sample(
                count: int,
                noise: Noise,
                system: Any = system,
                params: Any = state.average,
                asked: Mapping[str, Any] = {"sampler": sampler, "steps": steps},
            ) -> Array:
                return draw(system, params, count, noise, **asked).astype(np.float64)

            found = metrics.toy_protocol(sample, ring, ring.modes, Noise(seed).at("ring"))
            row[f"{title}_distance"] = found.ratio
            row[f"{title}_weights"] = found.deviation
            row[f"{title}_spread"] = found.spread
        rows.append(row)
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def accept_consistency() -> Measured:
    """Digits in two calls and in one, without a teacher; with a teacher, and the ring, one seed."""
    ways = (("digits", "", 2), ("digits_1_step", "", 1))
    taught = (
        *(("digits_taught", "", 2), ("digits_taught_1_step", "", 1)),
        ("digits_taught_teacher", "teacher", 0),
    )
    rings = (("ring", "", 2), ("ring_1_step", "", 1))
    return {
        **images("consistency", ways, SEEDS),
        **images("consistency", taught, SEEDS[:1], taught=True),
        **points("consistency", rings, SEEDS[:1]),
    }


def accept_progressive_distillation() -> Measured:
    """Digits in four steps, and by the teacher: in all and in four; a seed of the ring, to one."""
    name = "progressive-distillation"
    digits = (
        *(("digits", "", 4), ("digits_8_steps", "", 8), ("digits_teacher", "teacher", 0)),
        ("digits_teacher_4_steps", "teacher", 4),
    )
    ring = (
        *(("ring", "", 4), ("ring_2_steps", "", 2), ("ring_1_step", "", 1)),
        *(("ring_teacher", "teacher", 0), ("ring_teacher_4_steps", "teacher", 4)),
    )
    return images(name, digits, SEEDS) | points(name, ring, SEEDS[:1], last=1)


MEASURE: dict[str, Callable[[], Measured]] = {
    "consistency": accept_consistency,
    "progressive-distillation": accept_progressive_distillation,
}
ONE_STEP: Bars = {key.replace("digits", "digits_1_step"): bar for key, bar in DIGITS.items()}
RING: Bars = {"ring_distance": ("<=", 1.44), "ring_1_step_distance": ("<=", 1.44)}
WEIGHTS: Bars = {"ring_weights": ("<=", 3.0), "ring_1_step_weights": ("<=", 3.0)}
BARS: dict[str, Bars] = {
    "consistency": DIGITS | ONE_STEP | RING,
    "progressive-distillation": DIGITS | RING | WEIGHTS,
}
