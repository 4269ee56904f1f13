"""Solver steps, one pass over memory. Mirrors the page of its name, bit for bit.

Every step is a sum of arrays with numbers for coefficients, the first of them 1, which changes no
bit: the loops are those of `linear`.
"""

from refgen.noise import Stream
from refgen.ops import solver as page
from refgen.ops.solver import (
    EulerStepCache,
    HeunStepCache,
    LangevinStepCache,
    langevin_coefficients,
)
from refgen.typing import Array
from refgen_kernels.numba_cpu.arrays import suits
from refgen_kernels.numba_cpu.linear import combine, combine_drawn
from refgen_kernels.numba_cpu.noise import reachable


def euler_step_forward(x: Array, velocity: Array, *, dt: float) -> tuple[Array, EulerStepCache]:
    """CPU twin of refgen.ops.euler_step_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, velocity):
        return page.euler_step_forward(x, velocity, dt=dt)
    return combine((x, velocity), (1.0, dt)), EulerStepCache(dt)  # (SO.1)


def heun_step_forward(
    x: Array, velocity: Array, velocity_next: Array, *, dt: float
) -> tuple[Array, HeunStepCache]:
    """CPU twin of refgen.ops.heun_step_forward; arrays that are not float32 go to that page."""
    if not suits(x.shape, x, velocity, velocity_next):
        return page.heun_step_forward(x, velocity, velocity_next, dt=dt)
    cache = HeunStepCache(0.5 * dt)
    return combine((x, velocity, velocity_next), (1.0, cache.half, cache.half)), cache  # (SO.2)


def langevin_step_forward(
    x: Array, score: Array, noise: Array, *, step: float
) -> tuple[Array, LangevinStepCache]:
    """CPU twin of refgen.ops.langevin_step_forward; arrays that are not float32 go to that page.

    Raises ValueError for step < 0.
    """
    if not suits(x.shape, x, score, noise):
        return page.langevin_step_forward(x, score, noise, step=step)
    cache = langevin_coefficients(step)
    return combine((x, score, noise), (1.0, *cache)), cache  # (SO.4)


def langevin_step_drawn(
    x: Array, score: Array, stream: Stream, start: int = 0, *, step: float
) -> Array:
    """CPU twin of refgen.ops.langevin_step_drawn; arrays that are not float32 go to that page.

    Raises ValueError for step < 0.
    """
    if not (suits(x.shape, x, score) and reachable(start, x.size)):
        return page.langevin_step_drawn(x, score, stream, start, step=step)
    return combine_drawn((x, score), (1.0, *langevin_coefficients(step)), stream, start)  # (SO.4)
