"""Networks composed of layers."""

from refgen.models.flow import CouplingFlow
from refgen.models.mlp import TimeMLP, mlp

__all__ = ["CouplingFlow", "TimeMLP", "mlp"]
