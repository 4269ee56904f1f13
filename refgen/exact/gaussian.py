r"""The Gaussian world, and the latent model whose posterior, evidence and bound are exact.

Shapes     N points, D coordinates, L latent coordinates.   x : (N, D)    z : (N, L)
           mean m : (D,)    cov C : (D, D)    weight W : (D, L)    bias β : (D,)    var v : a scalar
Sources    song2021-sde  (the noising);  tipping1999-ppca  (the latent model);
           kingma2014-vae  eq. 2-3 (the bound)

Gaussian. In the eigenbasis of C = U diag(λ) Uᵀ noising acts coordinate by coordinate.

    y = Uᵀ(x − a m),   s = a² λ + b²,   so that y ~ N(0, diag s)                      (GA.1)
    log p(x) = −½ Σ_d (y_d² / s_d + log 2π s_d)                                       (GA.2)
    ∇ log p(x) = −U (y / s)                                                           (GA.3)
    E[data | x] = m + a U (λ y / s)                                                   (GA.4)
    H = ½ Σ_d log 2πe λ_d                                                             (GA.5)
    KL[N₀ ‖ N₁] = ½ (tr C₁⁻¹C₀ − D + (m₀ − m₁)ᵀ C₁⁻¹ (m₀ − m₁) + log |C₁|/|C₀|)       (GA.6)

Linear-Gaussian latent model. A linear decoder is the one whose integral over z is known, and
log p(z) + log p(x | z) is quadratic in z: the completed square is the posterior.

    z ~ N(0, I),   x | z ~ N(W z + β, v I),   hence   x ~ N(β, W Wᵀ + v I)            (GA.7)
    z | x ~ N(V Wᵀ (x − β) / v, V),   V = (I + Wᵀ W / v)⁻¹                            (GA.8)

The bound of a Gaussian q = N(μ, Q) has no sampling in it: under q the squared residual is that
of the mean plus the spread that the decoder gives to Q.

    E_q |x − W z − β|² = |x − W μ − β|² + tr W Q Wᵀ                                   (GA.9)
    ELBO = −½ (E_q |x − W z − β|² / v + D log 2πv) − KL[q ‖ N(0, I)]                  (GA.10)
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from refgen.exact.world import Scale, World, check_points, column
from refgen.noise import Noise
from refgen.typing import Array

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class Gaussian(World):
    """N(mean, cov), mean : (D,), cov : (D, D) symmetric; it may be singular if b > 0 is used.

    Raises ValueError when cov is not (D, D), not symmetric, or has a negative eigenvalue.

    >>> unit = Gaussian(np.zeros(1), np.eye(1))
    >>> float(unit.data_mean(np.array([[2.0]]), 1.0, 1.0)[0, 0])  # half of x is noise
    1.0
    """

    mean: Array
    cov: Array

    def __post_init__(self) -> None:
        d = self.mean.size
        if self.mean.shape != (d,) or self.cov.shape != (d, d):
            raise ValueError(
                f"a Gaussian has mean (D,) and cov (D, D), not {self.mean.shape}, {self.cov.shape}"
            )
        if not np.allclose(self.cov, self.cov.T, rtol=1e-9, atol=0):
            raise ValueError("a covariance is symmetric: pass (cov + cov.T) / 2")
        lowest, highest = (float(f(self.spectrum[0])) for f in (np.min, np.max))
        if lowest < -1e-9 * max(highest, 1e-300):
            raise ValueError(f"a covariance has no negative eigenvalue, this one has {lowest:.3g}")

    @classmethod
    def fit(cls, data: Array) -> "Gaussian":
        """Return the Gaussian of highest likelihood for data : (N, D)."""
        centred = data - np.mean(data, axis=0)
        return cls(np.mean(data, axis=0), centred.T @ centred / len(data))

    @property
    def dim(self) -> int:
        """The number D of coordinates."""
        return int(self.mean.size)

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """The eigenvalues λ : (D,), 0 where within rounding of it, and the basis U : (D, D)."""
        eigenvalues, basis = np.linalg.eigh(self.cov)
        rounding = self.dim * np.finfo(np.float64).eps * np.max(np.abs(eigenvalues))
        return np.where(np.abs(eigenvalues) <= rounding, 0.0, eigenvalues), basis

    def sample(self, count: int, noise: Noise) -> Array:
        """Draw (count, D)."""
        eigenvalues, basis = self.spectrum
        draws = noise.normal((count, self.dim))
        points: Array = self.mean + (draws * np.sqrt(eigenvalues)) @ basis.T
        return points

    def log_density(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return log p(x), (N,), in nats. Raises ValueError where cov and noise are singular."""
        y, s = self._whitened(x, a, b)
        log_p: Array = -0.5 * np.sum(y * y / s + np.log(s) + LOG_2PI, axis=1)  # (GA.2)
        return log_p

    def score(self, x: Array, a: Scale = 1.0, b: Scale = 0.0) -> Array:
        """Return ∇ log p(x), (N, D). Raises ValueError where cov and noise are singular."""
        y, s = self._whitened(x, a, b)
        score: Array = -(y / s) @ self.spectrum[1].T  # (GA.3)
        return score

    def data_mean(self, x: Array, a: Scale, b: Scale) -> Array:
        """Return E[data | x], (N, D). Raises ValueError where cov and noise are singular."""
        y, s = self._whitened(x, a, b)
        eigenvalues, basis = self.spectrum
        mean: Array = self.mean + column(a) * ((eigenvalues * y / s) @ basis.T)  # (GA.4)
        return mean

    @cached_property
    def entropy(self) -> float:
        """The differential entropy, in nats; −inf when cov is singular."""
        with np.errstate(divide="ignore"):
            return float(0.5 * np.sum(1.0 + LOG_2PI + np.log(self.spectrum[0])))  # (GA.5)

    def kl(self, other: "Gaussian") -> float:
        """Return KL[self ‖ other], in nats; both covariances must be regular."""
        shift = self.mean - other.mean
        trace = np.trace(np.linalg.solve(other.cov, self.cov))
        distance = shift @ np.linalg.solve(other.cov, shift)
        log_ratio = np.linalg.slogdet(other.cov)[1] - np.linalg.slogdet(self.cov)[1]
        return float(0.5 * (trace - self.dim + distance + log_ratio))  # (GA.6)

    def _whitened(self, x: Array, a: Scale, b: Scale) -> tuple[Array, Array]:
        """Return y : (N, D) and s : (D,) or (N, D)."""
        check_points(x, self.dim)
        eigenvalues, basis = self.spectrum
        a, b = column(a), column(b)
        s = a * a * eigenvalues + b * b
        if not np.all(np.real(s) > 0):
            raise ValueError(
                f"a² cov + b² I is singular (cov has {int(np.sum(eigenvalues == 0))} eigenvalues "
                "equal to 0), so x has no density: use b > 0"
            )
        return (x - a * self.mean) @ basis, s  # (GA.1)


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(weight z + bias, var I): a VAE whose every quantity is known.

    Raises ValueError when weight is not (D, L) with bias (D,), or var is not positive.
    """

    weight: Array
    bias: Array
    var: float

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1] or not self.var > 0:
            raise ValueError(
                "a linear-Gaussian model has weight (D, L), bias (D,) and var > 0, not "
                f"{self.weight.shape}, {self.bias.shape} and {self.var}"
            )

    @cached_property
    def marginal(self) -> Gaussian:
        """The distribution of x: a Gaussian world, with everything that it answers."""
        cov = self.weight @ self.weight.T + self.var * np.eye(len(self.bias))
        return Gaussian(self.bias, cov)  # (GA.7)

    def sample(self, count: int, noise: Noise) -> tuple[Array, Array]:
        """Draw pairs: x (count, D) and the z (count, L) it came from."""
        z = noise.at("latent").normal((count, self.weight.shape[1]))
        spread = noise.at("data").normal((count, len(self.bias)))
        return z @ self.weight.T + self.bias + np.sqrt(self.var) * spread, z

    def log_density(self, x: Array) -> Array:
        """Return log p(x), (N,), in nats."""
        return self.marginal.log_density(x)

    def log_likelihood(self, x: Array, z: Array) -> Array:
        """Return log p(x | z), (N,), in nats."""
        return self._log_normal(np.sum((x - z @ self.weight.T - self.bias) ** 2, axis=1))

    def log_joint(self, x: Array, z: Array) -> Array:
        """Return log p(x, z), (N,), in nats."""
        log_prior = -0.5 * np.sum(z * z + LOG_2PI, axis=1)
        joint: Array = log_prior + self.log_likelihood(x, z)
        return joint

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return the mean (N, L) and the covariance (L, L), the same for every x, of z | x."""
        precision = np.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.var
        cov = np.linalg.inv(precision)
        return (x - self.bias) @ self.weight @ cov / self.var, cov  # (GA.8)

    def elbo(self, x: Array, mean: Array, cov: Array) -> Array:
        """Return the bound of q(z | x) = N(mean, cov), (N,), in nats.

        mean is (N, L); cov is (L, L), one for all, or (N, L, L).
        """
        spread = np.einsum("dl,...lm,dm->...", self.weight, cov, self.weight)
        residual = x - mean @ self.weight.T - self.bias
        expected = np.sum(residual * residual, axis=1) + spread  # (GA.9)
        trace = np.trace(cov, axis1=-2, axis2=-1)
        logdet = np.linalg.slogdet(cov)[1]
        kl = 0.5 * (np.sum(mean * mean, axis=1) + trace - mean.shape[1] - logdet)
        bound: Array = self._log_normal(expected) - kl  # (GA.10)
        return bound

    def _log_normal(self, square: Array) -> Array:
        """Return the log density of a residual in D coordinates, from its square."""
        d = len(self.bias)
        log_p: Array = -0.5 * (square / self.var + d * (LOG_2PI + np.log(self.var)))
        return log_p
