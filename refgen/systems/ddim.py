"""DDIM: denoising diffusion as it is trained, walked back along a path that can be taken twice.

Lectures   4 (the sampler, its accelerated walk), 0 (named)          Source  song2021-ddim

The loss is DDPM's: it asks nothing of how the levels hang together, so one network serves a whole
family of walks. eta = 0 draws nothing but where the walk begins, and what begins as data can be
walked up to its noise and down again. The step is samplers/ddim.py's.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from refgen.noise import Noise
from refgen.samplers.ddim import invert_ddim, sample_ddim
from refgen.systems.ddpm import DDPM
from refgen.systems.system import refuse_sampler
from refgen.systems.walking import Predict
from refgen.typing import Array


@dataclass(frozen=True)
class DDIM(DDPM):
    """A noise predictor sampled by DDIM: eta from 0, no noise on the way, to 1, ancestral.

    The other settings are DDPM's; variance concerns the ancestral sampler alone.
    """

    sampler: str = "ddim"
    eta: float = 0.0
    sample_steps: int = 50
    samplers: ClassVar[tuple[str, ...]] = ("ddim", "ancestral")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta lies between 0, deterministic, and 1, ancestral, not {self.eta}")

    def walk(
        self, predict: Predict, x: Array, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Return data from x, N(0, I); by default over sample_steps levels by DDIM.

        Raises ValueError for a sampler or steps that there are not.
        """
        refuse_sampler("ddim", self.samplers, sampler, steps)
        if (sampler or self.sampler) == "ancestral":
            return super().walk(predict, x, noise, sampler="ancestral", steps=steps)
        return sample_ddim(
            predict,
            x,
            self.process,
            noise.at("walk"),
            times=self.times(steps),
            eta=self.eta,
            clip=self.clip or None,
            ops=self.ops,
        )

    def invert(self, params: Any, data: Array, *, steps: int = 0, rounds: int = 1) -> Array:
        """Return the noise of data, from which `generate` comes back to them.

        rounds are network calls a step: more come closer. Raises ValueError for less than one, and
        for steps that there are not.
        """
        refuse_sampler("ddim", self.samplers, "", steps)
        predict, times = partial(self.predict_noise, params), self.times(steps)
        return invert_ddim(predict, data, self.process, times=times, rounds=rounds, ops=self.ops)

    def generate(self, params: Any, x: Array, *, steps: int = 0) -> Array:
        """Return the data to which noise leads: nothing is drawn and nothing is clipped."""
        refuse_sampler("ddim", self.samplers, "", steps)
        predict, times = partial(self.predict_noise, params), self.times(steps)
        return sample_ddim(predict, x, self.process, Noise(0), times=times, ops=self.ops)
