r"""The reverse SDE by Euler and Maruyama's rule: the probability flow with Langevin's noise on top.

Shapes     x, noise_hat, score, z : (N, *S)    times : falling    one network call a step
Lectures   1 (VP-SDE and VE-SDE, by name)
Sources    anderson1982-reverse  (the reverse SDE);  song2021-sde  eq. 6 and 13;  karras2022-edm
           eq. 6 (any amount of noise);  kloeden1992-sde  chapters 10 and 14 (the rule, its orders)

A path a, b has marginals p(x, t), which the SDE dx = f x dt + g dW carries from data to noise,
f = a'/a and g² = (b²)' − 2 f b² (processes/path.py), and the probability flow v = f x − ½ g² ∇log p
either way. Langevin's motion, dx = c ∇log p dτ + √(2c) dW as τ rises, leaves each of them as it is
for any c ≥ 0, so it may be added. Time runs backwards here, dτ = −dt; with c = ½ η² g² the SDE

    dx = v dt − ½ η² g² ∇log p dt + η g dW,   dt < 0                                     (SD.1)

has the same marginals for every η. η = 0 is the flow, and η = 1 is the path's own SDE seen
backwards, with drift f x − g² ∇log p. A network that names the noise knows both parts, since
b ∇log p = −ε̂:

    v = f x + ½ (g²/b) ε̂                                                                 (SD.2)

Time is cut into steps from t to s < t, and over a step all rates stay what they are at t:

    x' = x + (s − t) v(x, t) + τ ∇log p(x, t) + √(2τ) z,   τ = ½ η² g² (t − s)            (SD.3)

Euler's step along the flow and Langevin's step, both from one call. Samples are judged by their
moments, and those are right to order 1. Into b = 0, where no noise may remain, z is left out.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes.path import Path, sde
from refgen.samplers.walk import falling
from refgen.typing import Array

Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x


def sample_reverse_sde(
    predict_noise: Predict,
    x: Array,
    path: Path,
    noise: Noise,
    *,
    times: Sequence[float],
    eta: float = 1.0,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, b²) at the first time.

    eta = 0 draws nothing and is Euler's rule on the probability flow; above 1 there is more noise,
    and more score against it, than the path itself has. The rates are taken where a step starts,
    so the list may end at t = 0, where those of some paths are infinite. Raises ValueError for a
    negative eta, for times that do not fall, and where they start without signal (a = 0).
    """
    if eta < 0:
        raise ValueError(f"eta is 0 or more, not {eta}: 0 is the flow, 1 the reverse SDE")
    for i, (t, s) in enumerate(pairwise(falling(times))):
        f, var = (float(rate) for rate in sde(path, t))  # var is g²
        b, left = float(path.levels(t).b), float(path.levels(s).b)
        if not math.isfinite(f) or b <= 0:
            raise ValueError(f"at t = {t} the rate f is {f} and b is {b}: start where a, b > 0")
        noise_hat = predict_noise(x, t)
        velocity = f * x + (0.5 * var / b) * noise_hat  # (SD.2)
        score = noise_hat * (-1 / b)
        moved, _ = ops.euler_step_forward(x, velocity, dt=s - t)
        tau = 0.5 * eta * eta * var * (t - s)
        if eta == 0:
            x = moved
        elif left > 0:
            stream = noise.at("step", i).stream
            x = ops.langevin_step_drawn(moved, score, stream, step=tau)  # (SD.1), as (SD.3)
        else:
            x, _ = ops.euler_step_forward(moved, score, dt=tau)
    return x
