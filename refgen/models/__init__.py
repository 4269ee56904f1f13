"""Networks composed of layers."""

from refgen.models.convnet import ConvNet
from refgen.models.dit import DiT
from refgen.models.flow import CouplingFlow
from refgen.models.mlp import TimeMLP, mlp
from refgen.models.unet import UNet

__all__ = ["ConvNet", "CouplingFlow", "DiT", "TimeMLP", "UNet", "mlp"]
