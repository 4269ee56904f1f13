r"""Langevin's walk up a score, and the same through falling levels of noise.

Shapes     x, score, z : (N, *S)    sigmas : falling, σ₁ .. σ_L > 0
Lectures   4 (Langevin dynamics; algorithm 1), 3 (NCSN)
Sources    roberts1996-langevin  (what a finite step does);  song2019-ncsn  algorithm 1, section 4.3

Plain. Climb log p, and be kept from its top by z ~ N(0, I), one network call a step:

    x ← x + ε ∇log p(x) + √(2ε) z                                                        (LV.1)

It ends in p where ε → 0 and its K steps are a long walk, K ε → ∞. The lecture asks for ε → 0 and
K → ∞, and ε = 1/K² is a walk that goes nowhere (`refgen verify --errata`, E34). At a fixed ε and
for a Gaussian p, in a direction where its variance is var, ∇log p is −(x − mean)/var. So the
variance of x obeys v ← (1 − ε/var)² v + 2ε, and ends where that stands still,

    var / (1 − ε / (2 var)),   nowhere at all from ε = 2 var on                           (LV.2)

Annealed. Between modes far apart lies a desert that no small step crosses: each mode keeps the
points that started near it, whatever its weight. Where noise of σ fills the desert the steps are
long, and weights come right. So the walk is taken at falling levels, of one ratio as a rule
(processes.schedule.geometric), with T steps at each:

    α_i = ϵ σ_i² / σ_L²,   x ← x + ½ α_i s(x, σ_i) + √α_i z                               (LV.3)

which is (LV.1) with ½ α_i for ε. Where noise prevails s is of size 1/σ_i, so the drift is of size
½ ϵ σ_i/σ_L² and the noise √ϵ σ_i/σ_L: in units of σ_i both are the same at all levels. L T calls.
What comes out has noise of σ_L in it; the algorithm leaves it there. One call more, an option,
moves x to the mean of the data given x, which has less spread than the data:

    x ← x + σ_L² s(x, σ_L)                                                               (LV.4)
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.samplers.walk import numbers
from refgen.typing import Array

Score = Callable[[Array], Array]  # x -> ∇log p
NoisyScore = Callable[[Array, float], Array]  # (x, σ) -> the score of data + σ noise


def sample_langevin(
    score: Score, x: Array, noise: Noise, *, step: float, steps: int, ops: Ops = reference
) -> Array:
    """Return x after a number of steps; step is ε. Raises ValueError for a negative ε."""
    for i in range(steps):
        x = ops.langevin_step_drawn(x, score(x), noise.at("step", i).stream, step=step)  # (LV.1)
    return x


def stationary_variance(var: float, step: float) -> float:
    """Return the variance that plain Langevin ends at for a Gaussian of variance var.

    >>> stationary_variance(1.0, 0.5), stationary_variance(1.0, 2.0)
    (1.3333333333333333, inf)
    """
    return var / (1 - step / (2 * var)) if step < 2 * var else math.inf  # (LV.2)


def sample_annealed_langevin(
    score: NoisyScore,
    x: Array,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    step: float,
    inner: int = 100,
    denoise: bool = False,
    ops: Ops = reference,
) -> Array:
    """Return data from x, which may start anywhere that σ₁ reaches; step is ϵ, inner is T.

    By (LV.2) with ½ϵ for ε and σ_L² for var, a walk around a single datum stays while ϵ < 4 σ_L²,
    and ends in a variance of σ_L² / (1 − ϵ/4σ_L²). denoise asks for (LV.4).
    Raises ValueError for levels that do not fall to σ_L > 0 and for a negative ϵ.
    """
    if len(sigmas) == 0 or any(s >= t for t, s in pairwise(sigmas)) or not sigmas[-1] > 0:
        raise ValueError(f"noise levels fall to a last one above 0, not {list(sigmas)[:6]}")
    sigmas, last = numbers(sigmas), float(sigmas[-1])
    for i, sigma in enumerate(sigmas):
        half = 0.5 * step * sigma**2 / last**2
        for k in range(inner):
            stream = noise.at("level", i, "step", k).stream
            x = ops.langevin_step_drawn(x, score(x, sigma), stream, step=half)  # (LV.3)
    if denoise:
        x, _ = ops.euler_step_forward(x, score(x, last), dt=last**2)  # (LV.4)
    return x
