"""Losses with their gradients: per example, summed over dimensions."""

from refgen.objectives.ddpm import NoisePrediction, loss_weights
from refgen.objectives.elbo import Elbo
from refgen.objectives.gan import Game
from refgen.objectives.nll import NegativeLogLikelihood

__all__ = ["Elbo", "Game", "NegativeLogLikelihood", "NoisePrediction", "loss_weights"]
