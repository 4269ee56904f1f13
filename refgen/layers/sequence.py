"""Layers in a row; the backward is the forward read upwards."""

from dataclasses import dataclass
from typing import Any

from refgen.layers.layer import Layer
from refgen.noise import Noise
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Sequence:
    """Apply named layers one after another."""

    layers: tuple[tuple[str, Layer], ...]

    def init(self, noise: Noise) -> Params:
        """Draw {name: parameters of that layer}; layers without any have no entry."""
        drawn = {name: layer.init(noise.at(name)) for name, layer in self.layers}
        return {name: params for name, params in drawn.items() if params}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, caches), one cache a layer."""
        caches = []
        for name, layer in self.layers:
            x, cache = layer.forward(params.get(name, {}), x)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        grads: Grads = {}
        for (name, layer), layer_cache in zip(reversed(self.layers), reversed(cache), strict=True):
            dy, layer_grads = layer.backward(dy, layer_cache)
            if layer_grads:
                grads[name] = layer_grads
        return dy, grads
