"""Solver steps on the device. Mirrors refgen/ops/solver.py.

Every step is a sum of arrays with numbers for coefficients, the first of them 1: see `linear`.
"""

from refgen.noise import Stream
from refgen.ops.solver import (
    EulerStepCache,
    HeunStepCache,
    LangevinStepCache,
    langevin_coefficients,
)
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.linear import combine, combine_drawn


def euler_step_forward(
    cu: Launcher, x: Array, velocity: Array, *, dt: float
) -> tuple[Array, EulerStepCache]:
    """Device twin of refgen.ops.euler_step_forward."""
    return combine(cu, (x, velocity), (1.0, dt)), EulerStepCache(dt)  # (SO.1)


def heun_step_forward(
    cu: Launcher, x: Array, velocity: Array, velocity_next: Array, *, dt: float
) -> tuple[Array, HeunStepCache]:
    """Device twin of refgen.ops.heun_step_forward."""
    half = 0.5 * dt
    arrays, weights = (x, velocity, velocity_next), (1.0, half, half)
    return combine(cu, arrays, weights), HeunStepCache(half)  # (SO.2)


def langevin_step_forward(
    cu: Launcher, x: Array, score: Array, noise: Array, *, step: float
) -> tuple[Array, LangevinStepCache]:
    """Device twin of refgen.ops.langevin_step_forward. Raises ValueError for step < 0."""
    cache = langevin_coefficients(step)
    return combine(cu, (x, score, noise), (1.0, *cache)), cache  # (SO.4)


def langevin_step_drawn(
    cu: Launcher, x: Array, score: Array, stream: Stream, start: int = 0, *, step: float
) -> Array:
    """Device twin of refgen.ops.langevin_step_drawn. Raises ValueError for step < 0."""
    weights = (1.0, *langevin_coefficients(step))
    return combine_drawn(cu, (x, score), weights, stream, start)  # (SO.4)
