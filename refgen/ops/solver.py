r"""One step of a solver: along a velocity, or up a score with noise.

Shapes     N batch, S any axes.   x, velocity, velocity_next, score, noise, gradients : (N, *S)
           dt, τ : floats, dt and step; dt is negative where time runs backwards
Sources    hairer1993-ode  section II.1 (rules of order 2);  karras2022-edm  algorithm 1 (Heun);
           roberts1996-langevin  (what a finite τ does)

A flow dx/dt = v(x, t) is followed by straight lines. Euler's has the slope where it starts:

    x' = x + dt v(x, t)                                           (SO.1)

Heun's has the mean of the slopes at both ends, the far end being where Euler's line leads:

    x' = x + ½ dt v(x, t) + ½ dt v(x_E, t + dt),   x_E of (SO.1)  (SO.2)

The midpoint rule takes the slope half way. Both its lines are Euler's, so it is no op of its own:

    x' = x + dt v(x_½, t + ½ dt),   x_½ = x + ½ dt v(x, t)        (SO.3)

Over a fixed time Euler errs by O(dt), the two others, for twice the calls of v, by O(dt²).

Langevin's step climbs log p and is kept from its top by noise. As τ → 0 it leaves p as it is:

    x' = x + τ ∇log p(x) + √(2τ) z                                (SO.4)

Nothing corrects a finite τ: N(0, s²) turns into N(0, s² / (1 − τ / 2s²)), and from τ = 2s² on
into nothing at all. The annealed algorithm writes α/2 for τ.

Adjoints. v and the score arrive as arrays, so all steps are linear, and a gradient is dx' times
its coefficient:

    dx = dx',   dv = dt dx'   (Heun: ½ dt for each)               (SO.5)
    ds = τ dx',   dz = √(2τ) dx'                                  (SO.6)
"""

import math
from typing import NamedTuple

from refgen.noise import Stream, normals_like
from refgen.typing import Array


class EulerStepCache(NamedTuple):
    """What backward needs."""

    dt: float


def euler_step_forward(x: Array, velocity: Array, *, dt: float) -> tuple[Array, EulerStepCache]:
    """Return Euler's x'. Twice, first with half of dt, it is the midpoint rule.

    >>> import numpy as np
    >>> x, dt = np.array([[1.0]]), 0.1  # dx/dt = −x, whose flow is exp(−t)
    >>> euler_step_forward(x, -x, dt=dt)[0]
    array([[0.9]])
    >>> half, _ = euler_step_forward(x, -x, dt=dt / 2)
    >>> euler_step_forward(x, -half, dt=dt)[0]
    array([[0.905]])
    """
    return x + dt * velocity, EulerStepCache(dt)  # (SO.1), and both lines of (SO.3)


def euler_step_backward(dx_next: Array, cache: EulerStepCache) -> tuple[Array, Array]:
    """Return (dx, dvelocity)."""
    return dx_next, cache.dt * dx_next  # (SO.5)


class HeunStepCache(NamedTuple):
    """What backward needs."""

    half: float  # ½ dt


def heun_step_forward(
    x: Array, velocity: Array, velocity_next: Array, *, dt: float
) -> tuple[Array, HeunStepCache]:
    """Return Heun's x'; velocity_next is that of the end of Euler's step.

    >>> import numpy as np
    >>> x, dt = np.array([[1.0]]), 0.1
    >>> end, _ = euler_step_forward(x, -x, dt=dt)
    >>> heun_step_forward(x, -x, -end, dt=dt)[0]
    array([[0.905]])
    """
    half = 0.5 * dt
    return x + half * velocity + half * velocity_next, HeunStepCache(half)  # (SO.2)


def heun_step_backward(dx_next: Array, cache: HeunStepCache) -> tuple[Array, Array, Array]:
    """Return (dx, dvelocity, dvelocity_next)."""
    dvelocity = cache.half * dx_next
    return dx_next, dvelocity, dvelocity  # (SO.5)


class LangevinStepCache(NamedTuple):
    """The two coefficients of Langevin's step."""

    of_score: float  # τ
    of_noise: float  # √(2τ)


def langevin_coefficients(step: float) -> LangevinStepCache:
    """Return what the score and the noise are multiplied by. Raises ValueError for step < 0."""
    if step < 0:
        raise ValueError(f"langevin_step: a step is 0 or more, not {step}")
    return LangevinStepCache(step, math.sqrt(2 * step))


def langevin_step_forward(
    x: Array, score: Array, noise: Array, *, step: float
) -> tuple[Array, LangevinStepCache]:
    """Return Langevin's x'. Raises ValueError for step < 0.

    >>> import numpy as np
    >>> x, z = np.array([[3.0]]), np.array([[1.0]])
    >>> langevin_step_forward(x, -x, z, step=0.5)[0]  # half way down to the top of N(0, 1), plus 1
    array([[2.5]])
    """
    cache = langevin_coefficients(step)
    return x + cache.of_score * score + cache.of_noise * noise, cache  # (SO.4)


def langevin_step_backward(dx_next: Array, cache: LangevinStepCache) -> tuple[Array, Array, Array]:
    """Return (dx, dscore, dnoise)."""
    return dx_next, cache.of_score * dx_next, cache.of_noise * dx_next  # (SO.6)


def langevin_step_drawn(
    x: Array, score: Array, stream: Stream, start: int = 0, *, step: float
) -> Array:
    """Return Langevin's x' with the noise of a stream. Raises ValueError for step < 0."""
    noise = normals_like(x, stream, start)
    return langevin_step_forward(x, score, noise, step=step)[0]
