r"""DCGAN: images out of noise by transposed convolutions, and judged by strided ones.

Shapes     N batch, Z latent, H, W image, C channels, 2^k levels between H and the first image.
           generator      z : (N, Z)  ->  x : (N, H, W, C) in (−1, 1)
           discriminator  x : (N, H, W, C)  ->  logits : (N, 1)
Sources    radford2016-dcgan  section 3 (architecture, batch norm, N(0, 0.02²) weights)

    generator:      h = relu(norm(z W)), an image of H / 2^k × W / 2^k             (DC.1)
                    h ← relu(norm(convᵀ(h)))   twice the size, half the channels   (DC.2)
                    x = tanh(convᵀ(h))                                            (DC.3)
    discriminator:  h = leaky(conv(x))          half the size; no norm here        (DC.4)
                    h ← leaky(norm(conv(h)))    half the size, twice the channels  (DC.5)
                    logits = h W                                                  (DC.6)

Every norm is batch norm. While training it uses the statistics of its batch, which are returned
beside the output; samples are drawn with the statistics that were collected. Data and samples
go through the discriminator as two batches, each with its own statistics.

Adjoint. A chain is read backwards; a batch norm makes the gradient of an example depend on
all examples of its batch, so a batch must come back as it went.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, BatchNorm, Conv2d, ConvTranspose2d, Dense
from refgen.layers.batch_norm import Seen
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

STD = 0.02  # of every weight at the start
KERNEL, STRIDE, PADDING = 4, 2, 1  # doubles or halves an image


@dataclass(frozen=True)
class Chain:
    """Layers and batch norms in a row: what both networks of a DCGAN are."""

    layers: tuple[tuple[str, Any], ...]

    def init(self, noise: Noise) -> Params:
        """Draw weights of standard deviation STD; norms start at scale 1, shift 0."""
        params: Params = {}
        for name, layer in self.layers:
            drawn = layer.init(noise.at(name))
            if "w" in drawn:
                drawn["w"] = STD * noise.at(name, "w").normal(drawn["w"].shape)
            if drawn:
                params[name] = drawn
        return params

    def start(self) -> Params:
        """Return the running statistics of every norm before training."""
        return {name: layer.start() for name, layer in self.layers if isinstance(layer, BatchNorm)}

    def collect(self, running: Any, seen: dict[str, Seen]) -> Params:
        """Return the running statistics after one more batch."""
        norms = dict(self.layers)
        return {name: norms[name].collect(running[name], seen[name]) for name in running}

    def standing(self, params: Any, x: Array) -> Params:
        """Return the statistics of one batch in the form of running ones.

        They belong to these parameters exactly; what training collected belongs to many earlier
        ones, and not to their moving average.
        """
        _, seen, _ = self.train(params, x)
        return {name: {"mean": norm.mean, "var": norm.var} for name, norm in seen.items()}

    def train(self, params: Any, x: Array) -> tuple[Array, dict[str, Seen], Cache]:
        """Return (y, what each norm saw, cache), with the statistics of this batch."""
        caches, seen = [], {}
        for name, layer in self.layers:
            if isinstance(layer, BatchNorm):
                x, seen[name], cache = layer.train(params[name], x)
            else:
                x, cache = layer.forward(params.get(name, {}), x)
            caches.append(cache)
        return x, seen, (True, caches)

    def forward(self, params: Any, x: Array, running: Any) -> tuple[Array, Cache]:
        """Return (y, cache), with running statistics."""
        caches = []
        for name, layer in self.layers:
            if isinstance(layer, BatchNorm):
                x, cache = layer.forward(params[name], x, running[name])
            else:
                x, cache = layer.forward(params.get(name, {}), x)
            caches.append(cache)
        return x, (False, caches)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads) of train or of forward, whichever made the cache."""
        trained, caches = cache
        grads: Grads = {}
        for (name, layer), layer_cache in zip(reversed(self.layers), reversed(caches), strict=True):
            if trained and isinstance(layer, BatchNorm):
                dy, of_layer = layer.train_backward(dy, layer_cache)
            else:
                dy, of_layer = layer.backward(dy, layer_cache)
            if of_layer:
                grads[name] = of_layer
        return dy, grads

    def summary(self, shape: tuple[int, ...]) -> str:
        """Return a table of the network applied to one example of a shape."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, *shape)), self.start())


@dataclass(frozen=True)
class ByBatch:
    """A chain as a plain layer: every batch is normalized by its own statistics."""

    chain: Chain

    def init(self, noise: Noise) -> Params:
        """Draw the parameters of the chain."""
        return self.chain.init(noise)

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        y, _, cache = self.chain.train(params, x)
        return y, cache

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        return self.chain.backward(dy, cache)


@dataclass(frozen=True)
class Reshape:
    """Read the same numbers in another shape, (N, ...) -> (N, *shape)."""

    shape: tuple[int, ...]

    def init(self, noise: Noise) -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return np.reshape(x, (x.shape[0], *self.shape)), x.shape

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, {})."""
        return np.reshape(dy, cache), {}


