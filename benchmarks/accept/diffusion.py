"""Denoising diffusion."""

import statistics
from typing import Any

import numpy as np

from benchmarks.accept.measuring import (
    COUNT,
    DIGITS,
    SEEDS,
    Bars,
    Measured,
    figures,
    image_figures,
    medians,
    trained,
)
from refgen import metrics
from refgen.data import Dataset, load
from refgen.data.toys import toy
from refgen.metrics.likelihood import baseline_bits, bits_of
from refgen.noise import Noise
from refgen.systems.system import draw
from refgen.training import State
from refgen.typing import Array

DRAWS = 7  # of 10,000 points for each seed, where the protocol has 20 in all


def accept_ddpm() -> Measured:
    """Digits: the judge's figures. Ring: the distance to the Bayes optimum."""
    ring, world, ratios = load("toy:ring"), toy("ring"), []
    for seed in SEEDS:
        system, state = trained("ddpm", ring, seed)
        ratios.append(bayes_ratio(system, state, world))
    return image_figures("ddpm") | {"ring_bayes_distance": statistics.median(ratios)}


def bayes_ratio(system: Any, state: State, world: Any) -> float:
    """Return E|model − best|² over E|noise − best|² on 10⁵ pairs, t uniform."""
    schedule, params = system.process, state.average["model"]

    def predict(x: Array, t: Array) -> Array:
        noise_hat: Array = system.network.forward(params, x.astype(np.float32), t)[0]
        return noise_hat

    t = np.arange(schedule.T + 1)
    found = metrics.bayes_distance(
        predict, world, schedule.signal(t), schedule.spread(t), Noise(3).at("pairs")
    )
    return found.ratio


def accept_improved_ddpm() -> Measured:
    """Digits: bits per dimension of the held-out images, the baselines, the judge's figures."""
    dataset, rows = load("digits"), []
    train_set, held_out = dataset.split()
    for seed in SEEDS:
        system, state = trained("improved-ddpm", train_set, seed)
        place = Noise(seed).at("judge")
        nats = system.nats(state.average, held_out.data[:COUNT], place.at("nats"), parts=250)
        bits = bits_of(nats, held_out.data[0].size)
        found = figures(draw(system, state.average, COUNT, place), dataset)
        named = {f"digits_{key}": value for key, value in found.items()}
        error = {"digits_bits_standard_error": bits.standard_error}
        rows.append({"digits_bits_per_dimension": bits.mean, **error, **named})
    base = baseline_bits(dataset, system.bins, Noise(0).at("baselines"))
    named = {f"digits_bits_of_{key.replace(' ', '_')}": bits.mean for key, bits in base.items()}
    return {**medians(rows), **named}


def accept_ddim() -> Measured:
    """Digits by DDIM and its inversion; the ring's modes."""
    dataset, rows = load("digits"), []
    train_set, held_out = dataset.split()
    for seed in SEEDS:
        system, state = trained("ddim", train_set, seed)
        found = figures(draw(system, state.average, COUNT, Noise(seed).at("judge")), dataset)
        returned = {
            f"inversion_error_{rounds}": inversion_error(
                system, state.average, held_out.data[:COUNT], rounds
            )
            for rounds in (1, 3, 10)
        }
        rows.append({f"digits_{key}": value for key, value in (found | returned).items()})
    return medians(rows) | ring_figures("ddim")


def inversion_error(system: Any, params: Any, images: Array, rounds: int) -> float:
    """Return how far images come back from, root mean square, over their own standard deviation."""
    back = system.generate(params, system.invert(params, images, rounds=rounds))
    away = np.mean((back - images).astype(np.float64) ** 2)
    return float(np.sqrt(away / np.var(images, dtype=np.float64)))


def ring_figures(name: str) -> Measured:
    """Train on many points of the ring from each seed; return the medians of the toy protocol."""
    world, rows = toy("ring"), []
    assert world.modes is not None
    points = world.sample(200_000, Noise(5)).astype(np.float32)
    for seed in SEEDS:
        system, state = trained(name, Dataset("ring", points, None, "points", 0), seed)

        def sample(count: int, noise: Noise, system: Any = system, state: State = state) -> Array:
            return draw(system, state.average, count, noise).astype(np.float64)

        place = Noise(seed).at("toy")
        found = metrics.toy_protocol(sample, world, world.modes, place, draws=DRAWS)
        rows.append({f"ring_{key}": value for key, value in found._asdict().items()})
    return {**medians(rows)}


MEASURE = {"ddpm": accept_ddpm, "improved-ddpm": accept_improved_ddpm, "ddim": accept_ddim}
BARS: dict[str, Bars] = {
    "ddpm": {**DIGITS, "ring_bayes_distance": ("<=", 0.03)},
    "improved-ddpm": {**DIGITS, "digits_bits_per_dimension": ("<=", 2.42)},
    "ddim": {
        **DIGITS,
        "ring_ratio": ("<=", 1.44),
        "ring_deviation": ("<=", 3.0),
        "ring_spread": ("<=", 0.1),
    },
}
