"""Networks composed of layers."""

from refgen.models.causal import CausalTransformer
from refgen.models.convnet import ConvNet
from refgen.models.dit import DiT
from refgen.models.flow import CouplingFlow
from refgen.models.made import Made, MaskedMLP
from refgen.models.mlp import TimeMLP, mlp
from refgen.models.pixelcnn import PixelCNN
from refgen.models.unet import UNet

__all__ = [
    "CausalTransformer",
    "ConvNet",
    "CouplingFlow",
    "DiT",
    "Made",
    "MaskedMLP",
    "PixelCNN",
    "TimeMLP",
    "UNet",
    "mlp",
]
