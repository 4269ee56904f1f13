"""What DDPM and those that are guided or told something share: levels, sizes and the walk back.

Lectures   0, 2, 3, 4 (algorithm 2)          Source  ho2020-ddpm;  song2021-ddim

The walk is apart from what is asked at each step: a predictor (x, t) -> ε̂ comes in from outside,
guided or told, and any sampler takes it as it would take a network.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS
from refgen.noise import Noise
from refgen.objectives import loss_weights
from refgen.objectives.ddpm import WEIGHTS
from refgen.ops.protocol import Ops
from refgen.processes import SCHEDULES, Schedule, stride
from refgen.samplers import VARIANCES, sample_ancestral, sample_ddim
from refgen.systems.system import name_of, refuse_sampler, refuse_unknown
from refgen.typing import Array

ROWS, ENTRIES = 64, 4096  # that go through a network together: more would not stay in the caches
Predict = Callable[[Array, int], Array]


@dataclass(frozen=True)
class Walking:
    """The levels of noise, the size of the network and the way back.

    model is mlp, unet or dit; hidden and blocks are its sizes (refgen.models.denoiser). clip limits
    the estimate of the data while sampling; 0 means no limit. sampler and sample_steps are what
    samples are drawn with unless asked otherwise: one of `samplers`, and how many levels it visits,
    0 for all T of them, which is the most.
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
    sampler: str = "ancestral"
    sample_steps: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("ancestral", "ddim")

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, DENOISERS)
        refuse_unknown("loss weight", self.weight, WEIGHTS)
        refuse_unknown("variance", self.variance, VARIANCES)
        refuse_unknown("sampler", self.sampler, self.samplers)
        loss_weights(self.process, self.weight)  # refuses a schedule that cannot be
        if self.sample_steps < 0:
            raise ValueError(f"sample_steps is 0 or more, not {self.sample_steps}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")

    @property
    def process(self) -> Schedule:
        """The noise levels. Raises ValueError for a schedule that does not exist."""
        refuse_unknown("schedule", self.schedule, SCHEDULES)
        return SCHEDULES[self.schedule](self.T)

    def start(self, params: Any, shape: tuple[int, ...], noise: Noise) -> Array:
        """Draw where a walk begins, in the type of the parameters."""
        dtype = next(tree.leaves(params)).dtype
        return noise.at("start").normal(shape, dtype=dtype, normals=self.ops.normals)

    def walk(
        self, predict: Predict, x: Array, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Return data from x, N(0, I); by the sampler and over the levels of the settings.

        Raises ValueError for a sampler or steps that there are not.
        """
        refuse_sampler(name_of(self), self.samplers, sampler, steps)
        schedule, clip, times = self.process, self.clip or None, self.times(steps)
        place = noise.at("walk")
        if (sampler or self.sampler) == "ddim":
            return sample_ddim(predict, x, schedule, place, times=times, clip=clip, ops=self.ops)
        return sample_ancestral(
            predict,
            x,
            schedule,
            place,
            times=times,
            variance=self.variance,
            clip=clip,
            ops=self.ops,
        )

    def times(self, steps: int = 0) -> tuple[int, ...]:
        """Return the levels of a walk of so many steps, sample_steps or all unless said."""
        return walked(self.T, steps, self.sample_steps)


def walked(T: int, steps: int, usual: int) -> tuple[int, ...]:
    """Return the levels of so many steps, of as many as usual for 0, of T where that is 0 too.

    A recipe's usual number is cut to T, which may be smaller than it was written for; steps that
    are asked for are not. Raises ValueError where they are more than T.

    >>> walked(10, 0, 5), walked(4, 0, 50), walked(4, 2, 0)
    ((10, 8, 6, 4, 2, 0), (4, 3, 2, 1, 0), (4, 2, 0))
    """
    return stride(T, steps or min(usual, T) or T)


def answers(
    network: Any, params: Any, x: Array, t: int, given: Mapping[str, Array] | None = None
) -> Array:
    """Return network(x, t, given) at one time, some examples at a time."""

    def some(x: Array, *told: Array) -> Array:
        when = np.full(len(x), t, like=x)
        named = dict(zip(given or {}, told, strict=True))
        y, _ = network.forward(params, x, when, **named)
        answer: Array = y
        return answer

    return by_parts(some, x, *(given or {}).values())


def by_parts(function: Callable[..., Array], x: Array, *others: Array) -> Array:
    """Return function(x, *others), ROWS examples at a time or, of small ones, ENTRIES numbers."""
    rows = max(ROWS, ENTRIES // math.prod(x.shape[1:]))
    parts = [
        function(*(a[i : i + rows] for a in (x, *others))) for i in range(0, max(len(x), 1), rows)
    ]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
