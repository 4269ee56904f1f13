"""Flows."""

import statistics
from typing import Any

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, loss_of, trained
from refgen import check, tree
from refgen.data import load
from refgen.data.toys import toy
from refgen.noise import Noise
from refgen.typing import Array


def accept_realnvp() -> Measured:
    """Two moons: likelihood against entropy, inverse and log-determinant at trained weights."""
    moons, world = load("toy:moons"), toy("moons")
    gaps, inverses, logdets = [], [], []
    for seed in SEEDS:
        system: Any
        system, state = trained("realnvp", moons, seed)
        params: Any = tree.map(lambda a: a.astype(np.float64), state.average)
        x = world.sample(100_000, Noise(seed).at("test"))
        gaps.append(loss_of(system, params, x, Noise(0)) - world.entropy)
        flow, few = system.flow, x[:100]
        z, logdet, _ = flow.forward(params["model"], few)
        inverses.append(float(np.max(np.abs(flow.inverse(params["model"], z) - few))))

        def one(v: Array, flow: Any = flow, params: Any = params) -> Array:
            image: Array = flow.forward(params["model"], v[None])[0][0]
            return image

        pairs = zip(few, logdet, strict=True)
        logdets.append(max(check.logdet_gap(one, float(v), row) for row, v in pairs))
    return {
        "moons_gap_nats": statistics.median(gaps),
        "inverse_error": max(inverses),
        "logdet_error": max(logdets),
    }


MEASURE = {"realnvp": accept_realnvp}
BARS: dict[str, Bars] = {
    "realnvp": {
        "moons_gap_nats": ("<=", 0.1),
        "inverse_error": ("<=", 1e-10),
        "logdet_error": ("<=", 1e-9),
    }
}
