"""Noise schedules and parametrizations."""

from refgen.processes.schedule import SCHEDULES, Schedule, constant, cosine, linear, quadratic
from refgen.processes.schedule import stride as stride

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "linear", "quadratic", "stride"]
