r"""Progressive distillation: a teacher of many steps, and students who halve them again and again.

Shapes     N batch, *S axes of one example.   data, noise, x, v, D : (N, *S)
           a = cos(½πt), b = sin(½πt) : (N,)    times : falling, 1 to 0
Lectures   0 ("sampling is expensive: DDIM, consistency models, distillation")
Source     salimans2022-distillation  algorithms 1 (teacher), 2 (rounds), section 4 (v, weight)

On the circle x = a data + b noise a network predicts v = a noise − b data, from which the data
follow even at t = 1, where x is noise alone and says nothing of them:

    teacher     W ‖v̂(x, t) − v‖²,   W = max(a², b²),   t ~ U(0, 1)                       (PS.1)
    D = a x − b v̂(x, t),   held within ±clip                                            (PS.2)

for a x − b v = (a² + b²) data. A sampler of K steps walks t = 1, 1 − 1/K, .. 0 by DDIM along D. The
first student takes half of the teacher's steps, the second half of the first's. Each begins as its
teacher's heir, and is taught that one of its steps is two of its teacher's, x being noised to one
of its own K times t > 0 (objectives/distillation.py):

    steps       first → first/2 → ... → last,   a player for each                       (PS.3)
    student     W ‖v̂(x, t) − v*‖²,   v* what its teacher's two steps from x imply        (PS.4)

All networks are kept. Asked for K steps, the student of K walks; asked for as many as the first
teacher has, or more, that teacher. A target needs a teacher who stands still, and here it is the
teacher's moving average: it is final when its part of the training is over, and it is what the
student began as.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS, Denoiser, denoiser
from refgen.noise import Noise
from refgen.objectives.denoising import CLOCK, Denoising, UniformTimes
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.ops.protocol import Ops
from refgen.processes.path import CosinePath
from refgen.processes.weights import WEIGHTS
from refgen.samplers.walk import falling
from refgen.systems.single import mean_loss
from refgen.systems.system import Stage, Turn, refuse_sampler, refuse_unknown
from refgen.systems.walking import by_parts
from refgen.typing import Array, Grads, Params

PATH = CosinePath()
Estimate = Callable[[Array, Array], Array]  # (x, t (N,)) -> D


def even_times(steps: int) -> tuple[float, ...]:
    """Return t = 1, 1 − 1/steps, .. 0; every other one of 2 K steps are those of K.

    >>> even_times(4)
    (1.0, 0.75, 0.5, 0.25, 0.0)
    """
    return tuple(i / steps for i in range(steps, -1, -1))


def walk(estimate: Estimate, x: Array, times: Sequence[float]) -> Array:
    """Return data from x, N(0, I), by DDIM along an estimate of the data; a call for each step."""
    for t, s in pairwise(falling(times)):
        (a, b, *_), (a_next, b_next, *_) = (map(float, PATH.levels(at)) for at in (t, s))
        data = estimate(x, np.full(len(x), t, like=x))
        x = a_next * data + (b_next / b) * (x - a * data)
    return x


@dataclass(frozen=True)
class Progressive:
    """A teacher of v and its students, each of half as many steps.

    first is the teacher's number of steps, last that of the last student: first = last · 2ⁿ, n ≥ 1.
    model is mlp, unet or dit; hidden and blocks are its sizes (refgen.models.denoiser). share is
    the teacher's part of the training; its students have equal parts of the rest. clip limits
    estimates of the data, in walking and in teaching; 0 means no limit.
    """

    shape: tuple[int, ...]
    first: int = 32
    last: int = 4
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    share: float = 0.4
    weight: str = "truncated"
    clip: float = 0.0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("student", "teacher")

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, DENOISERS)
        refuse_unknown("loss weight", self.weight, [name for name in WEIGHTS if name != "elbo"])
        rounds = self.first // max(self.last, 1)
        if self.last < 1 or self.last * rounds != self.first or rounds < 2 or rounds & (rounds - 1):
            raise ValueError(
                f"steps are halved from first to last: first = last · 2ⁿ, n ≥ 1, not {self.first} "
                f"and {self.last}"
            )
        if not 0 < self.share < 1:
            raise ValueError(f"share is the teacher's part, between 0 and 1, not {self.share}")
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")
        _ = self.denoising, self.distillation(None, self.last)  # refuse settings that cannot be

    @property
    def network(self) -> Denoiser:
        """The network v̂, (N, *shape) and (N,) -> (N, *shape)."""
        return denoiser(self.model, self.shape, self.hidden, self.blocks, ops=self.ops)

    @property
    def counts(self) -> tuple[int, ...]:
        """The steps of the students, in the order in which they learn."""
        halved = [self.first]
        while halved[-1] > self.last:
            halved.append(halved[-1] // 2)  # (PS.3)
        return tuple(halved[1:])

    @property
    def denoising(self) -> Denoising:
        """The loss of the teacher."""
        times = UniformTimes(0.0, 1.0)
        return Denoising(self.network, PATH, "v", self.weight, times=times, ops=self.ops)

    def distillation(self, teacher: Any, steps: int) -> ProgressiveDistillation:
        """Return the loss of the student of so many steps; teacher has the parameters of v̂."""
        return ProgressiveDistillation(
            self.network,
            PATH,
            even_times(2 * steps),
            self.estimate(teacher),
            weight=self.weight,
            ops=self.ops,
        )

    def estimate(self, params: Any) -> Estimate:
        """Return the estimate of the data of a network with such parameters."""
        network, limit = self.network, self.clip

        def data(x: Array, t: Array) -> Array:
            levels, axes = PATH.levels(t), (-1,) + (1,) * (x.ndim - 1)
            a, b = (np.reshape(level, axes).astype(x.dtype) for level in (levels.a, levels.b))
            found: Array = a * x - b * network.forward(params, x, CLOCK * t)[0]  # (PS.2)
            return np.clip(found, -limit, limit) if limit else found

        return data

    def init(self, noise: Noise) -> Params:
        """Draw {"teacher": ...}; the students, "student16" and so on, are copies of it."""
        teacher = self.network.init(noise)
        students = {named(steps): tree.map(np.copy, teacher) for steps in self.counts}
        return {"teacher": teacher, **students}

    def turns(self) -> tuple[Turn, ...]:
        """Let the teacher learn, and then each student from the one before."""
        turns, before = [Turn("teacher", self.teacher_gradient, until=self.share)], "teacher"
        ends = [self.share, *(self._end(i) for i in range(len(self.counts)))]
        for steps, (since, until) in zip(self.counts, pairwise(ends), strict=True):
            learn = partial(self.student_gradient, steps=steps, teacher=before)
            player = named(steps)
            turns.append(Turn(player, learn, since=since, until=until, heir_of=before, staged=True))
            before = player
        return tuple(turns)

    def teacher_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss) of the teacher."""
        return mean_loss(self.denoising, params["teacher"], batch, noise)  # (PS.1)

    def student_gradient(
        self,
        params: Any,
        batch: Array,
        noise: Noise,
        stage: Stage | None = None,
        *,
        steps: int,
        teacher: str,
    ) -> tuple[dict[str, Array], Grads]:
        """Return the same of the student of so many steps, taught by another player's average."""
        held = (params if stage is None else stage.average)[teacher]
        objective = self.distillation(held, steps)
        return mean_loss(objective, params[named(steps)], batch, noise)  # (PS.4)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from noise to data: by the last student, or by whoever learned so many steps.

        Raises ValueError for a sampler that there is not, and for steps that nobody learned.
        """
        refuse_sampler("progressive-distillation", self.samplers, sampler, steps)
        steps = steps or (self.first if sampler == "teacher" else self.last)
        player = "teacher" if sampler == "teacher" or steps >= self.first else named(steps)
        if player != "teacher" and steps not in self.counts:
            have = ", ".join(map(str, self.counts))
            raise ValueError(
                f"nobody learned to walk in {steps} steps: students walk in {have}, the teacher in "
                f"{self.first} or more; sampler=teacher takes any number"
            )
        dtype = next(tree.leaves(params)).dtype
        x = noise.at("start").normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)
        estimate = partial(by_parts, self.estimate(params[player]))
        return walk(estimate, x, even_times(steps))

    def _end(self, i: int) -> float:
        """Return when the part of a student is over."""
        return self.share + (1 - self.share) * (i + 1) / len(self.counts)


def named(steps: int) -> str:
    """Return the player of so many steps.

    >>> named(4)
    'student4'
    """
    return f"student{steps}"
