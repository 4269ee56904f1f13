"""Networks composed of layers."""

from refgen.models.causal import CausalTransformer
from refgen.models.convnet import ConvNet
from refgen.models.critic import Critic
from refgen.models.dcgan import dcgan_discriminator, dcgan_generator
from refgen.models.dit import DiT
from refgen.models.flow import CouplingFlow
from refgen.models.made import Made, MaskedMLP
from refgen.models.mlp import TimeMLP, mlp
from refgen.models.pixelcnn import PixelCNN
from refgen.models.residual_mlp import ResidualMLP
from refgen.models.unet import UNet

__all__ = [
    "CausalTransformer",
    "ConvNet",
    "CouplingFlow",
    "Critic",
    "DiT",
    "Made",
    "MaskedMLP",
    "PixelCNN",
    "ResidualMLP",
    "TimeMLP",
    "UNet",
    "dcgan_discriminator",
    "dcgan_generator",
    "mlp",
]
