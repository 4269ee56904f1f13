r"""A diffusion policy: a plan of actions, denoised beside what is observed.

Shapes     N rows, H actions of a plan.   c : (N, 2), or (N, 4) with the goal
           plan, a, ε : (N, 2 H)    t : (N,) in 1 .. T    loss : (N,)
Lectures   0 (imitation learning as conditional generation)
Sources    chi2023-diffusion-policy;  ho2020-ddpm;  song2021-ddim

π(plan | c) is whatever a diffusion of plans ends in. c is told to the network and never noised:

    loss = w_t ‖ε̂(√ᾱ_t plan + √(1 − ᾱ_t) ε, t, c) − ε‖²                               (DF.1)
    acting:  observe c, a ~ N(0, I) at level T, then steps of DDIM or of the ancestral
             sampler down to level 0, all with the same c                              (DF.2)
             do the first `execute` of the H actions, and observe again                (DF.3)

Where the expert goes either way, a Gaussian's best plan is the mean of both (bc.py). A diffusion
has no need to choose one shape of π: by its noise a plan goes one way or the other.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen.data.demonstrations import ACTION, FIRST, STATE
from refgen.models.given import GivenMLP
from refgen.models.told import Told
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.objectives.ddpm import WEIGHTS
from refgen.ops.protocol import Ops
from refgen.processes import SCHEDULES, Schedule
from refgen.samplers import sample_ancestral, sample_ddim
from refgen.systems.policy import observed_of, paths_of, planned_of, refuse_rows, roll
from refgen.systems.single import mean_loss
from refgen.systems.system import Turn, refuse_sampler, refuse_unknown
from refgen.systems.walking import walked
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class DiffusionPolicy:
    """A noise predictor ε̂(plan, t | state, goal) under a schedule of T levels.

    A plan is `chunk` actions, of which `execute` are done before looking again, 0 for all. A plan
    is denoised in sample_steps steps, 0 for all T levels; there are no more than T. clip limits the
    estimate of the plan meanwhile, 0 for no limit: a schedule that ends in nearly pure noise turns
    a small error of ε̂ into a large one of the plan. world is where it walks.
    """

    shape: tuple[int, ...]
    T: int = 100
    schedule: str = "cosine"
    weight: str = "simple"
    goal: bool = True
    chunk: int = 4
    execute: int = 0
    hidden: int = 128
    blocks: int = 3
    clip: float = 2.0
    sample_steps: int = 20
    world: str = "navigation"
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("ddim", "ancestral")

    def __post_init__(self) -> None:
        refuse_rows("diffusion-policy", self.shape, self.world, self.chunk, self.execute)
        refuse_unknown("loss weight", self.weight, WEIGHTS)
        if self.sample_steps < 0:
            raise ValueError(f"sample_steps is 0 or more, not {self.sample_steps}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the actions, 0 for none, not {self.clip}")
        _ = self.objective(np.zeros((0, self.told)))  # refuses settings that cannot be

    @property
    def told(self) -> int:
        """How many numbers are observed."""
        return FIRST if self.goal else STATE

    @property
    def process(self) -> Schedule:
        """The noise levels. Raises ValueError for a schedule that does not exist."""
        refuse_unknown("schedule", self.schedule, SCHEDULES)
        return SCHEDULES[self.schedule](self.T)

    @property
    def network(self) -> GivenMLP:
        """The network ε̂, of the plan, the time and what is observed."""
        return GivenMLP(ACTION * self.chunk, self.told, self.hidden, self.blocks, self.ops)

    def objective(self, observed: Array) -> NoisePrediction:
        """Return the loss of plans, where (N, told) is observed with them."""
        given = Told(self.network, {"condition": observed})
        return NoisePrediction(given, self.process, self.weight, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.network.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each row, gradient of the mean loss)."""
        objective = self.objective(observed_of(batch, self.goal))
        plans = planned_of(batch, self.chunk)
        return mean_loss(objective, params["model"], plans, noise)  # (DF.1)

    def act(
        self, params: Any, observed: Array, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Denoise a plan for each thing observed, (N, execute, 2)."""
        refuse_sampler("diffusion-policy", self.samplers, sampler, steps)
        given, schedule = Told(self.network, {"condition": observed}), self.process
        count = len(observed)

        def predict(x: Array, t: int) -> Array:
            return given.forward(params["model"], x, np.full(count, t, like=x))[0]

        start, size = noise.at("start"), (count, ACTION * self.chunk)
        x = start.normal(size, dtype=observed.dtype, normals=self.ops.normals)
        times = walked(self.T, steps, self.sample_steps)
        denoise = sample_ancestral if sampler == "ancestral" else sample_ddim
        plan = denoise(
            predict,
            x,
            schedule,
            noise.at("walk"),
            times=times,
            clip=self.clip or None,
            ops=self.ops,
        )  # (DF.2)
        plan = plan.reshape(count, self.chunk, ACTION)
        return plan[:, : self.execute or self.chunk]  # (DF.3)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk through the world, (count, T + 1, 2): paths, where other systems draw examples."""
        walked = roll(self, params, count, noise, sampler=sampler, steps=steps)
        return paths_of(self, params, walked)
