r"""Progressive distillation: one step of a student does what two steps of its teacher do.

Shapes     N batch, *S axes of one example.   data, x, noise, y : (N, *S)    loss : (N,)
           times : 2 K + 1 of them, falling; a_t, b_t, w, ... : (N,), one for each example
Source     salimans2022-distillation  algorithm 2, section 4

A teacher of 2 K steps teaches a student of K. At a student's time t, with t' half way and s at the
end of its step, the teacher walks by DDIM along its estimate D of the data,

    x = a_t data + b_t noise                                                            (PG.1)
    step(x, t, s) = a_s D(x, t) + b_s (x − a_t D(x, t)) / b_t                           (PG.2)
    x'' = step(step(x, t, t'), t', s)                                                   (PG.3)

and the student must land there in one step: (PG.2) from t to s, with data* for D, must be x''. So
data* is not the datum that x was made of, but

    data* = (x'' − (b_s/b_t) x) / (a_s − (b_s/b_t) a_t)                                  (PG.4)

The denominator is never 0, since b/a grows with t. The target is a function of x, so the loss has
no floor, and its optimum copies the teacher's map. It is put in the student's kind, v or data, with
p and q of (PA.6) in processes/parametrization.py and the noise that data* leaves in x:

    loss = w ‖ŷ − y*‖²,   y* = p data* + q (x − a_t data*) / b_t                          (PG.5)

w = W/Δ², as in processes/weights.py. The simple W = a² is 0 where no signal is left, so of the
first step nothing would be learnt; with W = max(a², b²), truncated, an error of data* weighs
max(SNR, 1), and with a² + b², v, SNR + 1. Nor would a noise predicted there say anything of data*.

Adjoint. The teacher stands still:

    dŷ = 2 w dloss (ŷ − y*)                                                             (PG.6)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.objectives.ddpm import Predictor
from refgen.objectives.denoising import CLOCK
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.processes.discrete import DiscretePath, of_schedule
from refgen.processes.parametrization import direction
from refgen.processes.path import Path
from refgen.processes.schedule import Schedule
from refgen.processes.weights import WEIGHTS, in_kind
from refgen.typing import Array, Cache, Grads

Teacher = Callable[[Array, Array], Array]  # (x, t (N,) of the process) -> E[data | x]


class Step(NamedTuple):
    """One student's step for each example, (N,); times are as the process has them."""

    t: Array
    half: Array
    a: Array
    b: Array
    a_half: Array
    b_half: Array
    a_end: Array
    b_end: Array
    p: Array  # y = p data + q noise at t
    q: Array
    w: Array


