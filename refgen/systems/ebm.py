r"""An energy-based model: learn an unnormalised log density, walk up its score by Langevin's steps.

Shapes     N batch, D coordinates of an example.   data, x, z : (N, *shape)    g : (N,)    p : (M,)
Lectures   4 (exp(f)/Z, score, Langevin)
Sources    lecun2006-energy;  hinton2002-contrastive-divergence;  salimans2021-energy;
           song2019-ncsn  (annealed Langevin)

The density is p(x) = exp(g(x)) / Z. Three ways to teach it, the setting `method`:

    likelihood     −log p, Z a sum over a grid of the line or the plane (objectives.ebm)
    contrastive    g(x⁻) − g(x), where x⁻ is reached by `chain` Langevin steps from the example x:
                   a draw of p only after many, so this is the likelihood's gradient, nearly
    denoising      the score of noised data at `rungs` levels (objectives.noisy_energy): no Z, no
                   walk, any D. The density is then that of data + σ noise, σ the least level

and three ways to draw, each the default of one method:

    grid           of likelihood: Z is a sum, and so is all else. A cell of the grid with its
                   probability p_m, and a place in the cell by lot                       (ES.1)
    langevin       of contrastive: x ← x + ε ∇g(x) + √(2ε) z, from the base              (ES.2)
    annealed       of denoising: the walk of samplers.langevin down through the levels

Plain Langevin keeps every point in the mode that it meets first, for as long as anyone waits; noise
of falling levels lets points cross. On the line and in the plane a walk is judged by the grid.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.mlp import mlp
from refgen.noise import Noise
from refgen.objectives.ebm import Contrast, Energy, EnergyLikelihood
from refgen.objectives.noisy_energy import TOLD, AtLevel, NoisyEnergy, NoisyEnergyMatching
from refgen.ops.protocol import Ops
from refgen.processes.schedule import geometric
from refgen.samplers.langevin import sample_annealed_langevin, sample_langevin
from refgen.systems.single import mean_gradient
from refgen.systems.system import Turn, refuse_sampler, refuse_unknown
from refgen.systems.walking import by_parts
from refgen.typing import Array, Grads, Params

FINER = 4  # times as many points an axis, to draw from a grid
BY_DEFAULT = {"denoising": "annealed", "likelihood": "grid", "contrastive": "langevin"}
METHODS = tuple(BY_DEFAULT)


@dataclass(frozen=True)
class EBM:
    """An energy by an MLP of `depth` hidden layers.

    base_std is that of the Gaussian which keeps the integral finite, and where chains begin; with
    `denoising` it is data_std, s. Levels fall from sigma_last to sigma_first; inner is the steps at
    each of the `rungs` levels, step is ϵ in units of the smallest level's σ². Plain Langevin takes
    as many steps in all, of ε = plain_step. The constant is a sum over `points` places an axis,
    from −edge to edge. clip limits the mean of the data that an annealed score implies, 0 for no
    limit: a network says nothing of where no example has been, and there a walk may run away.
    """

    shape: tuple[int, ...]
    method: str = "denoising"
    hidden: int = 256
    depth: int = 3
    base_std: float = 2.0
    data_std: float = 1.0
    rungs: int = 20
    sigma_first: float = 0.05
    sigma_last: float = 5.0
    inner: int = 20
    step: float = 0.2
    denoise: bool = True
    clip: float = 0.0
    plain_step: float = 1e-3
    chain: int = 20
    edge: float = 4.0
    points: int = 65
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("annealed", "langevin", "grid")

    def __post_init__(self) -> None:
        refuse_unknown("method", self.method, METHODS)
        if self.depth < 1 or self.inner < 1 or self.chain < 1:
            raise ValueError("an energy has depth, inner and chain of 1 or more")
        if not 0 < self.step < 4 or not self.plain_step > 0:
            raise ValueError(
                f"0 < step < 4 and plain_step > 0 keep a walk near its data, not {self.step} and "
                f"{self.plain_step}"
            )
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")
        if self.method == "likelihood" and self.dim > 2:
            raise ValueError(
                f"the constant of {self.dim} dimensions is no sum over a grid: take "
                "method=denoising, or contrastive"
            )
        _ = self.density, self.sigmas  # refuse settings that cannot be

    @property
    def dim(self) -> int:
        """The number D of coordinates of an example."""
        return math.prod(self.shape)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels, largest first."""
        return tuple(map(float, geometric(self.rungs, self.sigma_last, self.sigma_first)))

    @property
    def levels_of_noise(self) -> NoisyEnergy:
        """The energy at every level of noise, of `denoising`."""
        sizes = (self.dim + TOLD, *[self.hidden] * self.depth, self.dim)
        return NoisyEnergy(mlp(sizes, gain=0.0, ops=self.ops), self.data_std)

    @property
    def density(self) -> Energy | AtLevel:
        """The energy of the data, or of data with the least noise."""
        if self.method == "denoising":
            return AtLevel(self.levels_of_noise, self.sigma_first)
        sizes = (self.dim, *[self.hidden] * self.depth, 1)
        return Energy(mlp(sizes, gain=0.0, ops=self.ops), self.base_std**2)

    @property
    def likelihood(self) -> EnergyLikelihood:
        """−log p with its constant. Raises ValueError beyond two dimensions."""
        return EnergyLikelihood(self.density, self.dim, -self.edge, self.edge, self.points)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}; the energy starts as that of its base."""
        if self.method == "denoising":
            return {"model": self.levels_of_noise.init(noise)}
        return {"model": self._energy.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        unit = "nats" if self.method == "likelihood" else "loss"
        return (Turn("model", self.gradient, unit=unit),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss)."""
        theta, flat = params["model"], np.reshape(batch, (len(batch), -1))
        objective: Any
        if self.method == "contrastive":
            objective = Contrast(self._energy)
            walked = self._walk(params, flat, noise.at("chain"), self.chain)
            terms, cache = objective.value(theta, flat, walked)
        elif self.method == "likelihood":
            objective = self.likelihood
            terms, cache = objective.forward(theta, flat)
        else:
            objective = NoisyEnergyMatching(self.levels_of_noise, self.sigmas, self.ops)
            terms, cache = objective.forward(theta, flat, noise)
        return terms, mean_gradient(objective, terms, cache)

    def log_density(self, params: Any, x: Array) -> Array:
        """Return log p(x) of points on the line or the plane, (N,), in nats."""
        terms, _ = self.likelihood.forward(params["model"], x)
        return -terms["loss"]

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Draw as the method does by default; steps is a walk's length, or that at each level.

        Raises ValueError for a sampler that there is not, or not for this method.
        """
        refuse_sampler("ebm", self.samplers, sampler, steps)
        noisy = self.method == "denoising"
        sampler = sampler or BY_DEFAULT[self.method]
        if sampler == "annealed" and not noisy:
            raise ValueError(
                f"annealed Langevin needs energies at many noise levels, which method="
                f"{self.method} does not teach: take langevin, or train with method=denoising"
            )
        if sampler == "grid" and steps:
            raise ValueError(f"ebm draws from a grid in one pass, and cannot take {steps} steps")
        if sampler == "grid":
            x = self._from_grid(params, count, noise)
        elif sampler == "annealed":
            far = math.hypot(self.data_std, self.sigma_last)
            x = sample_annealed_langevin(
                self._noisy_score(params),
                far * self._start(params, count, noise),
                self.sigmas,
                noise.at("walk"),
                step=self.step * self.sigma_first**2,
                inner=steps or self.inner,
                denoise=self.denoise,
                ops=self.ops,
            )
        else:
            wide = self.data_std if noisy else self.base_std
            x = self._walk(
                params,
                wide * self._start(params, count, noise),
                noise.at("walk"),
                steps or self.rungs * self.inner,
            )
        return np.reshape(x, (count, *self.shape))

    def _start(self, params: Any, count: int, noise: Noise) -> Array:
        """Draw N(0, I), (count, D), in the type of the parameters."""
        dtype = next(tree.leaves(params)).dtype
        place = noise.at("start")
        return place.normal((count, self.dim), dtype=dtype, normals=self.ops.normals)

    def _walk(self, params: Any, x: Array, noise: Noise, steps: int) -> Array:
        """Return x after some steps of Langevin's."""
        density = self.density

        def score(x: Array) -> Array:
            return by_parts(lambda x: density.score(params["model"], x)[0], x)

        return sample_langevin(
            score, x, noise, step=self.plain_step, steps=steps, ops=self.ops
        )  # (ES.2)

    def _from_grid(self, params: Any, count: int, noise: Noise) -> Array:
        """Draw from the cells of a finer grid than that of the constant, (count, D)."""
        fine = replace(self.likelihood, points=FINER * self.points)
        like = next(tree.leaves(params))
        p = self.ops.fetch(fine.log_constant(params["model"], like)[1][0]).astype(np.float64)
        running = np.cumsum(p) / np.sum(p)
        cell = np.searchsorted(running, noise.at("cell").uniform(count).astype(np.float64))
        inside = noise.at("inside").uniform((count, self.dim)) - 0.5
        width = 2 * self.edge / (fine.points - 1)
        x = fine.grid[np.minimum(cell, len(p) - 1)] + width * inside  # (ES.1)
        return self.ops.put(x.astype(like.dtype))

    @property
    def _energy(self) -> Energy:
        density = self.density
        assert isinstance(density, Energy)  # of all methods but denoising
        return density

    def _noisy_score(self, params: Any) -> Any:
        """Return (x, σ) ↦ ∇g(x, σ)."""
        energy = self.levels_of_noise

        def score(x: Array, sigma: float) -> Array:
            level = AtLevel(energy, sigma)
            slope = by_parts(lambda x: level.score(params["model"], x)[0], x)
            if not self.clip:
                return slope
            mean = np.clip(x + sigma**2 * slope, -self.clip, self.clip)  # E[data | x], and limited
            held: Array = (mean - x) / sigma**2
            return held

        return score
