r"""Consistency: all points of one path of the flow lead to the same beginning.

Shapes     N batch, *S axes of one example, D their product.   data, x, z, f : (N, *S)
           σ : K levels, rising from ε to σ_max    loss : (N,)
Sources    song2023-consistency  algorithms 2-3, appendix C (the levels);
           song2024-improved-consistency  section 3 (f⁻ without average, pseudo-Huber, weights,
           curriculum)

On x = data + σ z, z ~ N(0, I), the probability flow is dx/dσ = (x − E[data | x]) / σ = E[z | x].
A consistency model f(x, σ) names in one call where the path through x is at the least level ε. So
f is the same all along a path, and f(x, ε) = x, which precondition.py builds in. Every level is
taught by the one below it:

    σ_i = (ε^(1/ρ) + i/(K − 1) (σ_max^(1/ρ) − ε^(1/ρ)))^ρ,   i = 0 .. K − 1               (CO.1)
    x = data + σ_{n+1} z,   n ~ U{0 .. K − 2}                                            (CO.2)
    loss = w d(f(x, σ_{n+1}), f⁻(x', σ_n)),   w = 1  or  1/h,   h = σ_{n+1} − σ_n         (CO.3)

x' is a step of length h down the path of x,

    distillation   by Euler's or Heun's rule, with a teacher of E[data | x]              (CO.4)
    training       x' = data + σ_n z = x − h z: Euler's rule with z for E[z | x]          (CO.5)

f⁻ has the parameters that are given as target, f's own unless there are any, and is held fixed:
what is known at ε is to go up, from f⁻ to f. Training has one reason more. Its step is random, by
h (z − E[z | x]), and a gradient in f⁻ as well would damp that by making f flat, ∂f/∂x small,
however fine the grid.

An f that is the same along exact paths leaves r = f − f⁻ nothing but the error of the step, O(h²)
by Euler's rule and O(h³) by Heun's; in training r is random, O(h), and its mean given x is O(h²).
For any other f, too, training has on average the gradient of distillation, O(h), but for O(h²).

    squared        d = ‖r‖²                                                              (CO.6)
    pseudo-Huber   d = √(‖r‖² + c²) − c,   c = 0.00054 √D unless given                    (CO.7)

Adjoint. f alone moves. The pseudo-Huber's gradient is never longer than w, so no outlier leads:

    df = 2 w dloss r,   or   w dloss r / √(‖r‖² + c²)                                     (CO.8)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.objectives.ddpm import Predictor
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.processes.parametrization import column
from refgen.processes.spacing import karras
from refgen.typing import Array, Cache, Grads

Denoise = Callable[[Array, Array], Array]  # (x, σ (N,)) -> E[data | x]
DISTANCES = ("huber", "squared")
WEIGHTS = ("one", "gap")
RULES = ("euler", "heun")


def karras_levels(
    count: int, first: float = 0.002, last: float = 80.0, rho: float = 7.0
) -> tuple[float, ...]:
    """Return noise levels rising from first to last: those of spacing.karras, without its 0.

    Raises ValueError unless there are two or more and 0 < first < last.

    >>> [round(level, 3) for level in karras_levels(4)]
    [0.002, 0.47, 9.723, 80.0]
    """
    if count < 2 or not 0 < first < last:
        raise ValueError(
            f"levels are 2 or more, from first > 0 up to last, not {count} from {first} to {last}"
        )
    return karras(count, last, first, rho)[-2::-1]  # (CO.1)


def curriculum(step: int, steps: int, first: int = 10, last: int = 1280) -> int:
    """Return how many levels a step of training has: first + 1, first doubled until it is last.

    All grids have equal parts of the training.

    >>> [curriculum(k, 800) for k in (0, 99, 100, 799)]
    [11, 11, 21, 1281]
    """
    doublings = math.ceil(math.log2(last / first))
    stage = max(1, steps // (doublings + 1))
    return int(min(first * 2 ** (step // stage), last)) + 1


@dataclass(frozen=True)
class Consistency:
    """The loss of a consistency model f(x, σ): taught by a teacher, or where there is none by data.

    The model must keep the boundary, f(x, levels[0]) = x: a Preconditioned one does. c is the
    pseudo-Huber's; 0 means 0.00054 √D. Raises ValueError for levels that do not rise from above 0
    and for unknown names.
    """

    model: Predictor
    levels: tuple[float, ...]
    teacher: Denoise | None = None
    rule: str = "heun"
    distance: str = "huber"
    weight: str = "one"
    c: float = 0.0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        rising = all(np.diff(self.levels) > 0) and len(self.levels) > 1
        if not (rising and self.levels[0] > 0):
            raise ValueError(f"levels rise from above 0, two or more, not {self.levels[:4]} ...")
        for given, names in (
            (self.rule, RULES),
            (self.distance, DISTANCES),
            (self.weight, WEIGHTS),
        ):
            if given not in names:
                raise ValueError(f"{given!r} is not one of {', '.join(names)}")
        if self.c < 0:
            raise ValueError(f"c is a length, 0 for the usual one, not {self.c}")

    def forward(
        self, params: Any, data: Array, noise: Noise, *, target: Any = None, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); n and z are drawn at this place.

        target holds the parameters of f⁻, an average of params perhaps; None means params.
        """
        n = noise.at("t").integers(len(self.levels) - 1, len(data), words=self.ops.words)
        high, _ = self._around(n, data)
        x, z = self.ops.noising_drawn(data, 0 * high + 1, high, noise.at("noise").stream)  # (CO.2)
        return self._compare(params, target, x, data, z, n, given)

    def value(
        self,
        params: Any,
        data: Array,
        drawn: Array,
        n: Array,
        *,
        target: Any = None,
        **given: Any,
    ) -> tuple[dict[str, Array], Cache]:
        """Return the same for a noise (N, *S) and steps n (N,) that are given."""
        high, _ = self._around(n, data)
        x, _ = self.ops.noising_forward(data, drawn, 0 * high + 1, high)
        return self._compare(params, target, x, data, drawn, n, given)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params; what was held fixed has none."""
        df, model_cache = cache
        return self.model.backward(column(dloss, df) * df, model_cache)[1]

    def step(self, x: Array, high: Array, low: Array) -> Array:
        """Return x' of the teacher's flow, from levels high to low, each (N,)."""
        if self.teacher is None:
            raise ValueError("a step along the flow needs a teacher")
        dt = column(low - high, x)
        slope = (x - self.teacher(x, high)) / column(high, x)
        end = x + dt * slope  # (CO.4)
        if self.rule == "heun":
            end = x + 0.5 * dt * (slope + (end - self.teacher(end, low)) / column(low, x))
        return end

    def _compare(
        self, params: Any, target: Any, x: Array, data: Array, z: Array, n: Array, given: Any
    ) -> tuple[dict[str, Array], Cache]:
        high, low = self._around(n, data)
        if self.teacher is None:
            before = self.ops.noising_forward(data, z, 0 * low + 1, low)[0]  # (CO.5)
        else:
            before = self.step(x, high, low)
        fixed = params if target is None else target
        aim, _ = self.model.forward(fixed, before, low, **given)
        f, model_cache = self.model.forward(params, x, high, **given)
        w = 1 / (high - low) if self.weight == "gap" else 0 * high + 1
        square, _ = self.ops.squared_error_forward(f, aim)
        if self.distance == "squared":
            distance, slope = square, 2 * w  # (CO.6)
        else:
            c = self.c or 0.00054 * math.sqrt(math.prod(x.shape[1:]))
            root = np.sqrt(square + c * c)
            distance, slope = square / (root + c), w / root  # (CO.7), no difference of neighbours
        df = column(slope, x) * (f - aim)  # (CO.8), but for dloss
        return {"loss": w * distance}, (df, model_cache)  # (CO.3)

    def _around(self, n: Array, data: Array) -> tuple[Array, Array]:
        """Return σ_{n+1} and σ_n, (N,)."""
        levels = beside(np.asarray(self.levels), n)
        dtype = data.real.dtype
        return levels[n + 1].astype(dtype), levels[n].astype(dtype)
