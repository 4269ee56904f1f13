r"""An energy at every level of noise: where data lie on a thin sheet, noise gives them a density.

Shapes     N batch, D coordinates.   x, x̂, score, noise, v : (N, D)    g, σ, loss : (N,)
Sources    vincent2011-denoising  section 4 (the score of an energy);  salimans2021-energy
           (why the energy is a product);  song2019-ncsn  (many levels);  karras2022-edm  (scales)

A layer F, (N, D + 7) -> (N, D), sees x̂ and seven numbers that say σ. s is the std of the data,
about 0.

    g(x, σ) = (s/σ) ⟨x̂, F(x̂, σ)⟩ − ½ ‖x̂‖²,   x̂ = x/√(s² + σ²)                          (NE.1)
    p(x; σ) = exp(g(x, σ)) / Z(σ),   the density of data + σ noise

A product of vectors rather than a number at the end of the network: its gradient is F itself and
a correction, so the energy begins where a network of scores would, and is a density all the same.
Its score, and the loss for σ drawn from a list:

    ∇g = c (F + Jᵀ x̂) − x̂/√(s² + σ²),   c = s/(σ √(s² + σ²)),   J = ∂F/∂x̂               (NE.2)
    loss = ‖σ ∇g(data + σ noise, σ) + noise‖²                                            (NE.3)

At F = 0 this is the score of N(0, s² + σ²). What it lacks of the target −noise/σ has the std c in
every coordinate, whatever σ, so numbers of size 1 are asked of F and its correction.

Adjoint. With v = dloss/d∇g held fixed one tangent of F along v has all that is needed, because
⟨v, Jᵀ x̂⟩ = ⟨x̂, J v⟩:

    v = 2 σ dloss (σ ∇g + noise)                                                         (NE.4)
    ∇_θ ⟨v, ∇g⟩ = ∇_θ c (⟨v, F⟩ + ⟨x̂, J v⟩)                                              (NE.5)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Layer
from refgen.layers.second_order import tangent, tangent_backward
from refgen.noise import Noise
from refgen.ops.home import beside
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

TOLD = 7  # numbers that say σ


@dataclass(frozen=True)
class NoisyEnergy:
    """The log densities of data + σ noise, for every σ, by a layer (N, D + TOLD) -> (N, D).

    data_std is s. Raises ValueError unless it is positive.
    """

    layer: Layer
    data_std: float = 1.0  # s

    def __post_init__(self) -> None:
        if not self.data_std > 0:
            raise ValueError(f"data_std is that of the data, above 0, not {self.data_std}")

    def init(self, noise: Noise) -> Params:
        """Draw the layer's parameters."""
        return self.layer.init(noise)

    def log_unnormalised(self, params: Any, x: Array, sigma: Array) -> tuple[Array, Cache]:
        """Return (g(x, σ), cache), (N,)."""
        s, scale = self.data_std, np.sqrt(self.data_std**2 + sigma**2)
        hat = x / scale[:, None]
        f, cache = self.layer.forward(params, self._seen(hat, sigma))
        weight = (s / sigma)[:, None] * hat
        g: Array = np.sum(weight * f, axis=1) - 0.5 * np.sum(hat * hat, axis=1)  # (NE.1)
        return g, (weight, cache)

    def backward(self, dg: Array, cache: Cache) -> Grads:
        """Return grads of a gradient (N,) in g."""
        weight, layer_cache = cache
        return self.layer.backward(dg[:, None] * weight, layer_cache)[1]

    def score(self, params: Any, x: Array, sigma: Array) -> tuple[Array, Cache]:
        """Return (∇g, cache), (N, D): the score of data + σ noise."""
        s, scale = self.data_std, np.sqrt(self.data_std**2 + sigma**2)[:, None]
        hat = x / scale
        f, cache = self.layer.forward(params, self._seen(hat, sigma))
        through, _ = self.layer.backward(hat, cache)
        c = s / (sigma[:, None] * scale)
        score = c * (f + through[:, : x.shape[1]]) - hat / scale  # (NE.2)
        return score, (c, hat, cache)

    def slope_gradient(self, params: Any, v: Array, cache: Cache) -> Grads:
        """Return ∇_θ Σ ⟨v, ∇g⟩ with v held fixed."""
        c, hat, layer_cache = cache
        still = np.zeros_like(v, shape=(len(v), TOLD))
        _, moved = tangent(self.layer, params, np.concatenate([c * v, still], 1), layer_cache)
        return tangent_backward(self.layer, c * v, hat, layer_cache, moved)[2]  # (NE.5)

    def _seen(self, hat: Array, sigma: Array) -> Array:
        """Return x̂ beside what says σ: its logarithm, and waves of it."""
        u = np.log(sigma)[:, None]
        waves = [wave(k * u) for k in (1, 2, 4) for wave in (np.cos, np.sin)]
        return np.concatenate([hat, u, *waves], axis=1)


@dataclass(frozen=True)
class AtLevel:
    """A NoisyEnergy at one σ: an energy like any other."""

    energy: NoisyEnergy
    sigma: float

    def log_unnormalised(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (g(x, σ), cache), (N,)."""
        return self.energy.log_unnormalised(params, x, np.full_like(x[:, 0], self.sigma))

    def backward(self, dg: Array, cache: Cache) -> Grads:
        """Return grads of a gradient (N,) in g."""
        return self.energy.backward(dg, cache)

    def score(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (∇g(x, σ), cache), (N, D)."""
        return self.energy.score(params, x, np.full_like(x[:, 0], self.sigma))


@dataclass(frozen=True)
class NoisyEnergyMatching:
    """The denoising loss at noise levels drawn for each example, each as likely."""

    energy: NoisyEnergy
    sigmas: tuple[float, ...]
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.sigmas or not min(self.sigmas) > 0:
            raise ValueError(f"denoising needs noise levels above 0, not {self.sigmas}")

    def forward(self, params: Any, data: Array, noise: Noise) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,); levels and noise are drawn at this place."""
        dtype = data.real.dtype
        levels = beside(np.array(self.sigmas).astype(dtype), data)
        which = noise.at("level").integers(len(levels), len(data), words=self.ops.words)
        drawn = noise.at("noise").normal(data.shape, dtype=dtype, normals=self.ops.normals)
        return self.value(params, data, levels[which], drawn)

    def value(
        self, params: Any, data: Array, sigma: Array, drawn: Array
    ) -> tuple[dict[str, Array], Cache]:
        """Return the same for levels (N,) and a noise (N, D) that are given."""
        spread = sigma[:, None]
        score, cache = self.energy.score(params, data + spread * drawn, sigma)
        error = spread * score + drawn
        return {"loss": np.sum(error * error, axis=1)}, (params, spread * error, cache)  # (NE.3)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        params, error, score_cache = cache
        v = 2 * dloss[:, None] * error  # (NE.4)
        return self.energy.slope_gradient(params, v, score_cache)
