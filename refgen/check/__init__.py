"""Witnesses for gradients, log-determinants and orders, and the derivation doctor."""

from refgen.check.doctor import check_grad
from refgen.check.loading import Derivation, DerivationError, load_derivation
from refgen.check.report import Report
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
    "Derivation",
    "DerivationError",
    "Difference",
    "Report",
    "adjoint_gap",
    "central_difference",
    "check_grad",
    "complex_step",
    "jacobian",
    "load_derivation",
    "logdet_gap",
    "order_of_convergence",
]
