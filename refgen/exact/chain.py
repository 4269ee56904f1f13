r"""A scalar diffusion with linear reverse kernels: its evidence and its bound, term by term.

Shapes     N starting points.   x0 : (N,)    arrays over time : (T + 1,), indexed by t
           slope, offset, var : index t is the kernel from t to t − 1; index 0 is not used
Sources    sohl2015-diffusion  (the bound);  ho2020-ddpm  eq. 5-7 (its terms)

Time runs from data, t = 0, to noise, t = T. Forward the chain is a schedule of refgen.processes,
backward it is any linear model, good or bad, that starts from N(0, 1).

    q(x_t | x_{t−1}) = N(√α_t x_{t−1}, β_t),   p(x_{t−1} | x_t) = N(k_t x_t + c_t, s_t)  (CH.1)

Given x_0 all of x_1 .. x_T is jointly Gaussian under q; only neighbours are needed.

    μ_t = √ᾱ_t x_0,   V_t = 1 − ᾱ_t,   Cov(x_{t−1}, x_t) = √α_t V_{t−1}               (CH.2)

Evidence: run p backward, from mean 0 and variance 1 at T.

    m_{t−1} = k_t m_t + c_t,   v_{t−1} = k_t² v_t + s_t,   p(x_0) = N(m_0, v_0)       (CH.3)

Bound, from its definition E_q log [p(x_{0:T}) / q(x_{1:T} | x_0)]. Each step of q contributes
E_q log q(x_t | x_{t−1}) = −½ log 2πe β_t, each step of p is a Gaussian's log density with

    E_q (x_{t−1} − k_t x_t − c_t)²
        = (μ_{t−1} − k_t μ_t − c_t)² + V_{t−1} + k_t² V_t − 2 k_t √α_t V_{t−1}        (CH.4)

and once more as three kinds of terms, from the posterior q(x_{t−1} | x_t, x_0), which is
N(A_t x_t + B_t x_0, β̃_t): A_t = √α_t V_{t−1} / V_t, B_t = √ᾱ_{t−1} β_t / V_t.          (CH.5)

    L_T = KL[q(x_T | x_0) ‖ N(0, 1)] = ½ (V_T + μ_T² − 1 − log V_T)                   (CH.6)
    L_{t−1} = ½ (β̃_t/s_t − 1 − log β̃_t/s_t + E_q (A_t x_t + B_t x_0 − k_t x_t − c_t)²/s_t) (CH.7)
    L_0 = −E_q log p(x_0 | x_1),   −ELBO = L_T + Σ_{t ≥ 2} L_{t−1} + L_0              (CH.8)

Data N(m, v) have x_t ~ N(√ᾱ_t m, M_t), M_t = ᾱ_t v + 1 − ᾱ_t; Bayes' rule gives their reverse,

    k_t = √α_t M_{t−1} / M_t,   c_t = m (√ᾱ_{t−1} − k_t √ᾱ_t),   s_t = β_t M_{t−1} / M_t   (CH.9)
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refgen.processes.schedule import Schedule
from refgen.typing import Array

LOG_2PI = float(np.log(2 * np.pi))


class BoundTerms(NamedTuple):
    """The negative bound in its three kinds of terms, in nats."""

    prior: Array  # (N,)  L_T
    transitions: Array  # (N, T − 1)  L_{t−1} for t = 2 .. T
    reconstruction: Array  # (N,)  L_0

    @property
    def elbo(self) -> Array:
        """The bound: minus the sum, (N,)."""
        total: Array = -(self.prior + np.sum(self.transitions, axis=1) + self.reconstruction)
        return total  # (CH.8)


@dataclass(frozen=True, eq=False)
class LinearGaussianChain:
    """Reverse kernels p(x_{t−1} | x_t) = N(slope[t] x_t + offset[t], var[t]) for a schedule.

    Raises ValueError when an array is not (T + 1,) or a variance of t ≥ 1 is not positive.
    """

    schedule: Schedule
    slope: Array
    offset: Array
    var: Array

    def __post_init__(self) -> None:
        shape = self.schedule.beta.shape
        shapes = [a.shape for a in (self.slope, self.offset, self.var)]
        if any(s != shape for s in shapes) or not np.all(self.var[1:] > 0):
            raise ValueError(
                f"slope, offset and var are {shape} like the schedule, with var[1:] > 0, "
                f"not {shapes}: give the unused index 0 any value"
            )

    @classmethod
    def reverse(cls, schedule: Schedule, mean: float, var: float) -> "LinearGaussianChain":
        """Return the chain with the true reverse kernels of data N(mean, var)."""
        signal, marginal = np.sqrt(schedule.alpha_bar), schedule.alpha_bar * (var - 1) + 1
        slope, offset, spread = (np.zeros_like(marginal) for _ in range(3))
        slope[1:] = np.sqrt(schedule.alpha[1:]) * marginal[:-1] / marginal[1:]
        offset[1:] = mean * (signal[:-1] - slope[1:] * signal[1:])
        spread[1:] = schedule.beta[1:] * marginal[:-1] / marginal[1:]  # (CH.9)
        return cls(schedule, slope, offset, spread)

    def log_density(self, x0: Array) -> Array:
        """Return the exact log p(x0) of the model, (N,), in nats."""
        m, v = 0.0, 1.0
        for t in range(len(self.var) - 1, 0, -1):
            m, v = self.slope[t] * m + self.offset[t], self.slope[t] ** 2 * v + self.var[t]
        log_p: Array = -0.5 * ((x0 - m) ** 2 / v + LOG_2PI + np.log(v))  # (CH.3)
        return log_p

    def moments(self, x0: Array) -> tuple[Array, Array]:
        """Return mean (N, T + 1) and covariance (T + 1, T + 1) of x_0 .. x_T under q given x0."""
        signal = np.sqrt(self.schedule.alpha_bar)
        spread = (1 - self.schedule.alpha_bar) / signal
        t = np.arange(len(signal))
        earlier, later = np.minimum(t[:, None], t), np.maximum(t[:, None], t)
        return np.outer(x0, signal), spread[earlier] * signal[later]  # (CH.1), (CH.2)

    def elbo(self, x0: Array) -> Array:
        """Return the bound from its definition, (N,), in nats."""
        mean, cov = self.moments(x0)
        log_p = -0.5 * (mean[:, -1] ** 2 + cov[-1, -1] + LOG_2PI)
        log_p = log_p + np.sum(self._log_kernels(mean, cov), axis=1)
        log_q = -0.5 * np.sum(1 + LOG_2PI + np.log(self.schedule.beta[1:]))
        bound: Array = log_p - log_q
        return bound

    def terms(self, x0: Array) -> BoundTerms:
        """Return the terms of the negative bound, each computed as a divergence."""
        mean, cov = self.moments(x0)
        alpha, alpha_bar, beta = self.schedule.alpha, self.schedule.alpha_bar, self.schedule.beta
        v = 1 - alpha_bar
        prior = 0.5 * (v[-1] + mean[:, -1] ** 2 - 1 - np.log(v[-1]))  # (CH.6)
        now, before = slice(2, None), slice(1, -1)
        of_xt = np.sqrt(alpha[now]) * v[before] / v[now]
        of_x0 = np.sqrt(alpha_bar[before]) * beta[now] / v[now]  # (CH.5)
        gap = of_xt - self.slope[now]
        square = (gap * mean[:, now] + np.outer(x0, of_x0) - self.offset[now]) ** 2
        square = square + gap * gap * v[now]
        ratio = self.schedule.posterior_var[now] / self.var[now]
        transitions = 0.5 * (ratio - 1 - np.log(ratio) + square / self.var[now])  # (CH.7)
        return BoundTerms(prior, transitions, -self._log_kernels(mean, cov)[:, 0])

    def _log_kernels(self, mean: Array, cov: Array) -> Array:
        """Return E_q log p(x_{t−1} | x_t), (N, T) for t = 1 .. T."""
        k, c, s = self.slope[1:], self.offset[1:], self.var[1:]
        v = np.diag(cov)
        square = (mean[:, :-1] - k * mean[:, 1:] - c) ** 2
        square = square + v[:-1] + k * k * v[1:] - 2 * k * np.diag(cov, 1)  # (CH.4)
        log_p: Array = -0.5 * (square / s + LOG_2PI + np.log(s))
        return log_p
