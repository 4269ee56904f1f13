"""Networks composed of layers."""

from refgen.models.autoencoder import Autoencoder
from refgen.models.captioned import Captioned, TextEncoder
from refgen.models.causal import CausalTransformer
from refgen.models.convnet import ConvNet
from refgen.models.critic import Critic
from refgen.models.dcgan import dcgan_discriminator, dcgan_generator
from refgen.models.dit import DiT
from refgen.models.flow import CouplingFlow
from refgen.models.given import GivenMLP
from refgen.models.made import Made, MaskedMLP
from refgen.models.mlp import TimeMLP, mlp
from refgen.models.noisy_classifier import NoisyClassifier
from refgen.models.pixelcnn import PixelCNN
from refgen.models.policy import CategoricalPolicy, GaussianPolicy
from refgen.models.residual_mlp import ResidualMLP
from refgen.models.told import Told
from refgen.models.unet import UNet

__all__ = [
    "Autoencoder",
    "Captioned",
    "CategoricalPolicy",
    "CausalTransformer",
    "ConvNet",
    "CouplingFlow",
    "Critic",
    "DiT",
    "GaussianPolicy",
    "GivenMLP",
    "Made",
    "MaskedMLP",
    "NoisyClassifier",
    "PixelCNN",
    "ResidualMLP",
    "TextEncoder",
    "TimeMLP",
    "Told",
    "UNet",
    "dcgan_discriminator",
    "dcgan_generator",
    "mlp",
]
