"""A layer whose weight stretches nothing; see refgen.ops.spectral_norm.

The vectors of the power iteration are no parameters, since no gradient moves them, and no
configuration, since they change. They are a state of their own that travels beside params:

    state = layer.start(params, noise)             # many iterations, once
    state = layer.advance(params, state)           # one iteration, at every step of training
    y, cache = layer.forward(params, x, state)
"""

from dataclasses import dataclass
from typing import Any

from refgen import ops
from refgen.layers.conv import Conv2d
from refgen.layers.dense import Dense
from refgen.noise import Noise
from refgen.typing import Array, Cache, Grads, Params

WARM_UP = 50  # iterations from a random vector


@dataclass(frozen=True)
class Spectral:
    """A dense layer or a convolution with its weight divided by its spectral norm.

    Of a convolution that is the norm of its filters as a matrix, (U V C, O), as in
    miyato2018-spectral-norm; the map of images can stretch more, at most √(U V) times it.
    """

    layer: Dense | Conv2d

    def init(self, noise: Noise) -> Params:
        """Draw the parameters of the layer."""
        return self.layer.init(noise)

    def start(self, params: Any, noise: Noise) -> Params:
        """Return {"u", "v"}, near the best vectors of the weight."""
        w = params["w"]
        drawn = noise.normal((w.shape[-1],)).astype(w.dtype)
        u, v = ops.power_step(w, drawn, iterations=WARM_UP)
        return {"u": u, "v": v}

    def advance(self, params: Any, state: Any) -> Params:
        """Return {"u", "v"} after one more iteration with the weight as it is now."""
        u, v = ops.power_step(params["w"], state["v"])
        return {"u": u, "v": v}

    def forward(self, params: Any, x: Array, state: Any) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        w, norm = ops.spectral_norm_forward(params["w"], state["u"], state["v"])
        y, cache = self.layer.forward({**params, "w": w}, x)
        return y, (norm, cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        norm, layer_cache = cache
        grads: Any
        dx, grads = self.layer.backward(dy, layer_cache)
        return dx, {**grads, "w": ops.spectral_norm_backward(grads["w"], norm)}
