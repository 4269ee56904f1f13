r"""NCSN: scores at falling levels of noise, walked down by annealed Langevin dynamics.

Shapes     x, data, noise : (N, *shape)    level i = 1 .. L, σ_1 the largest
Lectures   4 (algorithm 1), 3 (its loss beside DDPM's)
Source     song2019-ncsn  section 4 and algorithm 1

Far from the data a score cannot be learned: no example lies there. Noise of σ fills the space, so
a network learns the scores of the data noised at L levels of one ratio, by the mean over i and
noise of

    σ_i² ‖s(data + σ_i noise, σ_i) + noise/σ_i‖²,   s(x, σ) = −ε̂(x, σ)/σ                 (NC.1)

where ε̂ is what the network says: the loss is then ‖ε̂ − noise‖², of one size at all levels (lecture
4 has no σ_i², the paper does). The network sees x divided by its deviation, (SS.1) of score_sde.py.
To sample, the lecture's algorithm 1, from x̃_0 ~ N(0, σ_1² I):

    for i = 1 .. L, α_i = ϵ σ_i² / σ_L²,  T times:   x̃ ← x̃ + ½ α_i s(x̃, σ_i) + √α_i z     (NC.2)

ϵ is asked for in units of σ_L², the setting `step`, so that α_i = step σ_i² whatever the levels
are. What comes out has noise of σ_L in it; with `denoise` one call more takes it away:

    x ← x + σ_L² s(x, σ_L)                                                             (NC.3)

`langevin` is the walk that fails: as many calls, L T, all at the last level, from the same start,
with the ε of `plain_step` in place of ½ α_L. No point leaves the mode that it falls into. Where a
mode is wider than σ_L a longer ε still stays in it and arrives sooner; 0, the default, is ½ α_L.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS, denoiser
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising
from refgen.ops.protocol import Ops
from refgen.processes.discrete import DiscretePath, of_noise_levels
from refgen.processes.schedule import geometric
from refgen.samplers.langevin import NoisyScore, sample_annealed_langevin, sample_langevin
from refgen.systems.score_sde import Levelled
from refgen.systems.single import Single
from refgen.systems.system import refuse_sampler, refuse_unknown
from refgen.systems.walking import by_parts
from refgen.typing import Array


@dataclass(frozen=True)
class NCSN(Single):
    """A network of (x, level) for L levels of noise, σ_1 = sigma_last down to σ_L = sigma_first.

    As in the other systems "first" is next to the data: t = 1 is σ_L, and t = L is σ_1. inner is T,
    the steps at each level. model is mlp, unet or dit; hidden and blocks are its sizes
    (refgen.models.denoiser), data_std the deviation of the data. clip limits the estimate of the
    data while sampling, 0 for no limit.
    """

    shape: tuple[int, ...]
    L: int = 12
    sigma_first: float = 0.02
    sigma_last: float = 8.0
    inner: int = 20
    step: float = 0.6
    denoise: bool = True
    plain_step: float = 0.0
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    data_std: float = 1.0
    clip: float = 0.0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("annealed", "langevin")

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, DENOISERS)
        _ = self.objective  # refuses settings that cannot be
        if self.inner < 1:
            raise ValueError(f"inner, the steps at each level, is 1 or more, not {self.inner}")
        if not 0 < self.step < 4:
            raise ValueError(f"step is ϵ/σ_L² and keeps x near its data below 4, not {self.step}")
        if self.plain_step < 0:
            raise ValueError(f"plain_step is above 0, or 0 for α/2, not {self.plain_step}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")

    @property
    def sigmas(self) -> tuple[float, ...]:
        """σ_1 > ... > σ_L."""
        return tuple(map(float, geometric(self.L, self.sigma_last, self.sigma_first)))

    @property
    def path(self) -> DiscretePath:
        """The levels as times: t = 1 is σ_L and t = L is σ_1."""
        return of_noise_levels(np.array(self.sigmas))

    @property
    def network(self) -> Levelled:
        """The network ε̂, of x and of the level as a time."""
        inner = denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)
        return Levelled(inner, self.path, self.data_std)

    @property
    def objective(self) -> Denoising:
        """The loss that training descends."""
        return Denoising(self.network, self.path, "noise", "simple", ops=self.ops)  # (NC.1)

    def score(self, params: Any) -> NoisyScore:
        """Return (x, σ) ↦ s(x, σ), for the σ of this model's levels."""
        network, sigmas, limit = self.network, self.sigmas, self.clip

        def score(x: Array, sigma: float) -> Array:
            t = len(sigmas) - sigmas.index(sigma)

            def noise_in(part: Array) -> Array:
                return network.forward(params["model"], part, np.full(len(part), t, like=part))[0]

            s = by_parts(noise_in, x) * (-1 / sigma)  # (NC.1)
            if not limit:
                return s
            mean = np.clip(x + sigma**2 * s, -limit, limit)
            return (mean - x) * (1 / sigma**2)

        return score

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from N(0, σ_1²), by default down all levels; steps is T, the steps at each.

        Raises ValueError for a sampler that is not one of those above, and for negative steps.
        """
        refuse_sampler("ncsn", self.samplers, sampler, steps)
        dtype, place = next(tree.leaves(params)).dtype, noise.at("start")
        z = place.normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)
        walk = self.plainly if sampler == "langevin" else self.walk
        return walk(self.score(params), self.sigma_last * z, noise.at("walk"), steps or self.inner)

    def walk(self, score: NoisyScore, x: Array, noise: Noise, inner: int) -> Array:
        """Return data by annealed Langevin dynamics: algorithm 1."""
        return sample_annealed_langevin(
            score,
            x,
            self.sigmas,
            noise,
            step=self.step * self.sigmas[-1] ** 2,  # (NC.2)
            inner=inner,
            denoise=self.denoise,  # (NC.3)
            ops=self.ops,
        )

    def plainly(self, score: NoisyScore, x: Array, noise: Noise, inner: int) -> Array:
        """Return where plain Langevin dynamics at σ_L comes to in as many calls."""
        last, calls = self.sigmas[-1], self.L * inner
        step = self.plain_step or 0.5 * self.step * last**2
        return sample_langevin(
            lambda x: score(x, last), x, noise, step=step, steps=calls, ops=self.ops
        )
