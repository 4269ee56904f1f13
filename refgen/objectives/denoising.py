r"""The denoising loss: any prediction, under any weight, on a schedule or on a path.

Shapes     N batch, *S axes of one example.   data, x, noise, y : (N, *S)    loss : (N,)
           t : (N,), whole in 1 .. T on a schedule, real in (0, 1] on a path
           a, b, p, q, w : (N,), one for each example
Sources    ho2020-ddpm  algorithm 1;  song2021-sde  eq. 7;  salimans2022-distillation  section 4;
           kingma2023-understanding  (one loss, many names);  karras2022-edm  table 1 (times);
           song2019-ncsn  eq. 5-6 (the score, weighted by σ²)

A time and a noise are drawn, and the network is taught one direction in the plane of data and
noise (PA.6 of processes/parametrization.py); a and b are the process's levels at t:

    x = a data + b noise,   y = p data + q noise                                       (DN.1)
    loss = w ‖ŷ(x, t) − y‖²,   w = W / Δ²                                              (DN.2)

W is what the loss weighs, whatever is predicted, and Δ the kind's area (WE.2 of
processes/weights.py). So two networks that say the same about x, one as noise and one as v, have
the same loss and the same gradient under the same name of a weight. Only the network's task
differs: what size of numbers it has to give, and how far rounding of them is felt.

    schedule    t ~ U{1 .. T}                                                          (DN.3)
    path        t ~ U(t₀, t₁), or σ₁ t = e^(m + s z), z ~ N(0, 1), which is EDM's      (DN.4)

With the weight elbo the mean over t is, in nats, the sum of the bound's terms that have parameters;
on a path, for t uniform, their integral over (t₀, t₁), divided by t₁ − t₀. Other weights give no
nats.

Noise levels in place of a schedule, kind score and weight simple make W/Δ² = b² = σ²: the loss of
NCSN, ‖σ s + noise‖².

Adjoint. Nothing but the prediction depends on parameters:

    dŷ = 2 w dloss (ŷ − y)                                                             (DN.5)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.objectives.ddpm import Predictor
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.processes.discrete import DiscretePath, of_schedule
from refgen.processes.parametrization import coefficients, convert, direction
from refgen.processes.path import Levels, Path, Time
from refgen.processes.schedule import Schedule
from refgen.processes.weights import WEIGHTS, elbo_of_step, in_kind
from refgen.typing import Array, Cache, Grads

Weight = Callable[[Levels], Time]  # W of levels, as in processes/weights.py
Times = Callable[[Noise, int], Array]  # a place and a count -> the times of a path, (N,)
TOLD = ("time", "sigma")
CLOCK = 1000.0  # a network is told 1000 t: its embedding is made for whole numbers


@dataclass(frozen=True)
class UniformTimes:
    """t ~ U(first, last). Raises ValueError unless 0 ≤ first < last ≤ 1.

    Near t = 0 a score is as large as 1/b, and the weight elbo as 1/t: first keeps away from there.
    """

    first: float = 1e-3
    last: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last <= 1:
            raise ValueError(f"times: 0 ≤ first < last ≤ 1, not {self.first}, {self.last}")

    def __call__(self, noise: Noise, count: int) -> Array:
        """Return count times, (N,) float64."""
        times: Array = self.first + (self.last - self.first) * noise.uniform(count)  # (DN.4)
        return times


@dataclass(frozen=True)
class LogNormalTimes:
    """Times of a path whose noise level is unit · t, as EDM's; log level ~ N(mean, std²)."""

    mean: float = -1.2
    std: float = 1.2
    unit: float = 80.0

    def __call__(self, noise: Noise, count: int) -> Array:
        """Return count times, (N,) float64; a few in a million exceed 1."""
        times: Array = np.exp(self.mean + self.std * noise.normal(count)) / self.unit  # (DN.4)
        return times


class Task(NamedTuple):
    """What is asked of the network in one pass, each (N,)."""

    t: Array  # as the network is told it
    a: Array
    b: Array
    p: Array
    q: Array
    w: Array


