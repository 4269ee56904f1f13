"""Energies: how near their density is to the data's, and what Langevin's walk makes of it.

The constant is a sum over a grid four times as fine as the one that training sees, so a density
that hides between the points of the coarse one is found out. A mode's weight is the sum of p over
the places that are nearest to it.
"""

import statistics
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.accept.measuring import DIGITS, SEEDS, Bars, Measured, image_figures, trained
from refgen import metrics
from refgen.data import load
from refgen.data.toys import Toy, toy
from refgen.exact.world import squared_distances
from refgen.noise import Noise
from refgen.systems.ebm import EBM
from refgen.systems.system import draw
from refgen.typing import Params

TEST = 20_000  # points whose −log p is averaged
DRAWS, COUNT = 3, 10_000  # of samples, where they are compared with the toy


def accept_ebm() -> Measured:
    """Toys by exact likelihood and by contrastive divergence; digits by denoising."""
    moons, ring, contrast, weights, walks, cells = [], [], [], [], [], []
    for seed in SEEDS:
        system, params = taught("moons", seed)
        moons.append(gap(system, params, toy("moons")))
        system, params = taught("ring", seed)
        ring.append(gap(system, params, toy("ring")))
        weights.append(weights_off(system, params, toy("ring")))
        walks.append(distance(system, params, toy("ring"), "langevin"))
        cells.append(distance(system, params, toy("ring"), "grid"))
        system, params = taught("moons", seed, method="contrastive")
        contrast.append(gap(system, params, toy("moons")))
    found = {
        "moons_gap_nats": moons,
        "ring_gap_nats": ring,
        "ring_weights_off": weights,
        "ring_langevin_distance": walks,
        "ring_grid_distance": cells,
        "moons_contrastive_gap_nats": contrast,
    }
    toys = {name: round(statistics.median(rows), 4) for name, rows in found.items()}
    return toys | image_figures("ebm")


def taught(name: str, seed: int, **settings: Any) -> tuple[EBM, Params]:
    """Train on a toy by the registry's recipe, with settings on top; return its average too."""
    system, state = trained("ebm", load(f"toy:{name}"), seed, **settings)
    return system, state.average


def gap(system: EBM, params: Params, world: Toy) -> float:
    """Return E −log p(x) less the entropy of the toy, in nats."""
    x = world.sample(TEST, Noise(0).at("test")).astype(np.float32)
    fine = replace(system, points=4 * system.points)
    return -float(np.mean(fine.log_density(params, x), dtype=np.float64)) - world.entropy


def weights_off(system: EBM, params: Params, world: Toy) -> float:
    """Return by how much the weight of a mode is off, at most."""
    assert world.modes is not None
    grid = replace(system, points=4 * system.points).likelihood.grid
    p = np.exp(system.log_density(params, grid.astype(np.float32)).astype(np.float64))
    nearest = np.argmin(squared_distances(grid, world.modes.means), axis=1)
    share = np.bincount(nearest, p, len(world.modes.weights)) / np.sum(p)
    return float(np.max(np.abs(share - world.modes.weights)))


def distance(system: EBM, params: Params, world: Toy, sampler: str) -> float:
    """Return how much farther samples are from the toy than the toy is from itself."""
    samples = partial(draw, system, params, sampler=sampler)
    return metrics.sliced_ratio(samples, world, Noise(7).at(sampler), COUNT, DRAWS)


MEASURE = {"ebm": accept_ebm}
BARS: dict[str, Bars] = {
    "ebm": {
        "moons_gap_nats": ("<=", 0.1),
        "ring_gap_nats": ("<=", 0.1),
        "ring_weights_off": ("<=", 0.01),
        "ring_grid_distance": ("<=", 1.44),
        "moons_contrastive_gap_nats": ("<=", 0.1),
        **DIGITS,
    }
}
