"""Witnesses for gradients, log-determinants and orders, and the derivation doctor."""

from refgen.check.witness import (
    Difference,
    adjoint_gap,
    central_difference,
    complex_step,
    jacobian,
    logdet_gap,
    order_of_convergence,
)

__all__ = [
    "Difference",
    "adjoint_gap",
    "central_difference",
    "complex_step",
    "jacobian",
    "logdet_gap",
    "order_of_convergence",
]