@dataclass(frozen=True)
class Denoising:
    """The loss of a network ŷ(x, t) that predicts data, noise, v, score, velocity or mean.

    process is a Schedule, a DiscretePath or a continuous path; weight a name of
    processes/weights.py with its settings, or a function that gives W; variance, the reverse
    process's, concerns elbo on a schedule; times draws those of a path. The network is told the
    time (t, or 1000 t on a path), or the noise level b/a where told is "sigma".

    Raises ValueError for names that do not exist, and for a kind that says nothing about the data
    at some time that is drawn.
    """

    model: Predictor
    process: Schedule | Path
    kind: str = "noise"
    weight: str | Weight = "simple"
    settings: Mapping[str, float] = field(default_factory=dict)
    variance: str = "beta"
    times: Times = UniformTimes()
    told: str = "time"
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.weight, str) and self.weight not in WEIGHTS:
            have = ", ".join(WEIGHTS)
            raise ValueError(f"unknown loss weight {self.weight!r}; there are {have}")
        if self.told not in TOLD:
            raise ValueError(f"a network is told one of {', '.join(TOLD)}, not {self.told!r}")
        if isinstance(self.path, DiscretePath):
            _ = self._table  # refuses what cannot be
        else:
            first, last = (getattr(self.times, name, 0.5) for name in ("first", "last"))
            self._task(np.array([first, 0.5 * (first + last), last]))

    @cached_property
    def path(self) -> Path:
        """The process as a path."""
        return of_schedule(self.process) if isinstance(self.process, Schedule) else self.process

    def forward(
        self, params: Any, data: Array, noise: Noise, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); t and the noise are drawn at this place.

        given goes to the network: labels, image, tokens. Times of a path are drawn in ordinary
        memory, and all that follows from them crosses to a device at once.
        """
        dtype, place, path = data.real.dtype, noise.at("t"), self.path
        if isinstance(path, DiscretePath):
            t = 1 + place.integers(path.T, len(data), words=self.ops.words)  # (DN.3)
            rows = beside(self._table, t)[t].astype(dtype)
            task = Task(*(rows[:, i] for i in range(len(Task._fields))))
            task = task if self.told == "sigma" else task._replace(t=t)
        else:
            drawn_task = np.stack(self._task(self.times(place, len(data))))
            task = Task(*self.ops.put(drawn_task.astype(dtype)))
        x, drawn = self.ops.noising_drawn(data, task.a, task.b, noise.at("noise").stream)  # (DN.1)
        return self._compare(params, x, data, drawn, task, given)

    def value(
        self, params: Any, data: Array, drawn: Array, t: Array, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return the same for a noise (N, *S) and times (N,) that are given."""
        task = self._task(t)
        task = Task(task.t, *(column.astype(data.real.dtype) for column in task[1:]))
        x, _ = self.ops.noising_forward(data, drawn, task.a, task.b)
        return self._compare(params, x, data, drawn, task, given)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        w, error_cache, model_cache = cache
        dy, _ = self.ops.squared_error_backward(w * dloss, error_cache)  # (DN.5)
        _, grads = self.model.backward(dy, model_cache)
        return grads

    def predict(
        self, params: Any, x: Array, t: float | Array, kind: str = "noise", **given: Any
    ) -> Array:
        """Return what the network says at t, one time for all or (N,), as another kind.

        Times of a path that differ between examples must lie in ordinary memory. Raises ValueError
        where the kinds do not determine each other.
        """
        each = np.full(len(x), t, like=x) if np.ndim(t) == 0 else np.asarray(t, like=x)
        path = self.path
        y, _ = self.model.forward(params, x, self.tell(each), **given)
        if kind == self.kind:
            return y
        if np.ndim(t) == 0 or not isinstance(path, DiscretePath):
            levels, earlier = _around(path, t)
            return convert(x, y, self.kind, kind, levels, earlier=earlier)
        pairs = coefficients(self.kind, kind, *_around(path, np.arange(1, path.T + 1)))
        of_x, of_y = (
            beside(np.concatenate([[0.0], np.broadcast_to(c, path.T)]), each)[each].astype(x.dtype)
            for c in pairs
        )
        return self.ops.noising_forward(x, y, of_x, of_y)[0]

    def _compare(
        self, params: Any, x: Array, data: Array, drawn: Array, task: Task, given: Any
    ) -> tuple[dict[str, Array], Cache]:
        y = {"data": data, "noise": drawn}.get(self.kind)
        if y is None:
            y = self.ops.noising_forward(data, drawn, task.p, task.q)[0]
        y_hat, model_cache = self.model.forward(params, x, task.t, **given)
        error, error_cache = self.ops.squared_error_forward(y_hat, y)
        return {"loss": task.w * error}, (task.w, error_cache, model_cache)  # (DN.2)

    @cached_property
    def _table(self) -> Array:
        """The tasks of t = 0 .. T, (T + 1, 6) float64; t = 0 is never asked."""
        assert isinstance(self.path, DiscretePath)  # others have no table
        rows = np.stack(self._task(np.arange(1, self.path.T + 1)), axis=1)
        return np.concatenate([np.zeros_like(rows[:1]), rows])

    def _task(self, t: Array) -> Task:
        """Return what is asked at times in ordinary memory."""
        path = self.path
        levels, earlier = _around(path, t)
        if isinstance(self.weight, str) and self.weight == "elbo" and earlier is not None:
            steps = path.T if isinstance(path, DiscretePath) else 1
            W = elbo_of_step(levels, earlier, variance=self.variance, steps=steps)
        else:
            weight = WEIGHTS[self.weight] if isinstance(self.weight, str) else self.weight
            W = weight(levels, **self.settings)
        w = in_kind(W, self.kind, levels, earlier=earlier)
        columns = (self.tell(t), levels.a, levels.b, *direction(self.kind, levels, earlier), w)
        return Task(*(np.broadcast_to(column, np.shape(t)) for column in columns))

    def tell(self, t: Array) -> Array:
        """Return times as the network is told them."""
        path = self.path
        if self.told == "sigma":
            levels = path.levels(t)
            return np.asarray(levels.b / levels.a, like=t)
        return t if isinstance(path, DiscretePath) else CLOCK * t


def _around(path: Path, t: Any) -> tuple[Levels, Levels | None]:
    """Return the levels at t and, on a discrete path, those of the step before."""
    return path.levels(t), path.levels(t - 1) if isinstance(path, DiscretePath) else None
