r"""Improved denoising diffusion: variances are learnt too, and the likelihood of levels is bounded.

Shapes     N batch, *S axes of one example, the last of them C channels.
           data, x : (N, *S)    network : (N, *S), (N,) -> (N, *S with 2 C channels)
Lectures   0, 1, 2, 3, 4 (the bound, learnt variances, the cosine)
Sources    nichol2021-improved  eq. 15-17, sections 3, 4;  ho2020-ddpm  eq. 13 (the decoder)

The network says two things, ŷ and r; r places a step's variance between β and β̃ (VB.6). Equations
VB are on the page objectives/variational.py, HY on hybrid.py, DZ on discretized.py:

    loss = hybrid (HY.1), or the bound itself (VB.7)                                    (ID.1)

Where pixels have levels, a width w apart, the first noise that fits them has the deviation ½ w
(DZ.9). The cosine then starts there: its arc, on which signal and noise are cos u and sin u, is cut
into equal parts from t = 1 on, to an end where L_T is about data²/20000 nats a dimension:

    u_t = u_1 + (t − 1)/(T − 1) (u_T − u_1),   ᾱ_t = cos² u_t,
    sin² u_1 = β_1 = (½ w)²,   cos² u_T = ᾱ_T = 10⁻⁴                                    (ID.2)

At t = 1 there is no β̃. A background pixel is surer than the edge of a stroke, so the variance there
reaches from the first noise's, at r = 1, to a quarter of what is best for all pixels alike (DZ.9),
at r = −1:

    β_1,   and in the place of β̃_1:   (½)² (0.41 w)²                                     (ID.3)

Sampling may skip levels. The ratios of a longer step have their own β and β̃, and r lies between
those as it does between neighbours; the step to t = 0 draws nothing. What samplers/ancestral.py
calls v, the share of log β (AS.4), is

    v = ½ (1 + r)                                                                       (ID.4)

The bound has T terms, many of them nearly alike. One t drawn in each of some parts of 2 .. T, n
levels long, stands for the part without bias; the prior and the decoder are always there:

    nats = L_T + L_0 + Σ_parts n L_{t−1},   t uniform in its part                       (ID.5)
"""

import math
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.models.denoiser import DENOISERS, Denoiser, denoiser
from refgen.noise import Noise
from refgen.objectives.discretized import Bins, Matched, matched
from refgen.objectives.hybrid import Hybrid
from refgen.objectives.variational import VariationalBound
from refgen.ops.protocol import Ops
from refgen.processes import SCHEDULES, Schedule
from refgen.processes.discrete import of_schedule
from refgen.processes.parametrization import convert
from refgen.processes.schedule import from_alpha_bar
from refgen.samplers.ancestral import sample_ancestral_learned
from refgen.samplers.ddim import sample_ddim
from refgen.systems.single import Single
from refgen.systems.system import refuse_sampler, refuse_unknown
from refgen.systems.walking import answers, by_parts, walked
from refgen.typing import Array

LOSSES = ("hybrid", "bound")
KINDS = ("noise", "data", "v")
END = 1e-4  # ᾱ_T of the matched cosine
FINEST = 0.5  # of the deviation that is best for all pixels alike, at r = −1


