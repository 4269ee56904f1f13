r"""Predict the next noise level, then correct there by Langevin's steps.

Shapes     x, noise_hat, score, z : (N, *S)    times : falling    ε : a float, or one an example
Lectures   1 (VP-SDE and VE-SDE, by name)
Source     song2021-sde  eq. 4, algorithms 2 to 5, appendices E to G

A step of the forward process leads from s up to t > s (processes/discrete.py). z is a draw of
N(0, I), a new one wherever it stands.

    x_t = √α x_s + G z,   α = a_t² / a_s²,   G² = b_t² − α b_s²                           (PC.1)

A predictor undoes the step, with the score at t, b score = −ε̂. The paper writes its rules twice,
for its two processes. With α and G each is one line, for VE, where α = 1 and G² = σ_t² − σ_s², for
VP, where G² is β, and on any list of times.

    reverse      x' = (2 − √α) x + G² score(x, t) + G z                                   (PC.2)
    ancestral    x' = (x + G² score(x, t)) / √α + (b_s/b_t) G z                           (PC.3)

The first turns the step's own change round: up it adds (√α − 1) x, so down that is taken off, and
G² score makes up for the noise. The second has the mean of x_s given x and the data which the score
implies, and the variance of that Gaussian, (PD.6). For VP the paper adds G z there instead, which
is what ancestral.py calls beta.

Each is x' = p x + q score + √(2τ) z, and so Langevin's step of length τ from another place:

    x' = y + τ score + √(2τ) z,   y = p x + (q − τ) score                                 (PC.4)

A corrector moves at level s only, with the score there. However wrong the predictor was, Langevin's
step brings the marginal of s nearer, and leaves it where it is as ε → 0:

    x ← x + ε score(x, s) + √(2ε) z,   ε = 2 α (r ‖z‖ / ‖score‖)²                         (PC.5)

With that ε the drift is √α r times as long as the noise: r is the ratio that is wished for. α is
that of the step from s to the next level of the list, 1 for VE, and 1 where no next level is. What
norms are meant decides what comes out:

    typical     √d for ‖z‖ and √d / b for ‖score‖ = ‖ε̂‖ / b, so that ε = 2 α r² b²        (PC.6)
    batch       means over the batch: the paper's advice for large ones
    example     each example's own, as the algorithms read

The last is not Langevin's step: ε depends on x and z, and where the score is small the steps are
long. With g = ∇log p, drift and covariance of a short step are proportional to d g/|g|² and
2 (d + 2) I/|g|², since E |z|² = d and E |z|² z zᵀ = (d + 2) I. Their balance, d g q/|g|² =
∇ ((d + 2) q/|g|²), is where the walk ends as r → 0: q ~ |g|² p^(d/(d + 2)), not p. A Gaussian's
variance grows by the factor (1 + 2/d)², which is 1.005 for 28 × 28 pixels and 4 for points of a
plane. The second makes what an example becomes depend on its companions. So the first is what
happens here unless asked for another; it is also algorithm 1's rule for its levels (langevin.py),
with r² = ϵ / 4σ_L². Where data are spread wider than the noise, scores are smaller than typical and
its steps are shorter than the others'.

There are 1 + M calls a step, for M corrections. Into b = 0 there is no score to correct by: that
step has one call, and no noise. Where the list ends above 0 noise is left, and one call more, an
option, takes the mean of the data given x.

    x ← (x − b ε̂) / a                                                                    (PC.7)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from refgen import ops as reference
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes.discrete import transition
from refgen.processes.path import Levels, Path
from refgen.samplers.walk import falling
from refgen.typing import Array

Predict = Callable[[Array, float], Array]  # (x, t) -> the noise in x
PREDICTORS = ("reverse", "ancestral")
NORMS = ("typical", "batch", "example")


def sample_predictor_corrector(
    predict_noise: Predict,
    x: Array,
    path: Path,
    noise: Noise,
    *,
    times: Sequence[float],
    predictor: str = "reverse",
    corrections: int = 1,
    ratio: float = 0.16,
    norms: str = "typical",
    denoise: bool = False,
    ops: Ops = reference,
) -> Array:
    """Return data from x, a draw of N(0, b²) at the first time.

    ratio is r; with typical norms anything below 1 is stable. denoise asks for (PC.7) if the list
    ends above b = 0. Raises ValueError for times that do not fall, or start without signal, for no
    such predictor or norms, and for a negative number of corrections.
    """
    for kind, name, known in (("predictor", predictor, PREDICTORS), ("norms", norms, NORMS)):
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(known)}")
    if corrections < 0:
        raise ValueError(f"corrections are 0 or more after each step, not {corrections}")
    times = falling(times)
    levels = [path.levels(t) for t in times]
    a, b = [float(level.a) for level in levels], [float(level.b) for level in levels]
    if a[0] <= 0 or min(b[:-1]) <= 0:
        raise ValueError(
            f"from {times[0]} to {times[-1]} the signal is {a[:6]} and the noise {b[:6]}: start "
            "where there is signal, and reach b = 0 at the last time only"
        )
    for i, (t, s) in enumerate(pairwise(times)):
        score = predict_noise(x, t) * (-1 / b[i])
        p, q, var = _predictor(predictor, levels[i], levels[i + 1])
        tau = 0.5 * var if b[i + 1] > 0 else 0.0
        y = p * x + (q - tau) * score
        x = ops.langevin_step_drawn(y, score, noise.at("predictor", i).stream, step=tau)  # (PC.4)
        if b[i + 1] == 0:
            return x
        alpha = (a[i + 1] / a[i + 2]) ** 2 if i + 2 < len(a) else 1.0
        for k in range(corrections):
            score = predict_noise(x, s) * (-1 / b[i + 1])
            place, most = noise.at("corrector", i, k), 2 * alpha * ratio**2
            if norms == "typical":
                length = most * b[i + 1] ** 2  # (PC.6)
                x = ops.langevin_step_drawn(x, score, place.stream, step=length)
            else:
                z = place.normal(x.shape, dtype=x.dtype, normals=ops.normals)
                x = _corrected(x, score, z, most, norms)
    return (x - b[-1] * predict_noise(x, times[-1])) / a[-1] if denoise else x  # (PC.7)


def _predictor(name: str, here: Levels, there: Levels) -> tuple[float, float, float]:
    """Return p and q of a rule, and the variance of its noise."""
    root, var = (float(part) for part in transition(here, there))  # √α and G² of (PC.1)
    if name == "reverse":
        return 2 - root, var, var  # (PC.2)
    return 1 / root, var / root, var * float(there.b / here.b) ** 2  # (PC.3)


def _corrected(x: Array, score: Array, z: Array, most: float, norms: str) -> Array:
    """Return x after one correction with norms that are measured; most is 2 α r²."""
    axes = tuple(range(1, x.ndim))
    of_noise, of_score = (np.sqrt(np.sum(g * g, axis=axes, keepdims=True)) for g in (z, score))
    if norms == "batch":
        of_noise, of_score = np.mean(of_noise), np.mean(of_score)
    length = most * (of_noise / of_score) ** 2
    corrected: Array = x + length * score + np.sqrt(2 * length) * z  # (PC.5)
    return corrected
