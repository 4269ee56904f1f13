r"""Behaviour cloning: do what was shown, as likely as it was shown.

Shapes     N rows, H actions of a plan.   c : (N, 2), or (N, 4) with the goal    plan : (N, 2 H)
           loss : (N,), in nats
Lectures   0 (imitation learning as conditional generation)
Sources    pomerleau1988-alvinn

The lecture's p(x | c), where c is what is observed, a state, or a state and a goal, and x is a
plan, the next H actions of the expert:

    loss = −log π(plan | c)                                                            (BC.1)
    acting:  observe c, plan by the mode of π or by a draw, do the first `execute` actions of the
             plan, and observe again                                                   (BC.2)

π is a Gaussian or a table of cells (models/policy.py). It learns where the expert has been, and
acts where it has come to itself: that may be elsewhere (exact/tightrope.py).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from refgen import ops as reference
from refgen.data.demonstrations import ACTION, FIRST, STATE
from refgen.models.policy import CategoricalPolicy, GaussianPolicy
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.systems.policy import observed_of, paths_of, planned_of, refuse_rows, roll
from refgen.systems.single import mean_gradient
from refgen.systems.system import Turn, refuse_sampler, refuse_unknown
from refgen.typing import Array, Grads, Params

POLICIES = ("gaussian", "categorical")


@dataclass(frozen=True)
class BC:
    """π(plan | state), or with `goal` π(plan | state, goal), by maximum likelihood.

    policy is gaussian or categorical; the latter cuts [−limit, limit] into bins, in each coordinate
    of the actions. A plan is `chunk` actions, of which `execute` are done before looking again, 0
    for all. Samplers: draw, a draw of π, and mode, its likeliest plan; a Gaussian acts by its mode,
    as a regression would, a categorical policy draws. world is where it walks.
    """

    shape: tuple[int, ...]
    policy: str = "gaussian"
    goal: bool = False
    chunk: int = 4
    execute: int = 0
    hidden: int = 128
    depth: int = 2
    bins: int = 20
    limit: float = 2.0
    world: str = "navigation"
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("draw", "mode")
    name: ClassVar[str] = "bc"

    def __post_init__(self) -> None:
        refuse_rows(self.name, self.shape, self.world, self.chunk, self.execute)
        _ = self.model  # refuses settings that cannot be

    @property
    def model(self) -> GaussianPolicy | CategoricalPolicy:
        """The policy π. Raises ValueError for one that does not exist."""
        told, done = FIRST if self.goal else STATE, ACTION * self.chunk
        refuse_unknown("policy", self.policy, POLICIES)
        if self.policy == "gaussian":
            return GaussianPolicy(told, done, self.hidden, self.depth, self.ops)
        return CategoricalPolicy(
            told, done, self.bins, self.limit, self.hidden, self.depth, self.ops
        )

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.model.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient, unit="nats"),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each row in nats, gradient of the mean loss). Nothing is drawn."""
        told, done = observed_of(batch, self.goal), planned_of(batch, self.chunk)
        loss, cache = self.model.forward(params["model"], told, done)  # (BC.1)
        return {"loss": loss}, mean_gradient(self.model, {"loss": loss}, cache)

    def act(
        self, params: Any, observed: Array, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Return a plan for each thing observed, (N, execute, 2)."""
        refuse_sampler(self.name, self.samplers, sampler, steps)
        if steps:
            raise ValueError(f"{self.name} acts in one pass and cannot take {steps} sampling steps")
        theta = params["model"]
        if (sampler or ("mode" if self.policy == "gaussian" else "draw")) == "mode":
            plan = self.model.mode(theta, observed)
        else:
            plan = self.model.draw(theta, observed, noise)
        plan = plan.reshape(len(plan), self.chunk, ACTION)
        return plan[:, : self.execute or self.chunk]  # (BC.2)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk through the world, (count, T + 1, 2): paths, where other systems draw examples."""
        walked = roll(self, params, count, noise, sampler=sampler, steps=steps)
        return paths_of(self, params, walked)
