r"""How a set of samples lies among real points: precision, recall, copying, and two-sample tests.

Shapes     samples : (N, ...)    real, held_out, train : (M, ...), the same trailing axes
           after features, or flattening where none are given: (N, F), (M, F)
Sources    kynkaanniemi2019-precision-recall  eq. 1-2 (MI.1, MI.2);  lopezpaz2017-c2st  (MI.4);
           meehan2020-data-copying  (the question behind MI.3);  heusel2017-ttur  eq. 6

Write r_k(y; Y) for the distance of y to its k-th nearest neighbour among the others of Y. A set
covers a point that lies within r_k of one of its members.

    precision = share of samples s with |s − y| ≤ r_k(y; real) for some y in real    (MI.1)
    recall = the same with samples and real exchanged                                (MI.2)

In one dimension a point of the same distribution is covered with probability 1 − 4⁻ᵏ, and no
set of finite size reaches 1: read these beside the row of real images.

A generator that copies has small distances to its training set; so has one that is merely good
at being typical. The held-out set says how near a new real point is.

    copy ratio = median_s min_t |s − t| / median_h min_t |h − t|,   t in train       (MI.3)

Copies give 0, new real points about 1. Let each point of the union of both sets name the set
of its nearest neighbour; a tie counts half.

    accuracy = share of points whose nearest neighbour is of their own set           (MI.4)

It is ½ for two draws of one distribution, 1 for sets that keep apart, 0 for copies. Last, a
Gaussian is fitted to each set and the two are compared:

    |m₁ − m₂|² + tr C₁ + tr C₂ − 2 tr S^½,   S = C₁^½ C₂ C₁^½                        (MI.5)
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from refgen.exact.world import squared_distances
from refgen.typing import Array

Features: TypeAlias = Callable[[Array], Array]  # (N, ...) -> (N, F)
ROWS = 256  # samples at a time where the other side is a whole training set


class PrecisionRecall(NamedTuple):
    """Shares in 0 .. 1."""

    precision: float  # of the samples, how many lie where real points are
    recall: float  # of the real points, how many lie where samples are


def knn_precision_recall(
    samples: Array, real: Array, k: int = 3, features: Features | None = None
) -> PrecisionRecall:
    """Return precision and recall by k-nearest-neighbour balls.

    Use sets of equal size: both shares grow with the size of the set that covers. Raises
    ValueError when a set has no k-th neighbour.

    >>> line = np.arange(8.0)[:, None]
    >>> knn_precision_recall(line[:4], line, k=1)  # half of the line: all good, half missing
    PrecisionRecall(precision=1.0, recall=0.625)
    """
    x, y = flat(samples, features), flat(real, features)
    if min(len(x), len(y)) <= k:
        raise ValueError(f"k = {k} neighbours need more than {k} points, not {len(x)}, {len(y)}")
    between = squared_distances(x, y)  # (N, M)
    covered = between <= _radii(y, k)[None, :]
    covering = between <= _radii(x, k)[:, None]
    precision = float(np.mean(np.any(covered, axis=1)))  # (MI.1)
    recall = float(np.mean(np.any(covering, axis=0)))  # (MI.2)
    return PrecisionRecall(precision, recall)


def copy_ratio(
    samples: Array, held_out: Array, train: Array, features: Features | None = None
) -> float:
    """Return the median distance to the training set, relative to that of held-out points.

    0 means copies, about 1 means as far from the training set as new real points are. Raises
    ValueError when the held-out points are themselves copies of the training set.
    """
    t = flat(train, features)
    of_samples = np.median(nearest_distance(flat(samples, features), t))
    of_held_out = np.median(nearest_distance(flat(held_out, features), t))
    if of_held_out == 0:
        raise ValueError("most held-out points are in the training set: split them apart")
    return float(of_samples / of_held_out)  # (MI.3)


def one_nn_accuracy(samples: Array, real: Array, features: Features | None = None) -> float:
    """Return the leave-one-out accuracy of the 1-NN two-sample test: ½ is best.

    Raises ValueError when the sets differ in size, because then ½ is not the level of chance.
    """
    x, y = flat(samples, features), flat(real, features)
    if len(x) != len(y):
        raise ValueError(f"the 1-NN test compares equal sets, not {len(x)} and {len(y)} points")
    between = squared_distances(x, y)
    votes = []
    for own, other in ((_radii(x, 1), between.min(axis=1)), (_radii(y, 1), between.min(axis=0))):
        votes.append(np.mean((own < other) + 0.5 * (own == other)))
    return float(np.mean(votes))  # (MI.4)


def frechet_distance(samples: Array, real: Array, features: Features | None = None) -> float:
    """Return the squared Fréchet distance of the two fitted Gaussians, in squared feature units."""
    x, y = flat(samples, features), flat(real, features)
    shift = np.mean(x, axis=0) - np.mean(y, axis=0)
    c1, c2 = _covariance(x), _covariance(y)
    values, basis = np.linalg.eigh(c1)
    root = (basis * np.sqrt(np.maximum(values, 0.0))) @ basis.T
    product = root @ c2 @ root
    overlap = np.sum(np.sqrt(np.maximum(np.linalg.eigvalsh(0.5 * (product + product.T)), 0.0)))
    return float(shift @ shift + np.trace(c1) + np.trace(c2) - 2 * overlap)  # (MI.5)


def nearest_distance(x: Array, y: Array) -> Array:
    """Return the distance of each row of x : (N, F) to the nearest row of y : (M, F); copies are 0.

    The nearest row is found by matrix products, its distance is then taken exactly.
    """
    centre = np.mean(y, axis=0)
    moved, half_square = y - centre, 0.5 * np.sum((y - centre) ** 2, axis=1)
    distances = []
    for start in range(0, len(x), ROWS):
        here = x[start : start + ROWS]
        nearest = np.argmin(half_square - (here - centre) @ moved.T, axis=1)
        distances.append(np.linalg.norm(here - y[nearest], axis=1))
    return np.concatenate(distances)


def flat(points: Array, features: Features | None = None) -> Array:
    """Return the features of points, or the points themselves, as float64 rows (N, F)."""
    rows = points if features is None else features(points)
    return np.reshape(rows, (len(rows), -1)).astype(np.float64)


def _radii(points: Array, k: int) -> Array:
    """Return the squared distance of each point to its k-th nearest neighbour, (N,)."""
    square = squared_distances(points, points)
    np.fill_diagonal(square, np.inf)
    radii: Array = np.partition(square, k - 1, axis=1)[:, k - 1]
    return radii


def _covariance(points: Array) -> Array:
    centred = points - np.mean(points, axis=0)
    cov: Array = centred.T @ centred / (len(points) - 1)
    return cov
