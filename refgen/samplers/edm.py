r"""The sampler of EDM: Heun's rule in the noise level, with noise put in again on the way.

Shapes     x, data estimates D, z : (N, *S)    sigmas : falling, the last may be 0
Sources    karras2022-edm  eq. 5 (the list), algorithms 1 (deterministic) and 2 (stochastic)

On x = data + σ noise the noise level is its own clock. As σ rises a point moves along its noise,
and the mean noise given x is what the estimate D of the data leaves of x:

    dx/dσ = (x − D(x, σ)) / σ                                                            (ED.1)

As long as D stays put that is a straight line through D. A step from σ to σ' goes up a little
first: z ~ N(0, I) of the missing variance is added, which forgets some of what went wrong so far.
Then Heun's rule goes down from σ̂ to σ':

    σ̂ = (1 + γ) σ,   x̂ = x + √(σ̂² − σ²) S z                                              (ED.2)
    γ = min(churn / steps, √2 − 1) where least ≤ σ ≤ most, 0 elsewhere                   (ED.3)
    d = (x̂ − D(x̂, σ̂)) / σ̂,   x_E = x̂ + (σ' − σ̂) d                                       (ED.4)
    d' = (x_E − D(x_E, σ')) / σ',   x' = x̂ + (σ' − σ̂) ½ (d + d')                         (ED.5)

steps is their number in the list, and γ at most what doubles the variance of the noise. S is 1; the
paper takes a little more, for networks whose D takes away a little too much. Into σ' = 0 Euler's
x_E, which is D(x̂, σ̂), is taken as it is: d' would be 0/0. So n steps call the network 2n − 1 times
if the list ends at 0, and 2n times if not.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.samplers.walk import falling
from refgen.typing import Array

Denoise = Callable[[Array, float], Array]  # (x, σ) -> E[data | x]
MOST = math.sqrt(2) - 1  # of γ


def sample_edm(
    denoise: Denoise,
    x: Array,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    churn: float = 0.0,
    least: float = 0.0,
    most: float = math.inf,
    swell: float = 1.0,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, sigmas[0]²).

    churn = 0 draws nothing and is algorithm 1, of second order; `swell` is S. Raises ValueError for
    a negative churn and for levels that do not fall to 0 or more.
    """
    if churn < 0:
        raise ValueError(f"churn is 0 or more, not {churn}")
    sigmas = falling(sigmas, "noise levels")
    if sigmas[-1] < 0:
        raise ValueError(f"noise levels fall to 0 or more, not to {sigmas[-1]}")
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        gamma = min(churn / steps, MOST) if least <= sigma <= most else 0.0  # (ED.3)
        up = (1 + gamma) * sigma
        if gamma:
            z = noise.at("step", i).normal(x.shape, dtype=x.dtype, normals=ops.normals)
            rise = swell * math.sqrt(up * up - sigma * sigma)
            x, _ = ops.euler_step_forward(x, z, dt=rise)  # (ED.2)
        slope = (x - denoise(x, up)) / up
        end, _ = ops.euler_step_forward(x, slope, dt=sigma_next - up)  # (ED.4)
        if sigma_next > 0:
            slope_next = (end - denoise(end, sigma_next)) / sigma_next
            end, _ = ops.heun_step_forward(x, slope, slope_next, dt=sigma_next - up)  # (ED.5)
        x = end
    return x


def slopes_of(denoise: Denoise) -> Callable[[Array, float], Array]:
    """Return dx/dσ as a velocity for the rules of ode.py."""

    def velocity(x: Array, sigma: float) -> Array:
        v: Array = (x - denoise(x, sigma)) / sigma  # (ED.1)
        return v

    return velocity
