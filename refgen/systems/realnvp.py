"""Real NVP: an invertible network trained on its exact likelihood.

Lectures   1, 4 (named), 0, 3 (change of variables)          Source  dinh2017-realnvp
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen.models import CouplingFlow
from refgen.noise import Noise
from refgen.objectives import NegativeLogLikelihood
from refgen.ops.protocol import Ops
from refgen.systems.system import Turn, refuse_sampler
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class RealNVP:
    """Affine couplings with MLPs.

    levels > 0 says that the data are images of that many gray levels: training then adds uniform
    noise of one level's width, so that the density is one of continuous data (dequantisation).
    """

    shape: tuple[int, ...]
    levels: int = 0
    layers: int = 8
    hidden: int = 128
    depth: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _ = self.flow  # refuses settings that cannot be
        if self.depth < 0 or self.levels < 0:
            raise ValueError(
                f"depth counts hidden layers and levels gray levels, 0 for none, "
                f"not {self.depth} and {self.levels}"
            )

    @property
    def flow(self) -> CouplingFlow:
        """The invertible map from data to latent."""
        return CouplingFlow(math.prod(self.shape), self.layers, self.hidden, self.depth, self.ops)

    @property
    def objective(self) -> NegativeLogLikelihood:
        """The loss that training descends: −log p(x) in nats."""
        return NegativeLogLikelihood(self.flow)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.flow.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient, unit="nats"),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example in nats, gradient of the mean loss)."""
        x = batch.reshape(len(batch), -1)
        if self.levels > 1:
            width = 2 / (self.levels - 1)  # of one level, on data in [-1, 1]
            x = x + (width * (noise.at("level").uniform(x.shape) - 0.5)).astype(x.dtype)
        terms, cache = self.objective.forward(params["model"], x)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, self.objective.backward(mean, cache)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Send draws of N(0, I) through the inverse."""
        refuse_sampler("realnvp", self.samplers, sampler, steps)
        dtype = params["model"]["coupling0"]["dense0"]["w"].dtype
        z = noise.normal((count, math.prod(self.shape)), dtype=dtype, normals=self.ops.normals)
        return self.flow.inverse(params["model"], z).reshape(count, *self.shape)
