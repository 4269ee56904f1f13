r"""Consistency models: one call from noise to data, and a second one, or more, to make it better.

Shapes     N batch, *S axes of one example.   data, x, z, f, D : (N, *S)
           σ, τ : levels between ε and σ_max
Lectures   0 ("sampling is expensive: DDIM, consistency models, distillation")
Sources    song2023-consistency  algorithms 1-3;
           song2024-improved-consistency  section 3 (pseudo-Huber, weights, doubling);
           karras2022-edm  section 5, table 1 (the teacher)

f(x, σ) names the beginning, at level ε, of the path of the flow that x lies on: one network
between a skip and a scale, so that f(x, ε) = x holds from the start (objectives/precondition.py).
Every level is taught by the one below it (objectives/consistency.py). Of K steps of training, step
k does so on a grid of

    min(coarse 2^⌊k/stage⌋, fine) + 1 levels,
    stage = ⌊K / (m + 1)⌋,   m = ⌈log₂(fine/coarse)⌉ doublings                            (CS.1)

since far neighbours carry what is known near the data to the noise in few steps, with an error
that near ones then take away. There are two ways to teach it:

    training        x' = data + σ_n z, no teacher                                        (CS.2)
    distillation    x' a step of Heun's rule with a teacher D of E[data | x], who learns first, by
                    w ‖D(data + σ z, σ) − data‖²,   w = (σ² + σ_d²) / (σ σ_d)²,
                    log σ ~ N(log σ_d − ½, 1.2²)                                          (CS.3)

The student is the teacher's heir: it begins with the parameters of D, and where σ is small f and D
are nearly the same. Its target f⁻ is itself, or its own moving average. Sampling forgets a part of
what was said and says it again, at levels τ of a grid that has one more, ε, at its end:

    x₁ = σ_max z,   data₁ = f(x₁, σ_max)                                                 (CS.4)
    x_i = data_{i−1} + √(τ_i² − ε²) z_i,   data_i = f(x_i, τ_i),   σ_max > τ_2 > ... > ε    (CS.5)

data_{i−1} has noise of level ε already, hence the root. An exact f draws data with noise of level
ε after any number of calls, but for what σ_max z lacks of the data's own spread. What another f
gets wrong at σ_max is drowned in noise of level τ and said anew from there, where f is better.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS, denoiser
from refgen.noise import Noise
from refgen.objectives.consistency import DISTANCES, Consistency, curriculum, karras_levels
from refgen.objectives.denoising import Denoising, LogNormalTimes
from refgen.objectives.precondition import Preconditioned, even_weight
from refgen.ops.protocol import Ops
from refgen.processes.path import EDM
from refgen.samplers.edm import sample_edm
from refgen.systems.single import mean_loss
from refgen.systems.system import Stage, Turn, refuse_sampler, refuse_unknown
from refgen.systems.walking import by_parts
from refgen.typing import Array, Grads, Params

TARGETS = ("own", "average")
TEACHERS_STEPS = 32
Jump = Callable[[Array, float], Array]  # (x, σ) -> f


def sample_multistep(
    jump: Jump,
    x: Array,
    levels: Sequence[float],
    first: float,
    noise: Noise,
    *,
    ops: Ops = reference,
) -> Array:
    """Return data, with noise of level first, from x, a draw at levels[0]; a call for each level.

    Raises ValueError unless there are levels and they fall from the first to above `first`.
    """
    if not levels or any(s >= t for t, s in pairwise(levels)) or levels[-1] <= first:
        raise ValueError(f"levels fall, one at least, and stay above {first}, not {levels[:6]}")
    data = jump(x, levels[0])  # (CS.4)
    for i, level in enumerate(levels[1:], 1):
        z = noise.at("step", i).normal(x.shape, dtype=x.dtype, normals=ops.normals)
        x = data + math.sqrt(level * level - first * first) * z
        data = jump(x, level)  # (CS.5)
    return data


@dataclass(frozen=True)
class ConsistencyModel:
    """A network that jumps from any noise level to the data.

    model is mlp, unet or dit; hidden and blocks are its sizes (refgen.models.denoiser). first and
    last are ε and σ_max; data_std is σ_d; coarse and fine are the steps of the first grid and of
    the last. taught makes it a distillation, with a teacher who has `share` of the training. target
    is own or average, the moving one of training. c is the pseudo-Huber's, 0 for 0.00054 √D.
    sample_steps is how many calls sampling makes, no more than fine; clip limits samples, 0 for no
    limit.
    """

    shape: tuple[int, ...]
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    taught: bool = False
    share: float = 0.4
    first: float = 0.02
    last: float = 20.0
    data_std: float = 0.8
    coarse: int = 10
    fine: int = 160
    target: str = "own"
    distance: str = "huber"
    c: float = 0.0
    clip: float = 0.0
    sample_steps: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("multistep", "teacher")

    def __post_init__(self) -> None:
        if not 1 <= self.coarse <= self.fine:
            raise ValueError(
                f"the grid grows: 1 ≤ coarse ≤ fine, not {self.coarse} and {self.fine}"
            )
        refuse_unknown("model", self.model, DENOISERS)
        refuse_unknown("target", self.target, TARGETS)
        refuse_unknown("distance", self.distance, DISTANCES)
        _ = self.jumper, self.loss(self.coarse + 1)  # refuse settings that cannot be
        if not 0 < self.share < 1:
            raise ValueError(f"share is the teacher's part, between 0 and 1, not {self.share}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")
        if not 1 <= self.sample_steps <= self.fine:
            raise ValueError(
                f"sample_steps is 1 .. {self.fine}, as many as the finest grid has, not "
                f"{self.sample_steps}"
            )

    @property
    def jumper(self) -> Preconditioned:
        """The consistency model f, (N, *shape) and (N,) -> (N, *shape)."""
        network = denoiser(self.model, self.shape, self.hidden, self.blocks, ops=self.ops)
        return Preconditioned(network, self.data_std, self.first)

    @property
    def estimator(self) -> Preconditioned:
        """The teacher's estimate D: the same network without a boundary."""
        return Preconditioned(self.jumper.network, self.data_std)

    @property
    def denoising(self) -> Denoising:
        """The loss of the teacher."""
        times = LogNormalTimes(math.log(self.data_std) - 0.5, 1.2, unit=self.last)
        path = EDM(self.last)
        return Denoising(
            self.estimator,
            path,
            "data",
            partial(even_weight, data_std=self.data_std),
            times=times,
            told="sigma",
            ops=self.ops,
        )

    def loss(self, count: int, teacher: Any = None) -> Consistency:
        """Return the loss of f on so many levels; teacher is the parameters of D, if there is one.

        Raises ValueError for levels that cannot be.
        """
        levels = karras_levels(count, self.first, self.last)
        estimate = None if teacher is None else self.estimate(teacher)
        return Consistency(
            self.jumper,
            levels,
            estimate,
            distance=self.distance,
            weight="gap",
            c=self.c,
            ops=self.ops,
        )

    def estimate(self, teacher: Any) -> Callable[[Array, Array], Array]:
        """Return E[data | x] as the teacher's parameters have it, of (x, σ (N,))."""

        def data(x: Array, sigma: Array) -> Array:
            return self.estimator.forward(teacher, x, sigma)[0]

        return data

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}, and {"teacher": ...} where there is one."""
        model = self.jumper.init(noise)
        return (
            {"teacher": tree.map(np.copy, model), "model": model}
            if self.taught
            else {"model": model}
        )

    def turns(self) -> tuple[Turn, ...]:
        """Let the model learn, after its teacher where it has one."""
        if not self.taught:
            return (Turn("model", self.gradient, staged=True),)
        return (
            Turn("teacher", self.teacher_gradient, until=self.share),
            Turn("model", self.gradient, since=self.share, heir_of="teacher", staged=True),
        )

    def teacher_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss) of the teacher."""
        return mean_loss(self.denoising, params["teacher"], batch, noise)  # (CS.3)

    def gradient(
        self, params: Any, batch: Array, noise: Noise, stage: Stage | None = None
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss) of the model."""
        step, steps, average = stage or (0, 1, params)
        count = self.fine + 1 if stage is None else self.count_at(step, steps)
        teacher = average["teacher"] if self.taught else None  # (CS.2), or (CS.3)
        objective = self.loss(count, teacher)
        target = average["model"] if self.target == "average" else None
        return mean_loss(objective, params["model"], batch, noise, target=target)

    def count_at(self, step: int, steps: int) -> int:
        """Return how many levels a step of training has."""
        return curriculum(step, steps, self.coarse, self.fine)  # (CS.1)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Jump from noise to data in so many calls; or, as its teacher, walk by Heun's rule.

        Raises ValueError for a sampler that there is not, and for more steps than the finest grid
        of training has.
        """
        refuse_sampler("consistency", self.samplers, sampler, steps)
        if steps > self.fine:
            raise ValueError(
                f"consistency learns on grids of {self.fine} steps at most: take 1 .. {self.fine}, "
                f"not {steps}"
            )
        if sampler == "teacher" and not self.taught:
            raise ValueError("this consistency model has no teacher: train it with taught=true")
        steps = steps or (TEACHERS_STEPS if sampler == "teacher" else self.sample_steps)
        falling = karras_levels(steps + 1, self.first, self.last)[::-1]
        dtype = next(tree.leaves(params)).dtype
        z = noise.at("start").normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)
        x, walk = self.last * z, noise.at("walk")
        if sampler == "teacher":
            teacher = self._calls(self.estimator, params["teacher"])
            x = sample_edm(teacher, x, (*falling[:-1], 0.0), walk, ops=self.ops)
        else:
            model = self._calls(self.jumper, params["model"])
            x = sample_multistep(model, x, falling[:-1], self.first, walk, ops=self.ops)
        return np.clip(x, -self.clip, self.clip) if self.clip else x

    def _calls(self, network: Preconditioned, params: Any) -> Jump:
        """Return a network at one level, some examples at a time."""

        def call(x: Array, sigma: float) -> Array:
            def some(x: Array) -> Array:
                return network.forward(params, x, np.full(len(x), sigma, like=x))[0]

            return by_parts(some, x)

        return call
