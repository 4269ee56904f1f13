r"""An energy-based model: any function is a log density but for its constant.

Shapes     N batch, D coordinates, M points of a grid.   x, score, noise : (N, D)    grid : (M, D)
           f, loss : (N,)    weights, p : (M,)
Sources    lecun2006-energy  (the model);  hinton2002-contrastive-divergence  (the gradient);
           vincent2011-denoising  section 4 (the score of an energy);
           trefethen2014-trapezoid  (the constant)

A network f, (N, D) -> (N, 1), on a wide Gaussian of variance V that keeps the integral finite:

    p(x) = exp(g(x)) / Z,   g(x) = f(x) − ‖x‖² / 2V                                      (EB.1)

Its score needs no Z, for ∇ is in x and Z does not depend on x:

    ∇ log p(x) = ∇f(x) − x/V                                                             (EB.2)

Training by denoising needs no Z either. At one noise level σ the score of the noised data is
E[−noise/σ | x], so the loss is that of score_matching.py with a score that is a gradient:

    loss = σ² ‖∇f(x) − x/V + noise/σ‖²,   x = data + σ noise                              (EB.3)

which makes p the density of noised data. Likelihood needs Z. On the line or the plane it is a sum
over a grid, the trapezoid rule, exact to rounding where the grid is fine and exp(g) is 0 at its
edges:

    log Z = log Σ_m w_m exp g(grid_m),   w_m the length or the area of a cell            (EB.4)
    loss = log Z − g(x) = −log p(x)                                                      (EB.5)

Adjoints. (EB.3) sees θ through ∇f, so its gradient is one of a gradient: with v = dloss/d∇f held
fixed it is ∇_θ ⟨v, ∇f⟩, one tangent along v (SO.4 of layers/second_order.py). In (EB.5) −g pushes f
up where the data are, and log Z, whose gradient ∇_θ log Z is the model's mean of ∇_θ f, pulls it
down where the model is:

    v = 2 σ² dloss (∇f(x) − x/V + noise/σ)                                               (EB.6)
    ∇_θ Σ_n dloss_n loss_n = −Σ_n dloss_n ∇_θ f(x_n) + (Σ_n dloss_n) Σ_m p_m ∇_θ f(grid_m),
    p_m = w_m exp(g(grid_m)) / Z                                                         (EB.7)

So at the optimum the means of ∇_θ f over data and over the model are one. The grid stands for
samples of the model. With such samples x⁻ themselves, say by Langevin's walk, nobody needs Z: the
gradient is, on average, that of

    loss = g(x⁻) − g(x),   x⁻ held fixed                                                 (EB.8)

Energies at many noise levels are in noisy_energy.py.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.exact.world import logsumexp
from refgen.layers import Layer
from refgen.layers.second_order import input_gradient, slope_gradient
from refgen.noise import Noise
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


class Density(Protocol):
    """What a constant is the constant of."""

    def log_unnormalised(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (g(x), cache), (N,)."""

    def backward(self, dg: Array, cache: Cache) -> Grads:
        """Return grads of a gradient (N,) in g."""


