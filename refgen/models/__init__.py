"""Networks composed of layers."""

from refgen.models.convnet import ConvNet
from refgen.models.flow import CouplingFlow
from refgen.models.mlp import TimeMLP, mlp

__all__ = ["ConvNet", "CouplingFlow", "TimeMLP", "mlp"]
