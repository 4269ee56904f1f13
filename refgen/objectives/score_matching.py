r"""Score matching: three losses for ∇ log p whose gradients agree, and what each needs to know.

Shapes     N batch, D coordinates.   data, x, noise, s, v : (N, D)    σ : floats    loss : (N,)
Sources    hyvarinen2005-score-matching  theorem 1 (the trace);  vincent2011-denoising  (noise);
           song2019-sliced  section 3 (slices);  song2019-ncsn  eq. 5-6 (many levels)

A score model s(x, t) is to be the gradient of the log density q of x = a data + b noise; in
lecture 4 a = 1 and b = σ_t. Were the exact score known, one would descend, with some weight w, the

    explicit loss       w ‖s(x) − ∇ log q(x)‖²                                           (SM.1)

It is not, but it is an average over data: ∇ log q(x) = E[−noise/b | x]. A square against an average
and one against what is averaged differ by a variance in which s does not occur, so the same
gradient has, with nothing known but the data, the

    denoising loss      w ‖s(x) + noise/b‖²                                              (SM.2)

which is refgen.objectives.denoising with kind "score" and its weight "simple", w = b². (Lectures
3 and 4 print w = 1; what that changes is E19 of `refgen verify --errata`.)

At one level the square's cross term can also be integrated by parts, q ∇ log q being ∇q, and q
being 0 far away: E ⟨s, ∇ log q⟩ = ∫ ⟨s, ∇q⟩ dx = −E tr ∂s/∂x. That needs no noise at all: the

    implicit loss       ‖s‖² + 2 tr ∂s/∂x                                                (SM.3)

has the gradient of the explicit one with w = 1; it differs by E ‖∇ log q‖² and may be negative.
The trace takes D tangents. Along random v with E v vᵀ = I one tangent is right on average, the

    sliced loss         ⟨v, s⟩² + 2 ⟨v, (∂s/∂x) v⟩                                       (SM.4)

Signs v = ±1 leave the trace's diagonal without any variance. Of several slices the mean is taken,
along unit vectors the sum, which is (SM.3). The papers halve all of these.

A network F gives numbers of one size at all times, a score has the size 1/b. So F says b s:

    s(x, t) = F(x, t) / b_t                                                              (SM.5)

Adjoints. In (SM.4) s is felt in two places, once as s and once through its tangent ṡ = (∂s/∂x) v,
which goes back through layers/second_order.py. In (SM.3) v is each unit vector in turn.

    ds = 2 w dloss (s − ∇ log q)                                                         (SM.6)
    ds = 2 dloss ⟨v, s⟩ v,   dṡ = 2 dloss v                                              (SM.7)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.exact.world import World
from refgen.layers import Layer
from refgen.layers.second_order import tangent, tangent_backward
from refgen.noise import Noise
from refgen.objectives.ddpm import Predictor
from refgen.objectives.denoising import Denoising
from refgen.ops.protocol import Ops
from refgen.processes.discrete import DiscretePath, of_noise_levels
from refgen.processes.parametrization import column
from refgen.processes.path import Path
from refgen.typing import Array, Cache, Grads, Params

SLICES = ("signs", "normal", "axes")


def denoising_score_matching(model: Predictor, sigma: Array, ops: Ops = reference) -> Denoising:
    """Return the loss (SM.2) of a score model at noise levels, largest first, weighted by σ².

    The network is told t = 1 .. L, of which L is the largest level.

    >>> loss = denoising_score_matching(Timeless(None), np.array([1.0, 0.1]))
    >>> loss.path.levels(1).b, loss.path.levels(2).b
    (np.float64(0.1), np.float64(1.0))
    """
    path = of_noise_levels(np.asarray(sigma, np.float64))
    return Denoising(model, path, "score", "simple", ops=ops)  # (SM.2)


@dataclass(frozen=True)
class Timeless:
    """A layer as a predictor that is not told the time: for a single noise level."""

    layer: Any  # Layer

    def init(self, noise: Noise) -> Params:
        """Draw the layer's parameters."""
        params: Params = self.layer.init(noise)
        return params

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        y, cache = self.layer.forward(params, x)
        return y, cache

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, grads = self.layer.backward(dy, cache)
        return dx, grads


@dataclass(frozen=True)
class OverNoise:
    """A network's numbers divided by the noise level: a score of the right size.

    The times that it is told must be the path's own: those of a DiscretePath.
    """

    network: Any  # Predictor with init
    path: DiscretePath

    def init(self, noise: Noise) -> Params:
        """Draw the network's parameters."""
        params: Params = self.network.init(noise)
        return params

    def forward(self, params: Any, x: Array, t: Array, **given: Any) -> tuple[Array, Cache]:
        """Return (s, cache)."""
        y, cache = self.network.forward(params, x, t, **given)
        scale = column(1 / self.path.levels(t).b, x)
        return scale * y, (scale, cache)  # (SM.5)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        scale, inner = cache
        dx, grads = self.network.backward(scale * dy, inner)
        return dx, grads