def dcgan_generator(
    shape: tuple[int, int, int], latent: int, channels: int = 32, ops: Ops = reference
) -> Chain:
    """Return the network (N, latent) -> (N, *shape).

    channels are those of the last hidden image; every level below has twice as many. Raises
    ValueError for sides that cannot be halved once at least, naming the divisor.
    """
    levels = _levels(shape)
    (height, width), wide = _lowest(shape, levels), channels * 2 ** (levels - 1)
    layers: list[tuple[str, Any]] = [
        ("dense", Dense(latent, height * width * wide, 1.0, ops)),
        ("image", Reshape((height, width, wide))),
        ("norm0", BatchNorm(wide, ops=ops)),
        ("relu0", Activation("relu", ops)),
    ]  # (DC.1)
    for i in range(1, levels):
        layers += [
            (f"up{i}", ConvTranspose2d(wide, wide // 2, KERNEL, STRIDE, PADDING, ops=ops)),
            (f"norm{i}", BatchNorm(wide // 2, ops=ops)),
            (f"relu{i}", Activation("relu", ops)),
        ]  # (DC.2)
        wide //= 2
    layers += [
        (f"up{levels}", ConvTranspose2d(wide, shape[2], KERNEL, STRIDE, PADDING, ops=ops)),
        ("tanh", Activation("tanh", ops)),
    ]  # (DC.3)
    return Chain(tuple(layers))


def dcgan_discriminator(
    shape: tuple[int, int, int], channels: int = 32, ops: Ops = reference
) -> Chain:
    """Return the network (N, *shape) -> (N, 1) of logits.

    channels are those of the first hidden image; every level below has twice as many. Raises
    ValueError for sides that cannot be halved once at least, naming the divisor.
    """
    levels, inputs, wide = _levels(shape), shape[2], channels
    layers: list[tuple[str, Any]] = []
    for i in range(levels):
        layers.append(
            (f"down{i}", Conv2d(inputs, wide, KERNEL, STRIDE, PADDING, ops=ops))  # (DC.4)
        )
        if i:
            layers.append((f"norm{i}", BatchNorm(wide, ops=ops)))  # (DC.5)
        layers.append((f"leaky{i}", Activation("leaky_relu", ops)))
        inputs, wide = wide, 2 * wide
    height, width = _lowest(shape, levels)
    flat = height * width * inputs
    layers += [("row", Reshape((flat,))), ("dense", Dense(flat, 1, 1.0, ops))]  # (DC.6)
    return Chain(tuple(layers))


def _levels(shape: tuple[int, int, int]) -> int:
    """Count the halvings down to 4 .. 7 pixels, at least one."""
    if len(shape) != 3 or shape[0] % 2 or shape[1] % 2:
        raise ValueError(
            f"a DCGAN draws images (H, W, C) whose sides are multiples of 2, not {shape}"
        )
    count, (height, width, _) = 0, shape
    while height % 2 == width % 2 == 0 and (not count or min(height, width) >= 8):
        height, width, count = height // 2, width // 2, count + 1
    return count


def _lowest(shape: tuple[int, int, int], levels: int) -> tuple[int, int]:
    return shape[0] >> levels, shape[1] >> levels
