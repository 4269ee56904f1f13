r"""The probability flow: the noise of a diffusion traded for a velocity, and its likelihood.

Shapes     x, noise_hat : (N, *S)    log_density : (N,), in nats    times : a list of floats
Lectures   4 (marginal vector fields), 1 (VP-SDE and VE-SDE, by name)
Sources    song2021-sde  eq. 13 and appendix D;  maoutsa2020-flow  (the same flow)

On a path x_t = a data + b noise each pair of data and noise moves with a' data + b' noise. At one x
many pairs meet. Of their velocities the mean given x is enough to carry the density of all: for any
function h, d/dt E h(x_t) = E ∇h(x_t) · (a' data + b' noise), whose factor ∇h is one for all pairs
at one x. The network names the mean noise ε̂ given x, the data are (x − b ε̂) / a in the mean, and

    v(x, t) = a' (x − b ε̂)/a + b' ε̂ = f x + (b' − f b) ε̂(x, t),   f = a'/a               (PF.1)

With g² = 2 b (b' − f b) and ε̂ = −b ∇log p this is the paper's f x − ½ g² ∇log p. It draws nothing:
one x at t = 1 is one x at t = 0, and back, so data have a code and a density. Followed from the
data to the noise, with the integral of the divergence (OD.3),

    log p(x_0) = log N(x_1; 0, b(1)²) + ∫₀¹ div v dt                                      (PF.2)

which takes the signal left at t = 1 for nothing, as sampling from N(0, b(1)²) does. With D entries
in x

    div v = f D + (b' − f b) div ε̂                                                        (PF.3)

At a = 0 f is infinite, as b' is on some paths at b = 0: there is no step from such a time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes.path import Path
from refgen.samplers.ode import solve, solve_with_density
from refgen.typing import Array

Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x
Pullback = Callable[[Array, float], tuple[Array, Callable[[Array], Array]]]


@dataclass(frozen=True)
class ProbabilityFlow:
    """The velocity of a path, given what names the noise in x.

    predict_noise(x, t) returns ε̂; pullback(x, t), which only a density needs, returns
    ε̂ and e ↦ (∂ε̂/∂x)ᵀ e.
    """

    path: Path
    predict_noise: Predict
    noise_pullback: Pullback | None = None

    def rates(self, t: float) -> tuple[float, float]:
        """Return what x and ε̂ are multiplied by: f and b' − f b.

        Raises ValueError where they are infinite.
        """
        a, b, da, db = (float(level) for level in self.path.levels(t))
        if a <= 0 or not math.isfinite(da) or not math.isfinite(db):
            raise ValueError(
                f"at t = {t} the signal is {a:g}, the noise {b:g}, and the flow has no finite "
                "velocity: walk where both are above 0"
            )
        f = da / a
        return f, db - f * b  # (PF.1)

    def __call__(self, x: Array, t: float) -> Array:
        """Return v(x, t)."""
        of_x, of_noise = self.rates(t)
        return of_x * x + of_noise * self.predict_noise(x, t)

    def pullback(self, x: Array, t: float) -> tuple[Array, Callable[[Array], Array]]:
        """Return v and e ↦ Jᵀ e. Raises ValueError where the noise cannot be differentiated."""
        if self.noise_pullback is None:
            raise ValueError("a density needs the derivative of the noise: give noise_pullback")
        of_x, of_noise = self.rates(t)
        noise_hat, pull = self.noise_pullback(x, t)

        def back(e: Array) -> Array:
            return of_x * e + of_noise * pull(e)  # (PF.3), before the trace is taken

        return of_x * x + of_noise * noise_hat, back


def sample_probability_flow(
    predict_noise: Predict,
    x: Array,
    path: Path,
    *,
    times: Sequence[float],
    rule: str = "heun",
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, b²) at the first time; times fall to a last one above 0.

    The number of network calls is that of the rule, one, two or four, for each step. The rates of
    some paths are infinite at t = 0, so the list ends shortly before; noise of b(end) is left.
    Rising times lead from data to noise. Raises ValueError as solve does, and for a time that a
    rule asks at and where the rates are infinite.
    """
    return solve(ProbabilityFlow(path, predict_noise), x, times, rule=rule, ops=ops)


def log_density(
    flow: ProbabilityFlow,
    x: Array,
    *,
    times: Sequence[float],
    rule: str = "rk4",
    noise: Noise | None = None,
    ops: Ops = reference,
) -> Array:
    """Return log p of each example in nats, (N,); times rise from near 0 to 1.

    With a noise the divergence is Hutchinson's estimate, else exact (ode.py). Raises ValueError as
    sample_probability_flow does, and for a flow without noise_pullback.
    """
    code, divergence = solve_with_density(flow, x, times, rule=rule, noise=noise, ops=ops)
    flat, b = np.reshape(code, (code.shape[0], -1)), float(flow.path.levels(times[-1]).b)
    prior = -0.5 * np.sum(flat * flat, axis=1) / b**2
    constant = flat.shape[1] * math.log(b * math.sqrt(2 * math.pi))
    log_p: Array = prior - constant + divergence  # (PF.2)
    return log_p
