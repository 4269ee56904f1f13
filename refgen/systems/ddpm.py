"""Denoising diffusion: learn to name the noise, then walk back from noise to data.

Lectures   0, 2, 3, 4 (algorithms), 1 (losses)          Source  ho2020-ddpm;  song2021-ddim
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import Denoiser, denoiser
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.ops.protocol import Ops
from refgen.processes import SCHEDULES, Schedule, stride
from refgen.samplers import VARIANCES, sample_ancestral, sample_ddim
from refgen.systems.system import Turn, refuse_sampler
from refgen.typing import Array, Grads, Params

ROWS = 64  # examples that go through the network together: more would not stay in the caches


@dataclass(frozen=True)
class DDPM:
    """A noise predictor ε̂(x, t) under a schedule of T levels.

    model is mlp, unet or dit; hidden and blocks are its sizes (refgen.models.denoiser).
    clip limits the estimate of the data while sampling; 0 means no limit. sample_steps is how
    many levels sampling visits, 0 for all T of them; there are no more than T.
    """

    shape: tuple[int, ...]
    T: int = 1000
    schedule: str = "cosine"
    weight: str = "simple"
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    variance: str = "posterior"
    clip: float = 0.0
    sample_steps: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("ancestral", "ddim")

    def __post_init__(self) -> None:
        _ = self.objective  # refuses settings that cannot be
        if self.variance not in VARIANCES:
            raise ValueError(f"variance {self.variance!r} is not one of {', '.join(VARIANCES)}")
        if self.sample_steps < 0:
            raise ValueError(f"sample_steps is 0 or more, not {self.sample_steps}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")

    @property
    def process(self) -> Schedule:
        """The noise levels. Raises ValueError for a schedule that does not exist."""
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; there are {sorted(SCHEDULES)}")
        return SCHEDULES[self.schedule](self.T)

    @property
    def network(self) -> Denoiser:
        """The network ε̂, (N, *shape) and (N,) -> (N, *shape)."""
        return denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)

    @property
    def objective(self) -> NoisePrediction:
        """The loss that training descends."""
        return NoisePrediction(self.network, self.process, self.weight, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.network.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss)."""
        terms, cache = self.objective.forward(params["model"], batch, noise)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, self.objective.backward(mean, cache)

    def predict_noise(self, params: Any, x: Array, t: int) -> Array:
        """Return ε̂(x, t) of (N, *shape) at one time, ROWS examples at a time."""
        network = self.network
        parts = [
            network.forward(params["model"], part, np.full(len(part), t, like=x))[0]
            for part in (x[i : i + ROWS] for i in range(0, max(len(x), 1), ROWS))
        ]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from noise to data, by default all T levels by the ancestral sampler."""
        refuse_sampler("ddpm", self.samplers, sampler, steps)
        schedule = self.process
        dtype = next(tree.leaves(params)).dtype
        start = noise.at("start")
        x = start.normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)

        def predict(x: Array, t: int) -> Array:
            return self.predict_noise(params, x, t)

        times, clip = (
            stride(schedule.T, steps or min(self.sample_steps, self.T) or self.T),
            self.clip or None,
        )
        walk = noise.at("walk")
        if sampler == "ddim":
            x = sample_ddim(predict, x, schedule, walk, times=times, clip=clip, ops=self.ops)
        else:
            x = sample_ancestral(
                predict,
                x,
                schedule,
                walk,
                times=times,
                variance=self.variance,
                clip=clip,
                ops=self.ops,
            )
        return x
