r"""How samples of a toy compare with the toy: transport distance along lines, and its modes.

Shapes     N points, D coordinates, K modes, L directions.   x, y, samples : (N, D)
           means : (K, D)    weights, std, share, deviation, spread : (K,)
Sources    bonneel2015-sliced-wasserstein  section 2

Along a line optimal transport is sorting. Average its squared cost over directions θ uniform on
the sphere; x_(i) is the i-th smallest.

    SW² = E_θ (1/N) Σ_i ((θ·x)_(i) − (θ·y)_(i))²                                     (MP.1)

A shift by δ costs |δ|²/D. Two draws of one distribution are apart too, by about 1/N, so the bar
of a model is a ratio, with every mean taken over draws of samples and directions.

    ratio = mean SW²(model, real) / mean SW²(real, other real)                       (MP.2)

Modes. A sample belongs to the mode whose mean is nearest in units of that mode's std. With n_k
samples of N in mode k, due is N w_k, and binomial scatter is the unit.

    share_k = n_k / N,   deviation_k = (share_k − w_k) / √(w_k (1 − w_k) / N)        (MP.3)
    spread_k = √(mean square of a coordinate about the mode's own centre) / std_k    (MP.4)
    covered: within 3 std_k of mean k lie at least N w_k / 3 samples                 (MP.5)

The protocol for a toy with modes: 20 sets of 10,000 samples. A set has a largest deviation and a
largest error of a spread; the medians over the sets decide, since of 8 modes of a perfect set one
is off by 3 standard errors once in fifty sets.

    passes:  ratio ≤ 1.44,   max_k |deviation_k| ≤ 3,   max_k |spread_k − 1| ≤ 0.1   (MP.6)
"""

import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from refgen.exact.world import World, squared_distances
from refgen.noise import Noise
from refgen.typing import Array


def sliced_wasserstein(x: Array, y: Array, noise: Noise, directions: int = 128) -> float:
    """Return the squared sliced Wasserstein-2 distance of two sets of equal size.

    In squared units of the points; images are flattened. Raises ValueError for unequal sets.
    """
    x, y = (np.reshape(p, (len(p), -1)) for p in (x, y))
    if x.shape != y.shape:
        raise ValueError(
            f"sliced Wasserstein sorts two sets of one shape, not {x.shape}, {y.shape}"
        )
    theta = noise.at("direction").normal((directions, x.shape[1]))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    gaps = np.sort(x @ theta.T, axis=0) - np.sort(y @ theta.T, axis=0)
    return float(np.mean(gaps * gaps))  # (MP.1)


def sliced_ratio(
    sample: Callable[[int, Noise], Array],
    world: World,
    noise: Noise,
    count: int = 10_000,
    draws: int = 20,
) -> float:
    """Return how much farther a model is from a toy than the toy is from itself: 1 is perfect.

    sample(count, noise) draws from the model.
    """
    model, real = 0.0, 0.0
    for _, of_model, of_real in _compared(sample, world, noise, count, draws):
        model, real = model + of_model, real + of_real
    return model / real  # (MP.2)


class ModeStatistics(NamedTuple):
    """What became of each mode."""

    share: Array  # (K,) of all samples, by nearest mode
    deviation: Array  # (K,) share minus weight, in standard errors
    spread: Array  # (K,) within-mode std over the true one; nan where fewer than two samples are
    covered: int  # modes that hold at least a third of their due within 3 std
    outside: float  # share of samples farther than 3 std from every mean


def mode_statistics(
    samples: Array, means: Array, weights: Array, std: Array | float
) -> ModeStatistics:
    """Return share, spread and coverage of the modes of a mixture; std is (K,) or one number.

    Of a perfect sample in 2-D the share outside is exp(−9/2) = 1.1 %.
    """
    count, modes = len(samples), len(means)
    radius = np.sqrt(squared_distances(samples, means)) / std  # (N, K)
    nearest = np.argmin(radius, axis=1)
    share = np.bincount(nearest, minlength=modes) / count
    deviation = (share - weights) / np.sqrt(weights * (1 - weights) / count)  # (MP.3)
    spread = np.full(modes, np.nan)
    for k in range(modes):
        own = samples[nearest == k]
        if len(own) > 1:
            variance = np.sum((own - np.mean(own, axis=0)) ** 2) / (len(own) - 1) / own.shape[1]
            spread[k] = np.sqrt(variance)
    within = np.sum(radius <= 3.0, axis=0)
    covered = int(np.sum(within >= count * weights / 3))  # (MP.5)
    outside = float(np.mean(np.all(radius > 3.0, axis=1)))
    return ModeStatistics(share, deviation, spread / std, covered, outside)  # (MP.4)


class ToyVerdict(NamedTuple):
    """How a model did under the protocol."""

    ratio: float  # of sliced Wasserstein distances
    deviation: float  # the largest of a mode's share, in standard errors, median over the sets
    spread: float  # the largest error of a mode's std, as a share of it, median over the sets

    @property
    def passes(self) -> bool:
        """Whether every figure is within its bar; a mode without samples has no spread."""
        return self.ratio <= 1.44 and self.deviation <= 3 and self.spread <= 0.1  # (MP.6)


def toy_protocol(
    sample: Callable[[int, Noise], Array],
    world: World,
    modes: tuple[Array, Array, Array],
    noise: Noise,
    count: int = 10_000,
    draws: int = 20,
) -> ToyVerdict:
    """Judge a model on a toy with modes: means (K, D), weights (K,) and std (K,).

    sample(count, noise) draws from the model.
    """
    model, real, deviations, spreads = 0.0, 0.0, list[float](), list[float]()
    for samples, of_model, of_real in _compared(sample, world, noise, count, draws):
        model, real = model + of_model, real + of_real
        found = mode_statistics(samples, *modes)
        deviations.append(float(np.max(np.abs(found.deviation))))
        spread = float(np.max(np.abs(found.spread - 1)))
        spreads.append(spread if np.isfinite(spread) else np.inf)
    return ToyVerdict(model / real, statistics.median(deviations), statistics.median(spreads))


def _compared(
    sample: Callable[[int, Noise], Array], world: World, noise: Noise, count: int, draws: int
) -> Iterator[tuple[Array, float, float]]:
    """Yield sets of samples, their distances from real sets, and those of other real sets."""
    for i in range(draws):
        at = noise.at("draw", i)
        reference = world.sample(count, at.at("reference"))
        samples = sample(count, at.at("model"))
        of_real = sliced_wasserstein(world.sample(count, at.at("real")), reference, at)
        yield samples, sliced_wasserstein(samples, reference, at), of_real
