"""Worlds in which everything is known in closed form: the judges of whatever is learned.

Each World answers, for x = a data + b noise at any signal level a and noise level b: log_density,
score, data_mean, noise_mean, velocity; and sample. Those with a density of their own know their
entropy. The two with Linear in their name have latents: evidence and bound.
"""

from refgen.exact.boxes import Boxes
from refgen.exact.chain import LinearGaussianChain
from refgen.exact.deltas import Deltas
from refgen.exact.gaussian import Gaussian, LinearGaussian
from refgen.exact.mixture import Mixture
from refgen.exact.world import World, noised

__all__ = [
    "Boxes",
    "Deltas",
    "Gaussian",
    "LinearGaussian",
    "LinearGaussianChain",
    "Mixture",
    "World",
    "noised",
]
