"""Losses with their gradients: per example, summed over dimensions."""

from refgen.objectives.autoencoding import Autoencoding
from refgen.objectives.consistency import Consistency, curriculum, karras_levels
from refgen.objectives.ddpm import NoisePrediction, loss_weights
from refgen.objectives.denoising import Denoising, LogNormalTimes, UniformTimes
from refgen.objectives.discretized import Bins, bits_per_dimension, matched
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.objectives.ebm import Contrast, Energy, EnergyLikelihood, EnergyScoreMatching
from refgen.objectives.elbo import Elbo
from refgen.objectives.gan import Game
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.nll import NegativeLogLikelihood
from refgen.objectives.noisy_classification import NoisyClassification
from refgen.objectives.noisy_energy import AtLevel, NoisyEnergy, NoisyEnergyMatching
from refgen.objectives.precondition import Preconditioned
from refgen.objectives.score_matching import (
    ExplicitScoreMatching,
    OverNoise,
    SlicedScoreMatching,
    Timeless,
    denoising_score_matching,
)
from refgen.objectives.variational import VariationalBound

__all__ = [
    "AtLevel",
    "Autoencoding",
    "Bins",
    "Consistency",
    "Contrast",
    "Denoising",
    "Elbo",
    "Energy",
    "EnergyLikelihood",
    "EnergyScoreMatching",
    "ExplicitScoreMatching",
    "Game",
    "Hybrid",
    "LogNormalTimes",
    "NegativeLogLikelihood",
    "NoisePrediction",
    "NoisyClassification",
    "NoisyEnergy",
    "NoisyEnergyMatching",
    "OverNoise",
    "Preconditioned",
    "ProgressiveDistillation",
    "SlicedScoreMatching",
    "Timeless",
    "TwoHeads",
    "UniformTimes",
    "VariationalBound",
    "bits_per_dimension",
    "curriculum",
    "denoising_score_matching",
    "karras_levels",
    "loss_weights",
    "matched",
]