@dataclass(frozen=True)
class ImprovedDDPM(Single):
    """A network of the mean and the variances of T steps back.

    loss is hybrid (with weight times the bound) or bound; kind is what the network predicts: noise,
    data or v. levels is how many values a pixel of an image can have, 0 for data without levels;
    with them L_0 is a probability, and the cosine schedule begins at a noise that fits their width.
    model, hidden and blocks are those of refgen.models.denoiser. clip limits the estimate of the
    data while sampling, 0 for none; sample_steps is how many levels sampling visits, 0 for all.
    """

    shape: tuple[int, ...]
    T: int = 1000
    schedule: str = "cosine"
    loss: str = "hybrid"
    weight: float = 1e-3
    kind: str = "v"
    levels: int = 0
    model: str = "mlp"
    hidden: int = 512
    blocks: int = 3
    clip: float = 0.0
    sample_steps: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)
    samplers: ClassVar[tuple[str, ...]] = ("ancestral", "ddim")

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model, DENOISERS)
        refuse_unknown("loss", self.loss, LOSSES)
        refuse_unknown("kind", self.kind, KINDS)
        if self.sample_steps < 0 or self.clip < 0:
            raise ValueError(
                f"sample_steps and clip are 0 for all and none, or more, not {self.sample_steps} "
                f"and {self.clip}"
            )
        _ = self.objective  # refuses settings that cannot be

    @property
    def bins(self) -> Bins | None:
        """The levels of a pixel, None for data without."""
        return Bins(self.levels) if self.levels else None

    @property
    def matched(self) -> Matched | None:
        """The first noise that fits the levels, None where the schedule is not made for it."""
        return matched(self.bins) if self.bins and self.schedule == "cosine" else None

    @property
    def process(self) -> Schedule:
        """The noise levels. Raises ValueError for a schedule that does not exist."""
        refuse_unknown("schedule", self.schedule, SCHEDULES)
        if self.matched:
            return cosine_from(self.matched.beta, self.T)
        return SCHEDULES[self.schedule](self.T)

    @property
    def network(self) -> Denoiser:
        """The network of ŷ and r, (N, *shape) and (N,) -> (N, *shape with twice the channels)."""
        return denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops, outputs=2)

    @cached_property
    def bound(self) -> VariationalBound:
        """The bound, in nats."""
        first = FINEST**2 * self.matched.var if self.matched else None  # (ID.3)
        return VariationalBound(
            self.network, self.process, self.kind, "learned", self.bins, first, self.ops
        )

    @property
    def objective(self) -> Hybrid | VariationalBound:
        """The loss that training descends."""
        return Hybrid(self.bound, self.weight) if self.loss == "hybrid" else self.bound  # (ID.1)

    def nats(self, params: Any, data: Array, noise: Noise, *, parts: int = 100) -> Array:
        """Return an unbiased estimate of the bound of each example, (N,) float64, in nats.

        One t is drawn in each of so many parts of 2 .. T; with T − 1 parts no term is left out.
        Raises ValueError for fewer than one part, and for data that are no levels.
        """
        if parts < 1:
            raise ValueError(f"the terms are drawn from 1 part or more, not {parts}")
        data = self.ops.put(data)
        ends = 2 + (self.T - 1) * np.arange(parts + 1) // parts
        total = self.ops.fetch(self.bound.prior(data)).astype(np.float64)
        for first, last in [(1, 2), *pairwise(int(end) for end in ends)]:
            if first < last:
                place = noise.at("part", first)
                t = first + place.at("t").integers(last - first, len(data), words=self.ops.words)
                total += (last - first) * self._term(params, data, t, place.at("noise"))  # (ID.5)
        return total

    def _term(self, params: Any, data: Array, t: Array, noise: Noise) -> Array:
        """Return one term of each example in nats, (N,), some examples at a time."""
        bound = self.bound

        def some(data: Array, drawn: Array, t: Array) -> Array:
            return bound.value(params["model"], data, drawn, t).term.nats

        drawn = noise.normal(data.shape, dtype=data.dtype, normals=self.ops.normals)
        return self.ops.fetch(by_parts(some, data, drawn, t))

    def predict(self, params: Any, x: Array, t: int) -> tuple[Array, Array]:
        """Return the noise in x and v, both (N, *shape), at one time, some examples at a time."""
        y_hat, r = np.split(answers(self.network, params["model"], x, t), 2, axis=-1)
        levels = of_schedule(self.process).levels(t)
        return convert(x, y_hat, self.kind, "noise", levels), 0.5 * (1 + r)  # (ID.4)

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Walk from noise to data, by default with the variances that were learnt.

        Raises ValueError for a sampler or steps that there are not.
        """
        refuse_sampler("improved-ddpm", self.samplers, sampler, steps)
        dtype = next(tree.leaves(params)).dtype
        x = noise.at("start").normal((count, *self.shape), dtype=dtype, normals=self.ops.normals)
        schedule, clip, walk = self.process, self.clip or None, noise.at("walk")
        times = walked(self.T, steps, self.sample_steps)
        predict = partial(self.predict, params)
        if sampler == "ddim":
            return sample_ddim(
                lambda x, t: predict(x, t)[0],
                x,
                schedule,
                walk,
                times=times,
                clip=clip,
                ops=self.ops,
            )
        return sample_ancestral_learned(
            predict, x, schedule, walk, times=times, clip=clip, ops=self.ops
        )


def cosine_from(first: float, T: int) -> Schedule:
    """Return the cosine whose first β is given, T ≥ 1 levels evenly along the arc.

    Raises ValueError unless 0 < first < 1 − END.
    """
    if not 0 < first < 1 - END:
        raise ValueError(
            f"the first beta lies between 0 and {1 - END:g}, not at {first}: two levels are too "
            "far apart for a first noise of half a width; take levels=0 or another schedule"
        )
    start, stop = math.asin(math.sqrt(first)), math.acos(math.sqrt(END))
    u = start + np.arange(T) / max(T - 1, 1) * (stop - start)
    return from_alpha_bar("cosine", np.concatenate([[1.0], np.cos(u) ** 2]))  # (ID.2)
