"""Denoising diffusion: learn to name the noise, then walk back from noise to data.

Lectures   0, 2, 3, 4 (algorithms), 1 (losses)          Source  ho2020-ddpm;  song2021-ddim

Algorithm 1, training, is objectives/ddpm.py, one step of it single.py. Algorithm 2, sampling, is
samplers/ancestral.py, with α_t in its line 4; lectures 0 and 4 print ᾱ_t there (`refgen verify
--errata`: E01).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from refgen.models.denoiser import Denoiser, denoiser
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.systems.single import Single
from refgen.systems.walking import Walking, answers
from refgen.typing import Array


@dataclass(frozen=True)
class DDPM(Single, Walking):
    """A noise predictor ε̂(x, t) under a schedule of T levels; its settings are Walking's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.network  # refuses sizes that cannot be

    @property
    def network(self) -> Denoiser:
        """The network ε̂, (N, *shape) and (N,) -> (N, *shape)."""
        return denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)

    @property
    def objective(self) -> NoisePrediction:
        """The loss that training descends."""
        return NoisePrediction(self.network, self.process, self.weight, self.ops)

    def predict_noise(self, params: Any, x: Array, t: int) -> Array:
        """Return ε̂(x, t) of (N, *shape) at one time, some examples at a time."""
        return answers(self.network, params["model"], x, t)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from noise to data, by default over all levels by the first of the samplers."""
        x = self.start(params, (count, *self.shape), noise)
        predict = partial(self.predict_noise, params)
        return self.walk(predict, x, noise, sampler=sampler, steps=steps)
