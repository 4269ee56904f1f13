r"""How far a trained noise prediction is from the best one that can exist.

Shapes     N pairs, D coordinates, T steps.   x, data, noise : (N, D)    t : (N,) int64
           signal, level : (T + 1,), index 0 the data end
Sources    ho2020-ddpm  (the loss);  song2021-sde  (its minimiser)

With x = a_t data + b_t noise the expected loss of any prediction splits in two. No training
removes the second part, and only an exact world tells the parts from each other.

    E|n̂ − noise|² = E|n̂ − E[noise | x]|² + E|noise − E[noise | x]|²                  (MB.1)
    distance = E|n̂ − E[noise | x]|² / E|noise − E[noise | x]|²                       (MB.2)

t is uniform on 1 .. T; every other parametrization is converted to noise before it is judged.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refgen.exact.world import World, noised
from refgen.noise import Noise
from refgen.typing import Array

DECILES = 10
BATCH = 10_000


class BayesDistance(NamedTuple):
    """Means over t and over pairs; squares are summed over the coordinates."""

    ratio: float  # excess / floor: 0 is the optimum
    excess: float  # E|n̂ − E[noise | x]|²
    floor: float  # E|noise − E[noise | x]|²
    deciles: list[dict[str, float]]  # t_first, t_last, excess, floor, ratio


def bayes_distance(
    predict_noise: Callable[[Array, Array], Array],
    world: World,
    signal: Array,
    level: Array,
    noise: Noise,
    pairs: int = 100_000,
) -> BayesDistance:
    """Return the distance of predict_noise(x, t) from the Bayes optimum of a world.

    signal and level hold a_t and b_t for t = 0 .. T; t is handed over as indices 1 .. T. Raises
    ValueError when T < 10, since there are deciles to fill.
    """
    steps = len(signal) - 1
    if len(level) != steps + 1 or steps < DECILES:
        raise ValueError(
            f"signal and level are schedules of one length T + 1 > {DECILES}, not "
            f"{len(signal)} and {len(level)}"
        )
    count, excess, floor = np.zeros(DECILES), np.zeros(DECILES), np.zeros(DECILES)
    for start in range(0, pairs, BATCH):
        size, at = min(BATCH, pairs - start), noise.at("batch", start // BATCH)
        t = 1 + at.at("t").integers(steps, size)
        data = world.sample(size, at.at("data"))
        draw = at.at("noise").normal(data.shape)
        x = noised(data, draw, signal[t], level[t])
        best = world.noise_mean(x, signal[t], level[t])
        gap, residual = predict_noise(x, t) - best, draw - best  # (MB.1)
        decile = (t - 1) * DECILES // steps
        count += np.bincount(decile, minlength=DECILES)
        excess += np.bincount(decile, np.sum(gap * gap, axis=1), DECILES)
        floor += np.bincount(decile, np.sum(residual * residual, axis=1), DECILES)
    rows = []
    for i in range(DECILES):
        first, last = (-(-j * steps // DECILES) for j in (i, i + 1))
        n = max(float(count[i]), 1.0)
        mean_excess, mean_floor = float(excess[i]) / n, float(floor[i]) / n
        row = {"t_first": first + 1, "t_last": last, "excess": mean_excess, "floor": mean_floor}
        rows.append(row | {"ratio": _ratio(mean_excess, mean_floor)})
    mean_excess, mean_floor = float(np.sum(excess)) / pairs, float(np.sum(floor)) / pairs
    return BayesDistance(_ratio(mean_excess, mean_floor), mean_excess, mean_floor, rows)


def _ratio(excess: float, floor: float) -> float:
    if floor > 0:
        return excess / floor  # (MB.2)
    return np.inf if excess > 0 else 0.0