@dataclass(frozen=True)
class ExplicitScoreMatching:
    """The loss against the exact score of a world, at the points that the denoising loss sees.

    It draws what a Denoising with the same model and path draws.
    """

    model: Predictor
    path: Path
    world: World
    ops: Ops = field(default=reference, repr=False, compare=False)

    def forward(
        self, params: Any, data: Array, noise: Noise, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,), weighted by b²."""
        denoising, path = self._denoising, self.path
        place = noise.at("t")
        if isinstance(path, DiscretePath):
            t = 1 + place.integers(path.T, len(data))
        else:
            t = denoising.times(place, len(data))
        drawn = noise.at("noise").normal(data.shape, dtype=data.real.dtype)
        return self.value(params, data, drawn, t, **given)

    def value(
        self, params: Any, data: Array, drawn: Array, t: Array, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return the same for a noise (N, D) and times (N,) that are given."""
        a, b, *_ = (np.asarray(level, data.real.dtype) for level in self.path.levels(t))
        x, _ = self.ops.noising_forward(data, drawn, a, b)
        told = self._denoising.tell(t)
        s, model_cache = self.model.forward(params, x, told, **given)
        exact = np.asarray(self.world.score(x, a, b), data.real.dtype)
        error, error_cache = self.ops.squared_error_forward(s, exact)
        return {"loss": b * b * error}, (b * b, error_cache, model_cache)  # (SM.1)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        w, error_cache, model_cache = cache
        ds, _ = self.ops.squared_error_backward(w * dloss, error_cache)  # (SM.6)
        return self.model.backward(ds, model_cache)[1]

    @property
    def _denoising(self) -> Denoising:
        return Denoising(self.model, self.path, "score")


@dataclass(frozen=True)
class SlicedScoreMatching:
    """The loss of a score model that needs no noise: s is a layer (N, D) -> (N, D) with tangents.

    slices is how many directions each example has, "signs" or "normal"; along "axes" it is the
    implicit loss, D of them and no draw. sigma adds noise to the data first, and the score is then
    that of noised data. Raises ValueError for an unknown kind, and for counts that cannot be.
    """

    layer: Layer
    slices: int = 1
    kind: str = "signs"
    sigma: float = 0.0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in SLICES or self.slices < 1 or self.sigma < 0:
            raise ValueError(
                f"slices are 1 or more of {', '.join(SLICES)}, at a noise level of 0 or more, not "
                f"{self.slices} of {self.kind!r} at {self.sigma}"
            )

    def forward(self, params: Any, data: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); the directions, and the noise, are drawn here."""
        x, dtype, normals = data, data.real.dtype, self.ops.normals
        if self.sigma:
            drawn = noise.at("noise").normal(data.shape, dtype=dtype, normals=normals)
            x = data + self.sigma * drawn
        if self.kind == "axes":
            unit = np.asarray(np.eye(data.shape[1]).astype(dtype), like=data)
            return self.value(params, x, [unit[i] + 0 * x for i in range(data.shape[1])])
        v = [
            noise.at("slice", i).normal(data.shape, dtype=dtype, normals=normals)
            for i in range(self.slices)
        ]
        return self.value(params, x, [np.sign(a) for a in v] if self.kind == "signs" else v)

    def value(self, params: Any, x: Array, v: list[Array]) -> tuple[dict[str, Array], Cache]:
        """Return the same at points x along directions that are given, each (N, D).

        The loss is their mean, or along "axes" their sum.
        """
        s, cache = self.layer.forward(params, x)
        share = 1.0 if self.kind == "axes" else 1 / len(v)
        loss, parts = 0.0, []
        for along in v:
            s_dot, moved = tangent(self.layer, params, along, cache)
            slope, height = np.sum(along * s_dot, axis=1), np.sum(along * s, axis=1)
            loss = loss + share * (height * height + 2 * slope)  # (SM.4), along axes (SM.3)
            parts.append((along, height, moved))
        return {"loss": np.asarray(loss, like=x)}, (parts, share, cache)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        parts, share, layer_cache = cache
        total: Any = None
        for along, height, moved in parts:
            weight = 2 * share * dloss
            ds, ds_dot = (weight * height)[:, None] * along, weight[:, None] * along  # (SM.7)
            grads = tangent_backward(self.layer, ds, ds_dot, layer_cache, moved)[2]
            total = grads if total is None else tree.map(lambda a, b: a + b, total, grads)
        result: Grads = total
        return result
