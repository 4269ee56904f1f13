"""Layers: frozen descriptions with init, forward and backward."""

from refgen.layers.activation import Activation
from refgen.layers.attention import CrossAttention, SelfAttention
from refgen.layers.batch_norm import BatchNorm, ClassBatchNorm
from refgen.layers.conv import Conv2d, ConvTranspose2d
from refgen.layers.dense import Dense
from refgen.layers.dropout import Dropout
from refgen.layers.embedding import Embedding, Positions
from refgen.layers.gated_attention import GatedAttention
from refgen.layers.layer import Layer
from refgen.layers.norm import GroupNorm, GroupNormSilu, LayerNorm
from refgen.layers.resample import Double, Halve
from refgen.layers.residual import ResBlock
from refgen.layers.sequence import Sequence
from refgen.layers.spectral import Spectral
from refgen.layers.transformer import TransformerBlock

__all__ = [
    "Activation",
    "BatchNorm",
    "ClassBatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "CrossAttention",
    "Dense",
    "Double",
    "Dropout",
    "Embedding",
    "GatedAttention",
    "GroupNorm",
    "GroupNormSilu",
    "Halve",
    "Layer",
    "LayerNorm",
    "Positions",
    "ResBlock",
    "SelfAttention",
    "Sequence",
    "Spectral",
    "TransformerBlock",
]
