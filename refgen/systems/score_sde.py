r"""What the score models in continuous time share: one network of (x, t), and many ways back.

Shapes     x, data, noise : (N, *shape)    t : a float in [0, 1], 0 data, 1 noise
Lectures   1 (the SDE), 3, 4 (the score)
Sources    song2021-sde  sections 3 and 4;  karras2022-edm  section 5 (unit inputs)

A path noises the data, x = a data + b noise (processes/path.py), and a network is taught what was
added, at all times at once (objectives/denoising.py). Its score is −ε̂/b, and every sampler of
refgen.samplers takes it. Where b grows to many times the data, x does too, so a network sees it
divided by its deviation, for data of mean 0 and deviation σ_d:

    y = network(x / √(a² σ_d² + b²), t)                                                (SS.1)

Adjoint. The network's dx, divided by the same.

A walk begins at t = 1 with a draw of N(0, b(1)² I), as if no signal were left. In n steps it visits
n times from 1 down to t₀, the first that training knew. There its last call takes the mean of the
data instead of one more small step:

    x ← (x − b ε̂(x, t₀)) / a                                                           (SS.2)

    sampler               what it is                                          network calls
    reverse-sde           Euler and Maruyama                                  n
    predictor-corrector   M steps of Langevin after each                      n + (n − 1) M
    probability-flow      the flow by Heun's rule in t                        2n − 1
    dpm-solver            second order in λ, multistep                        n
    ddim                  Euler's rule for x/a in b/a: first order            n

Times are even in t (`time`), even in log b/a (`noise`), or have Karras's b/a (`karras`), SP.5 of
processes/spacing.py.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS, denoiser
from refgen.noise import Noise
from refgen.objectives.denoising import CLOCK, Denoising, UniformTimes
from refgen.ops.protocol import Ops
from refgen.processes.discrete import DiscretePath
from refgen.processes.parametrization import KINDS, clip, coefficients, column
from refgen.processes.path import Path
from refgen.processes.spacing import karras, log_uniform, times_on_path
from refgen.processes.weights import WEIGHTS
from refgen.samplers.dpm_solver import sample_dpm_solver_2m
from refgen.samplers.ode import solve
from refgen.samplers.predictor_corrector import sample_predictor_corrector
from refgen.samplers.probability_flow import ProbabilityFlow, log_density, sample_probability_flow
from refgen.samplers.sde import sample_reverse_sde
from refgen.systems.single import Single
from refgen.systems.system import name_of, refuse_sampler, refuse_unknown
from refgen.systems.walking import by_parts
from refgen.typing import Array, Cache, Grads, Params

SPACINGS = ("time", "noise", "karras")
PREDICTIONS = tuple(kind for kind in KINDS if kind != "mean")  # which belongs to a step
Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x


@dataclass(frozen=True)
class Levelled:
    """A network whose input has deviation 1 at every time of a path, for data of data_std.

    It is told t, or 1000 t where time is continuous, as the losses tell it.
    """

    network: Any  # of (x, t), with init
    path: Path
    data_std: float = 1.0

    def __post_init__(self) -> None:
        if not self.data_std > 0:
            raise ValueError(f"data have a deviation above 0, not data_std = {self.data_std}")

    def init(self, noise: Noise) -> Params:
        """Draw the network's parameters."""
        params: Params = self.network.init(noise)
        return params

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        a, b, _, _ = self.path.levels(t if isinstance(self.path, DiscretePath) else t / CLOCK)
        scale = column(1 / np.sqrt((a * self.data_std) ** 2 + b * b), x)
        y, cache = self.network.forward(params, scale * x, t)  # (SS.1)
        return y, (scale, cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        scale, inner = cache
        dx, grads = self.network.backward(dy, inner)
        return scale * dx, grads


@dataclass(frozen=True)
class ScoreSDE(Single):
    """A network, its loss and the walks; what path it learns along is the subclass's.

    model is mlp, unet or dit; hidden and blocks are its sizes (refgen.models.denoiser), data_std
    is σ_d. kind is what the network says, weight what its errors weigh. sampler and sample_steps
    are the walk taken unless another is asked for; corrections and ratio are those of
    predictor-corrector; clip limits the estimate of the data on the way, 0 for no limit.
    """

    shape: tuple[int, ...]
    kind: str = "noise"
    weight: str = "simple"
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    data_std: float = 1.0
    sampler: str = "reverse-sde"
    sample_steps: int = 150
    spacing: str = "karras"
    corrections: int = 1
    ratio: float = 0.16
    clip: float = 0.0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = (
        "reverse-sde",
        "predictor-corrector",
        "probability-flow",
        "dpm-solver",
        "ddim",
    )
    weights: ClassVar[tuple[str, ...]] = tuple(WEIGHTS)

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, DENOISERS)
        refuse_unknown("prediction", self.kind, PREDICTIONS)
        refuse_unknown("loss weight", self.weight, self.weights)
        refuse_unknown("sampler", self.sampler, self.samplers)
        refuse_unknown("spacing", self.spacing, SPACINGS)
        _ = self.objective  # refuses settings that cannot be
        if self.sample_steps < 1 or self.corrections < 0:
            raise ValueError(
                f"sample_steps are 1 or more and corrections 0 or more, not {self.sample_steps} "
                f"and {self.corrections}"
            )
        if self.clip < 0:
            raise ValueError(f"clip is a limit on the data, 0 for none, not {self.clip}")

    @property
    @abstractmethod
    def path(self) -> Path:
        """How the data are noised."""

    @property
    @abstractmethod
    def first(self) -> float:
        """t₀, where walks end."""

    @property
    def objective(self) -> Denoising:
        """The denoising loss, t ~ U(t₀, 1)."""
        times = UniformTimes(self.first)
        return Denoising(self.network, self.path, self.kind, self.weight, times=times, ops=self.ops)

    @property
    def network(self) -> Any:
        """What the loss teaches, (N, *shape) and (N,) -> (N, *shape)."""
        inner = denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)
        return Levelled(inner, self.path, self.data_std)

    def predictor(self, params: Any, limit: float = 0.0) -> Predict:
        """Return (x, t) ↦ ε̂, with estimates of the data clipped to ±limit if there is one."""
        objective, path = self.objective, self.path

        def predict(x: Array, t: float) -> Array:
            noise_hat = by_parts(lambda part: objective.predict(params["model"], part, t), x)
            return clip(x, noise_hat, "noise", limit, path.levels(t)) if limit else noise_hat

        return predict

    def times(self, steps: int) -> tuple[float, ...]:
        """Return the times of a walk of so many steps, the first 1 and the last, if not it, t₀."""
        if steps == 1:
            return (1.0,)
        if self.spacing == "time":
            return tuple(float(t) for t in np.linspace(1.0, self.first, steps))
        most, least = (float(b / a) for a, b, _, _ in map(self.path.levels, (1.0, self.first)))
        spread = {"noise": log_uniform, "karras": karras}[self.spacing]
        inner = spread(steps, most, least)[1:-2]
        return (1.0, *times_on_path(self.path, inner), self.first)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from noise to data, by default as the settings say.

        Raises ValueError for a sampler that is not one of those above, and for negative steps.
        """
        refuse_sampler(name_of(self), self.samplers, sampler, steps)
        dtype, place = next(tree.leaves(params)).dtype, noise.at("start")
        z = place.normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)
        x = float(self.path.levels(1.0).b) * z
        return self.walk(
            self.predictor(params, self.clip),
            x,
            noise.at("walk"),
            sampler=sampler or self.sampler,
            steps=steps or self.sample_steps,
        )

    def walk(self, predict: Predict, x: Array, noise: Noise, *, sampler: str, steps: int) -> Array:
        """Return data from x, a draw of N(0, b(1)²), by a sampler of the list above."""
        times = self.times(steps)
        if steps > 1:
            x = self._walk(predict, x, noise, sampler, times)
        a, b = (float(level) for level in self.path.levels(times[-1])[:2])
        return (x - b * predict(x, times[-1])) / a  # (SS.2)

    def _walk(
        self, predict: Predict, x: Array, noise: Noise, sampler: str, times: tuple[float, ...]
    ) -> Array:
        path, ops = self.path, self.ops
        if sampler == "reverse-sde":
            return sample_reverse_sde(predict, x, path, noise, times=times, ops=ops)
        if sampler == "probability-flow":
            return sample_probability_flow(predict, x, path, times=times, rule="heun", ops=ops)
        if sampler == "dpm-solver":
            return sample_dpm_solver_2m(predict, x, path, times=times)
        if sampler == "ddim":
            return euler_in_noise(predict, x, path, times, ops)
        return sample_predictor_corrector(
            predict,
            x,
            path,
            noise,
            times=times,
            corrections=self.corrections,
            ratio=self.ratio,
            ops=ops,
        )

    def log_density(
        self, params: Any, x: Array, *, steps: int = 100, noise: Noise | None = None
    ) -> Array:
        """Return log p of examples by the probability flow, (N,), in nats.

        The data's are those at t₀, where a little noise is left. Runge's rule of four calls is
        taken, at times even in log b/a; the divergence is exact, or with a noise Hutchinson's
        estimate. Nothing is clipped.
        """
        objective, network, path = self.objective, self.network, self.path

        def pullback(x: Array, t: float) -> tuple[Array, Callable[[Array], Array]]:
            of_x, of_y = coefficients(objective.kind, "noise", path.levels(t))
            told = objective.tell(np.full(len(x), t, like=x))
            y, cache = network.forward(params["model"], x, told)

            def back(e: Array) -> Array:
                through: Array = network.backward(e, cache)[0]
                return float(of_x) * e + float(of_y) * through

            return float(of_x) * x + float(of_y) * y, back

        flow = ProbabilityFlow(path, self.predictor(params), pullback)
        most, least = (float(b / a) for a, b, _, _ in map(path.levels, (1.0, self.first)))
        inner = log_uniform(steps + 1, most, least)[1:-2]
        rising = (self.first, *times_on_path(path, inner)[::-1], 1.0)
        return log_density(flow, x, times=rising, noise=noise, ops=self.ops)


def euler_in_noise(
    predict: Predict, x: Array, path: Path, times: tuple[float, ...], ops: Ops
) -> Array:
    """Return x after DDIM's steps: for x/a the flow's velocity in b/a is ε̂."""
    known = {}  # of each b/a: its t and a
    for t in times:
        a, b = (float(level) for level in path.levels(t)[:2])
        known[b / a] = t, a
    (_, first), *_, (_, last) = known.values()

    def velocity(scaled: Array, sigma: float) -> Array:
        t, a = known[sigma]
        return predict(a * scaled, t)

    return last * solve(velocity, x / first, list(known), rule="euler", ops=ops)