@dataclass(frozen=True)
class Energy:
    """The log density of a layer (N, D) -> (N, 1) on a Gaussian of variance base_var.

    base_var is infinite where the layer alone keeps the integral finite. Raises ValueError unless
    it is positive.
    """

    layer: Layer
    base_var: float = math.inf  # V

    def __post_init__(self) -> None:
        if not self.base_var > 0:
            raise ValueError(f"the base has a variance above 0, or infinite, not {self.base_var}")

    def init(self, noise: Noise) -> Params:
        """Draw the layer's parameters."""
        return self.layer.init(noise)

    def log_unnormalised(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (g(x), cache), (N,)."""
        f, cache = self.layer.forward(params, x)
        return f[:, 0] - np.sum(x * x, axis=1) / (2 * self.base_var), cache  # (EB.1)

    def backward(self, dg: Array, cache: Cache) -> Grads:
        """Return grads of a gradient (N,) in g."""
        return self.layer.backward(dg[:, None], cache)[1]

    def score(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (∇ log p(x), cache), (N, D): what Langevin's steps climb."""
        _, slope, cache = input_gradient(self.layer, params, x)
        return slope - x / self.base_var, cache  # (EB.2)


@dataclass(frozen=True)
class Contrast:
    """Data against samples of the model, which the caller draws and which are held fixed."""

    energy: Energy

    def value(self, params: Any, data: Array, negatives: Array) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "data", "model"}, cache), each (N,); the last two are g."""
        up, data_cache = self.energy.log_unnormalised(params, data)
        down, cache = self.energy.log_unnormalised(params, negatives)
        return {"loss": down - up, "data": up, "model": down}, (data_cache, cache)  # (EB.8)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        data_cache, model_cache = cache
        push = self.energy.backward(-dloss, data_cache)
        pull = self.energy.backward(dloss, model_cache)
        grads: Grads = tree.map(lambda a, b: a + b, push, pull)
        return grads


@dataclass(frozen=True)
class EnergyScoreMatching:
    """The denoising loss of an energy at one noise level. Raises ValueError unless sigma > 0."""

    energy: Energy
    sigma: float
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"denoising needs a noise level above 0, not {self.sigma}")

    def forward(self, params: Any, data: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); the noise is drawn at this place."""
        drawn = noise.at("noise").normal(
            data.shape, dtype=data.real.dtype, normals=self.ops.normals
        )
        return self.value(params, data, drawn)

    def value(self, params: Any, data: Array, drawn: Array) -> tuple[dict[str, Array], Cache]:
        """Return the same for a noise (N, D) that is given."""
        score, cache = self.energy.score(params, data + self.sigma * drawn)
        error = self.sigma * score + drawn
        return {"loss": np.sum(error * error, axis=1)}, (params, error, cache)  # (EB.3)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        params, error, layer_cache = cache
        v = 2 * self.sigma * dloss[:, None] * error  # (EB.6)
        return slope_gradient(self.energy.layer, params, v, layer_cache)


@dataclass(frozen=True)
class EnergyLikelihood:
    """The exact −log p of an energy on the line or the plane, its constant by quadrature.

    The grid has `points` on each axis from low to high. Raises ValueError for another dim than 1
    or 2, and for a grid that cannot be.
    """

    energy: Density
    dim: int = 1
    low: float = -8.0
    high: float = 8.0
    points: int = 512

    def __post_init__(self) -> None:
        if self.dim not in (1, 2) or not self.low < self.high or self.points < 2:
            raise ValueError(
                f"the constant is a sum over 2 or more points from low to high on 1 or 2 axes, not "
                f"{self.points} from {self.low} to {self.high} on {self.dim}"
            )

    @cached_property
    def grid(self) -> Array:
        """The points of the sum, (M, D) float64."""
        axis = np.linspace(self.low, self.high, self.points)
        return np.stack(np.meshgrid(*[axis] * self.dim, indexing="ij"), -1).reshape(-1, self.dim)

    def log_constant(self, params: Any, like: Array) -> tuple[Array, Cache]:
        """Return (log Z, cache), () where `like` lives; the cache holds what p is."""
        grid = beside(self.grid.astype(like.real.dtype), like)
        g, cache = self.energy.log_unnormalised(params, grid)
        cell = self.dim * math.log((self.high - self.low) / (self.points - 1))
        log_z = logsumexp(g[None, :])[0] + cell  # (EB.4)
        return log_z, (np.exp(g + cell - log_z), cache)

    def forward(
        self, params: Any, data: Array, noise: Noise | None = None
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,) in nats; nothing is drawn."""
        g, cache = self.energy.log_unnormalised(params, data)
        log_z, grid_cache = self.log_constant(params, data)
        return {"loss": log_z - g}, (cache, grid_cache)  # (EB.5)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        data_cache, (p, grid_cache) = cache
        push = self.energy.backward(-dloss, data_cache)
        pull = self.energy.backward(np.sum(dloss) * p, grid_cache)
        grads: Grads = tree.map(lambda a, b: a + b, push, pull)  # (EB.7)
        return grads
