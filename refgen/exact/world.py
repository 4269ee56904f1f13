r"""What every exact world answers, and the identities that tie the answers together.

Shapes     N points, D coordinates, K centres.   x, data, noise, score : (N, D)
           a, b, da, db : scalars or (N,)    log_density : (N,), in nats
Sources    efron2011-tweedie  (EX.2, EX.3);  song2021-sde  eq. 13 and appendix D (the flow);
           lipman2023-flow-matching  theorem 1 (EX.4);  blanchard2021-logsumexp  section 4

A world is a distribution of data that is known in closed form, and so is all that a noising
process makes of it. The clock is left out: a process, in whichever direction its time runs, is
at one moment a signal level a and a noise level b, with rates of change da and db.

    x = a data + b noise,   noise ~ N(0, I),   p(x) the density of x                  (EX.1)

Differentiate p(x) = E N(x; a data, b² I) under the expectation and the score is an average of
−noise / b; take the expectation of (EX.1) given x and the average of the data follows.

    E[noise | x] = −b ∇ log p(x)                                                      (EX.2)
    a E[data | x] + b E[noise | x] = x                                                (EX.3)
    u(x) = E[da data + db noise | x] = da E[data | x] + db E[noise | x]               (EX.4)

The field u carries p along: ∂p/∂t = −div(p u), whether it is called the marginal field of flow
matching or the probability flow of a diffusion. Worlds compute the averages without dividing by
a or by a b of 0, so both ends of a process (a = 0, b = 0) are points like any other; only what has
no density at b = 0 (deltas, a singular Gaussian) asks for b > 0.

Sums of densities are taken in logarithms. The shift is chosen by real parts and cancels
identically, so the sum stays analytic and a complex step passes through it.

    log Σ exp z = m + log Σ exp(z − m),   m = max Re z                                (EX.5)
"""

from typing import Protocol, TypeAlias

import numpy as np

from refgen.noise import Noise
from refgen.typing import Array

Scale: TypeAlias = float | Array  # one signal or noise level for all points, or one each: (N,)


class World(Protocol):
    """A distribution of data, known exactly at every signal level a and noise level b (EX.1)."""

    @property
    def dim(self) -> int:
        """The number D of coordinates of a point."""
        ...

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw data: (count, D) float64. A shorter draw from the same place is its beginning."""
        ...

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats."""
        ...

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D)."""
        ...

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D): the optimal denoiser."""
        ...

    def noise_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[noise | x], (N, D): the optimal noise prediction."""
        mean: Array = -column(b) * self.score(x, a, b)  # (EX.2)
        return mean

    def velocity(self, x: Array, a: Scale, b: Scale, da: Scale, db: Scale) -> Array:
        """Return u(x), (N, D): the optimal flow-matching field, in units of data per unit time."""
        data_mean, noise_mean = self.data_mean(x, a, b), self.noise_mean(x, a, b)
        field: Array = column(da) * data_mean + column(db) * noise_mean  # (EX.4)
        return field


def noised(data: Array, noise: Array, a: Scale, b: Scale) -> Array:
    """Return the point x of each pair, (N, D)."""
    x: Array = column(a) * data + column(b) * noise  # (EX.1)
    return x


def data_from_noise(x: Array, noise_mean: Array, a: Scale, b: Scale) -> Array:
    """Return E[data | x] from E[noise | x], for a > 0."""
    data_mean: Array = (x - column(b) * noise_mean) / column(a)  # (EX.3)
    return data_mean


def column(scale: Scale) -> Array:
    """Return a level ready to multiply (N, D): a scalar as it is, (N,) as (N, 1)."""
    levels: Array = np.asarray(scale)
    return levels[:, None] if levels.ndim else levels


def logsumexp(z: Array) -> Array:
    """Return log Σ exp z over the last axis; analytic in z, and −inf where every z is −inf."""
    m = np.max(np.real(z), axis=-1)
    m = np.where(np.isfinite(m), m, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = m + np.log(np.sum(np.exp(z - m[..., None]), axis=-1))  # (EX.5)
    return total


def squared_distances(x: Array, centres: Array, a: Scale = 1.0) -> Array:
    """Return Σ_d (x_d − a centre_d)², (N, K), with no cancellation and no (N, K, D) array.

    It costs one pass over (N, K) for each coordinate; equal points are exactly 0 apart. No
    absolute value is taken, so a complex x or a keeps the sum analytic.
    """
    a = column(a)
    total = np.zeros((x.shape[0], centres.shape[0]), np.result_type(x, centres, a))
    for d in range(x.shape[1]):
        difference = x[:, d, None] - a * centres[:, d]
        difference *= difference
        total += difference
    return total


def check_points(x: Array, dim: int) -> None:
    """Raise ValueError unless x is (N, D)."""
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(
            f"points are rows of shape (N, {dim}), not {x.shape}: flatten images, "
            "and give a single point a first axis"
        )


def check_weights(weights: Array, count: int) -> None:
    """Raise ValueError unless the weights are count positive numbers that sum to 1."""
    sums_to_one = abs(float(np.sum(weights)) - 1.0) < 1e-9
    if weights.shape != (count,) or not np.all(weights > 0) or not sums_to_one:
        raise ValueError(
            f"mixture weights are {count} positive numbers that sum to 1, not {weights}: "
            "divide by the sum and drop the components of weight 0"
        )
