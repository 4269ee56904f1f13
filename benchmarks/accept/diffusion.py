"""Denoising diffusion."""

import statistics
from typing import Any

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, image_figures, trained
from refgen import metrics
from refgen.data import load
from refgen.data.toys import toy
from refgen.noise import Noise
from refgen.training import State
from refgen.typing import Array


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


MEASURE = {"ddpm": accept_ddpm}
BARS: dict[str, Bars] = {
    "ddpm": {
        "digits_precision": (">=", 0.75),
        "digits_recall": (">=", 0.5),
        "digits_copy_ratio": (">=", 0.9),
        "ring_bayes_distance": ("<=", 0.03),
    }
}