@dataclass(frozen=True)
class ProgressiveDistillation:
    """The loss of a student ŷ(x, t) on a schedule or a path.

    times are the teacher's, falling to the data's end, an odd number of them: the student's are
    every other one. teacher(x, t) estimates the data; t holds the process's own times. The student
    is told t, or 1000 t on a path. Raises ValueError for other times, an unknown weight, and a
    kind that says nothing at one of them.
    """

    model: Predictor
    process: Schedule | Path
    times: Sequence[float]
    teacher: Teacher
    kind: str = "v"
    weight: str = "truncated"
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        falls = all(t > s for t, s in pairwise(self.times))
        if len(self.times) < 3 or len(self.times) % 2 == 0 or not falls:
            raise ValueError(
                f"a student takes every other one of 2 K + 1 falling times, K ≥ 1, not "
                f"{len(self.times)}: {tuple(self.times)[:5]} ..."
            )
        if isinstance(self._path, DiscretePath) and any(t != int(t) for t in self.times):
            raise ValueError(f"the times of a schedule are whole numbers, not {self.times[:5]} ...")
        if self.weight not in WEIGHTS or self.weight == "elbo":
            have = ", ".join(name for name in WEIGHTS if name != "elbo")
            raise ValueError(f"unknown weight {self.weight!r} of a distillation; there are {have}")
        _ = self._table  # refuses what cannot be

    @property
    def student_times(self) -> tuple[float, ...]:
        """The times that the student walks, K + 1 of them: its students' teacher has these."""
        return tuple(self.times[::2])

    def forward(
        self, params: Any, data: Array, noise: Noise, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); the step and the noise are drawn at this place."""
        count = len(self.times) // 2
        k = noise.at("t").integers(count, len(data), words=self.ops.words)
        step = self.step(k, data)
        x, _ = self.ops.noising_drawn(data, step.a, step.b, noise.at("noise").stream)
        return self._compare(params, x, step, given)

    def value(
        self, params: Any, data: Array, drawn: Array, k: Array, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return the same for a noise (N, *S) and steps k (N,), 0 the noisiest, that are given."""
        step = self.step(k, data)
        x, _ = self.ops.noising_forward(data, drawn, step.a, step.b)  # (PG.1)
        return self._compare(params, x, step, given)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        w, error_cache, model_cache = cache
        dy, _ = self.ops.squared_error_backward(w * dloss, error_cache)  # (PG.6)
        return self.model.backward(dy, model_cache)[1]

    def aim(self, x: Array, step: Step) -> Array:
        """Return data*: the estimate of the data whose one step is the teacher's two."""
        half = self._walk(x, self.teacher(x, step.t), step.a, step.b, step.a_half, step.b_half)
        guess = self.teacher(half, step.half)
        end = self._walk(half, guess, step.a_half, step.b_half, step.a_end, step.b_end)  # (PG.3)
        ratio = step.b_end / step.b
        scale = 1 / (step.a_end - ratio * step.a)
        return self.ops.noising_forward(end, x, scale, -ratio * scale)[0]  # (PG.4)

    def _walk(self, x: Array, data: Array, a: Array, b: Array, a_end: Array, b_end: Array) -> Array:
        ratio = b_end / b
        return self.ops.noising_forward(data, x, a_end - ratio * a, ratio)[0]  # (PG.2)

    def _compare(
        self, params: Any, x: Array, step: Step, given: Any
    ) -> tuple[dict[str, Array], Cache]:
        data = self.aim(x, step)
        y = data
        if self.kind != "data":  # y = p data + q noise, with the noise that x and data imply
            of_data = step.p - step.q * step.a / step.b
            y = self.ops.noising_forward(data, x, of_data, step.q / step.b)[0]
        whole = isinstance(self._path, DiscretePath)
        y_hat, model_cache = self.model.forward(
            params, x, step.t if whole else CLOCK * step.t, **given
        )
        error, error_cache = self.ops.squared_error_forward(y_hat, y)
        return {"loss": step.w * error}, (step.w, error_cache, model_cache)  # (PG.5)

    def step(self, k: Array, data: Array) -> Step:
        """Return steps k (N,) of the student, 0 the noisiest, in the precision of the data."""
        rows = beside(self._table, k)[k].astype(data.real.dtype)
        step = Step(*(rows[:, i] for i in range(len(Step._fields))))
        if isinstance(self._path, DiscretePath):
            times = beside(np.asarray(self.times, np.int64), k)
            step = step._replace(t=times[2 * k], half=times[2 * k + 1])
        return step

    @property
    def _path(self) -> Path:
        return of_schedule(self.process) if isinstance(self.process, Schedule) else self.process

    @cached_property
    def _table(self) -> Array:
        """The student's steps, (K, 11) float64, the noisiest first."""
        path, whole = self._path, isinstance(self._path, DiscretePath)
        times = np.asarray(self.times, np.int64 if whole else np.float64)
        t, half, end = times[:-2:2], times[1::2], times[2::2]
        now, middle, last = (path.levels(at) for at in (t, half, end))
        w = in_kind(WEIGHTS[self.weight](now), self.kind, now)
        columns = (
            *(t, half, now.a, now.b, middle.a, middle.b, last.a, last.b),
            *direction(self.kind, now),
            w,
        )
        return np.stack([np.broadcast_to(column, t.shape) for column in columns], axis=1)
