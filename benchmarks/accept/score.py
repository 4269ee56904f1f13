"""Score models."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.accept.measuring import DIGITS, SEEDS, Bars, Measured, image_figures, trained
from refgen import metrics, tree
from refgen.data import Dataset
from refgen.data.toys import toy
from refgen.exact import Mixture
from refgen.exact.world import World
from refgen.noise import Noise
from refgen.typing import Array

DRAWS, REAL = 4, 20  # of 10,000 points: of a model, for each seed, and of the toy itself
PAIR = Mixture(np.array([0.2, 0.8]), np.array([[-5.0, -5.0], [5.0, 5.0]]), np.ones(2))
PLAIN = 0.1  # ε of plain Langevin on the pair, of deviation 1: stable, and fast within a mode
WIDE: dict[str, Any] = {  # settings for the pair, ten times as wide as other toys
    "L": 10,
    "step": 0.3,
    "sigma_first": 0.1,
    "sigma_last": 20.0,
    "inner": 100,
    "hidden": 64,
    "steps": 3000,
    "data_std": 5.0,
    "plain_step": PLAIN,
}


def fresh(name: str, world: World, count: int = 200_000) -> Dataset:
    """Return many points of a world, so that what is learned is the world and not the points."""
    return Dataset(name, world.sample(count, Noise(5)).astype(np.float32), None, "points", 0)


def distance(sample: Callable[[int, Noise], Array], world: World, noise: Noise) -> float:
    """Return how much farther a model is from a toy than the toy is from itself.

    metrics.sliced_ratio with fewer draws of the model, which cost, than of the toy.
    """
    model, real = [], []
    for i in range(REAL):
        at = noise.at("draw", i)
        reference = world.sample(10_000, at.at("reference"))
        other = world.sample(10_000, at.at("real"))
        real.append(metrics.sliced_wasserstein(other, reference, at))
        if i < DRAWS:
            drawn = sample(10_000, at.at("model"))
            model.append(metrics.sliced_wasserstein(drawn, reference, at))
    return statistics.mean(model) / statistics.mean(real)


def toy_figures(name: str, seeds: Sequence[int] = SEEDS, **settings: Any) -> Measured:
    """Return the figures of the toy protocol on the ring at the default budget.

    The medians of the distance in units of the real one's, of the largest deviation of a mode's
    weight in standard errors, and of the largest deviation of a mode's std from its own; with a
    density, the gap to the exact one in nats as well, exact and by Hutchinson's estimate.
    """
    ring, rows = toy("ring"), []
    assert ring.modes is not None
    data, test = fresh("ring", ring), ring.sample(500, Noise(6))
    for seed in seeds:
        system, state = trained(name, data, seed, **settings)

        def sample(
            count: int, noise: Noise, system: Any = system, params: Any = state.average
        ) -> Array:
            drawn: Array = system.sample(params, count, noise).astype(np.float64)
            return drawn

        modes = metrics.mode_statistics(sample(10_000, Noise(seed).at("modes")), *ring.modes)
        row = {
            "ring_distance": distance(sample, ring, Noise(seed).at("lines")),
            "ring_weights": float(np.max(np.abs(modes.deviation))),
            "ring_spread": float(np.max(np.abs(modes.spread - 1))),
        }
        if hasattr(system, "log_density"):
            params = tree.map(lambda a: a.astype(np.float64), state.average)
            truth = float(np.mean(ring.log_density(test)))
            exact = system.log_density(params, test, steps=40)
            guess = system.log_density(params, test, steps=40, noise=Noise(seed).at("signs"))
            row["ring_gap_nats"] = truth - float(np.mean(exact))
            row["ring_gap_nats_hutchinson"] = truth - float(np.mean(guess))
        rows.append(row)
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def both(name: str) -> Callable[[], Measured]:
    """Return the measurement of a system on digits and on the ring."""
    return lambda: image_figures(name) | toy_figures(name)


def accept_vp_sde() -> Measured:
    """Digits and the ring along VP; the same along sub-VP, digits from one seed."""
    other = image_figures("vp-sde", seeds=SEEDS[:1], via="sub-vp") | toy_figures(
        "vp-sde", via="sub-vp"
    )
    return both("vp-sde")() | {f"sub_vp_{key}": value for key, value in other.items()}


def pair_shares(system: Any, params: Any, seed: int) -> tuple[float, float]:
    """Return the share of the lesser mode by annealed and by plain Langevin, as many calls each."""
    place = Noise(seed).at("pair")
    samples = [
        system.sample(params, 5000, place.at(sampler), sampler=sampler)
        for sampler in ("annealed", "langevin")
    ]
    annealed, plain = (float(np.mean(x.sum(axis=1) < 0)) for x in samples)
    return annealed, plain


def accept_ncsn() -> Measured:
    """Digits and the ring; then the weights of two modes, 0.2 and 0.8, with and without levels."""
    found, shares, data = both("ncsn")(), [], fresh("pair", PAIR)
    for seed in SEEDS:
        system, state = trained("ncsn", data, seed, **WIDE)
        shares.append(pair_shares(system, state.average, seed))
    annealed, plain = (
        [abs(s - PAIR.weights[0]) for s in each] for each in zip(*shares, strict=True)
    )
    return found | {
        "pair_weight_error": float(max(annealed)),
        "pair_weight_error_plain": float(min(plain)),
        "pair_shares_annealed": [s[0] for s in shares],
        "pair_shares_plain": [s[1] for s in shares],
    }


MEASURE: dict[str, Callable[[], Measured]] = {
    "vp-sde": accept_vp_sde,
    "ve-sde": both("ve-sde"),
    "ncsn": accept_ncsn,
    "edm": both("edm"),
}
COMMON: Bars = {
    **DIGITS,
    "ring_distance": ("<=", 1.44),
    "ring_weights": ("<=", 3.0),
    "ring_spread": ("<=", 0.1),
}
BARS: dict[str, Bars] = {
    "vp-sde": COMMON,
    "ve-sde": COMMON,
    "ncsn": COMMON | {"pair_weight_error": ("<=", 0.05), "pair_weight_error_plain": (">=", 0.05)},
    "edm": COMMON,
}
