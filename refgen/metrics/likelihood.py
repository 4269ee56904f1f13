r"""Bits per dimension of images on levels, and three baselines that need no network.

Shapes     N images, D pixels, L levels.   images : (N, ...), as scaled when loaded
           levels : (N, D) int, 0 .. L − 1    log_p, nats : (N,)
Sources    theis2016-note  section 3.1 (uniform noise on levels);  nichol2021-improved (bits)

Data are an affine map of their levels, x = low + w k, k = 0 .. L − 1: `Bins` of the decoder's page
says which. A likelihood of images must not depend on it. A probability P of the levels does not; a
density of x does, by the map's Jacobian, w for each pixel:

    bits = −log₂ P / D                                                                  (LK.1)
    bits = −log₂ p(x + w (u − ½)) / D − log₂ w,   u uniform, which bounds those of P     (LK.2)

Who knows only how often each pixel has each level pays the pixels' own entropies. With `more`
added to every count no level is impossible:

    P(k) = Π_d (n_d(k_d) + more) / (N + L more)                                         (LK.3)

Gaussians are fitted to the dequantised data, whose covariance is that of the data and the noise's:

    C = C_data + w²/12,   one for all, or one for each class c with the share π_c        (LK.4)
    log p(x) = log Σ_c π_c p_c(x)                                                       (LK.5)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refgen.data import Dataset
from refgen.exact.gaussian import Gaussian
from refgen.exact.world import logsumexp
from refgen.noise import Noise
from refgen.objectives.discretized import Bins, bits_per_dimension
from refgen.typing import Array


class Bits(NamedTuple):
    """A mean over images, in bits per dimension."""

    mean: float
    standard_error: float


def bits_of(nats: Array, dimensions: int, *, width: float = 1.0) -> Bits:
    """Return the bits per dimension of images from their −log P, or −log p and a level's width.

    >>> bits_of(np.array([64 * np.log(2.0), 3 * 64 * np.log(2.0)]), 64)
    Bits(mean=2.0, standard_error=1.0)
    """
    each = bits_per_dimension(np.asarray(nats, np.float64), dimensions, width=width)  # (LK.1)
    error = float(np.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return Bits(float(np.mean(each)), error)


def density_bits(
    log_density: Callable[[Array], Array], images: Array, bins: Bins, noise: Noise
) -> Bits:
    """Return the bits of a density of (N, D) under uniform noise. Raises ValueError off levels."""
    bins.refuse(images)
    x = _rows(images)
    x = x + bins.width * (noise.uniform(x.shape) - 0.5)
    return bits_of(-log_density(x), x.shape[1], width=bins.width)  # (LK.2)


def histogram_bits(train: Array, images: Array, bins: Bins, *, more: float = 1.0) -> Bits:
    """Return the bits of pixels that are independent, each with its own histogram of the levels.

    Without `more` a level that was never seen costs infinitely many. Raises ValueError off levels.
    """
    seen, asked = _levels(train, bins), _levels(images, bins)
    counts = np.stack([np.sum(seen == k, axis=0) for k in range(bins.count)]) + more  # (L, D)
    with np.errstate(divide="ignore"):
        log_p = np.log(counts / np.sum(counts, axis=0))  # (LK.3)
    return bits_of(-np.sum(np.take_along_axis(log_p, asked, 0), axis=1), asked.shape[1])


def gaussian_bits(train: Array, images: Array, bins: Bins, noise: Noise) -> Bits:
    """Return the bits of a Gaussian with full covariance. Raises ValueError off levels."""
    return density_bits(dequantised_gaussian(train, bins).log_density, images, bins, noise)


def mixture_bits(train: Array, labels: Array, images: Array, bins: Bins, noise: Noise) -> Bits:
    """Return the bits of a Gaussian for each class. Raises ValueError off levels."""
    parts = [(np.mean(labels == c), train[labels == c]) for c in np.unique(labels)]
    worlds = [(math.log(share), dequantised_gaussian(data, bins)) for share, data in parts]

    def log_density(x: Array) -> Array:
        each = [log_share + world.log_density(x) for log_share, world in worlds]
        return logsumexp(np.stack(each, axis=1))  # (LK.5)

    return density_bits(log_density, images, bins, noise)


def dequantised_gaussian(data: Array, bins: Bins) -> Gaussian:
    """Return the Gaussian that fits data (N, ...) on levels, uniform noise added."""
    found = Gaussian.fit(_rows(data))
    return Gaussian(found.mean, found.cov + bins.width**2 / 12 * np.eye(found.dim))  # (LK.4)


def baseline_bits(dataset: Dataset, bins: Bins, noise: Noise, count: int = 500) -> dict[str, Bits]:
    """Return what held-out images cost who has no network, a row each.

    The mixture has a Gaussian for each class, where there are labels. Raises ValueError for data
    off the levels.
    """
    train, held_out = dataset.split()
    images = held_out.data[:count]
    rows = {"gaussian": gaussian_bits(train.data, images, bins, noise)}
    if train.labels is not None:
        rows["class gaussians"] = mixture_bits(train.data, train.labels, images, bins, noise)
    return rows | {"pixel histogram": histogram_bits(train.data, images, bins)}


def _rows(images: Array) -> Array:
    rows: Array = np.reshape(images, (len(images), -1)).astype(np.float64)
    return rows


def _levels(images: Array, bins: Bins) -> Array:
    bins.refuse(images)
    levels: Array = np.round((_rows(images) - bins.low) / bins.width).astype(np.int64)
    return levels
