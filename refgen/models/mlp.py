r"""Multilayer perceptrons: the plain one, and the residual one that also sees the time.

Shapes     N batch, *S axes of one example, D their product, H hidden.
           x, y, dx, dy : (N, *S)    t : (N,)    h : (N, H)
Sources    he2016-resnet  (residual blocks);  ho2020-ddpm  appendix B (the time added after the
           first map of a block)

Each W and V is an affine map, its bias not written; PE is the sinusoidal embedding.

    e = silu(W_e PE(t))                                                (MLP.1)
    u = W₁ silu(h) + V e,   h ← h + W₂ silu(u)      for each block     (MLP.2)
    y = W_out silu(h),   starting from h = W_in x                      (MLP.3)

Adjoint. A sum passes its gradient to every summand: dh goes both around a block and through
it, and e collects one gradient from each block. t itself is not differentiated.

    du = silu'(u) W₂ᵀ dh,   dh ← dh + silu'(h) W₁ᵀ du,   de = Σ_blocks Vᵀ du   (MLP.4)
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, Dense, Layer, Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


def mlp(
    sizes: tuple[int, ...], activation: str = "silu", gain: float = 1.0, ops: Ops = reference
) -> Sequence:
    """Return affine maps with activations between them: (N, sizes[0]) -> (N, sizes[-1]).

    Two sizes make one affine map. The last map starts with the given gain. Raises ValueError for
    fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"an MLP needs at least an input and an output size, not {sizes}")
    last = len(sizes) - 2
    layers: list[tuple[str, Layer]] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers.append((f"dense{i}", Dense(inputs, outputs, gain if i == last else 1.4, ops)))
        if i < last:
            layers.append((f"{activation}{i}", Activation(activation, ops)))
    return Sequence(tuple(layers))


@dataclass(frozen=True)
class TimeMLP:
    """A residual MLP of (x, t), (N, *S) and (N,) -> (N, *S), for noise predictors.

    dim is the number of entries of one example; images are read as one long row. y has outputs
    times the channels of x: two where variances are learnt.
    """

    dim: int
    hidden: int = 256
    blocks: int = 3
    embedding: int = 64
    outputs: int = 1
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"blocks must be at least 1, not {self.blocks}: time enters there")
        if self.outputs < 1:
            raise ValueError(f"outputs is 1 or more, not {self.outputs}")
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; every block starts as the identity, the output at 0."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self._layers()
        clock, _ = reference.sinusoidal_embedding_forward(t.astype(x.dtype), dim=self.embedding)
        e, time_cache = layers["time"].forward(params["time"], clock)  # (MLP.1)
        h, in_cache = layers["in"].forward(params["in"], np.reshape(x, (len(x), -1)))
        block_caches = []
        for i in range(self.blocks):
            inner, first = layers[f"first{i}"].forward(params[f"first{i}"], h)
            shift, shift_cache = layers[f"shift{i}"].forward(params[f"shift{i}"], e)
            outer, second = layers[f"second{i}"].forward(params[f"second{i}"], inner + shift)
            h = h + outer  # (MLP.2)
            block_caches.append((first, shift_cache, second))
        y, out_cache = layers["out"].forward(params["out"], h)  # (MLP.3)
        y = np.reshape(y, (*x.shape[:-1], self.outputs * x.shape[-1]))
        return y, (x.shape, time_cache, in_cache, block_caches, out_cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        layers = self._layers()
        grads: Grads = {}
        shape, time_cache, in_cache, block_caches, out_cache = cache
        dh, grads["out"] = layers["out"].backward(np.reshape(dy, (len(dy), -1)), out_cache)
        de_blocks = []
        for i in reversed(range(self.blocks)):
            first, shift_cache, second = block_caches[i]
            dsum, grads[f"second{i}"] = layers[f"second{i}"].backward(dh, second)
            de_block, grads[f"shift{i}"] = layers[f"shift{i}"].backward(dsum, shift_cache)
            through, grads[f"first{i}"] = layers[f"first{i}"].backward(dsum, first)
            dh = dh + through
            de_blocks.append(de_block)
        dx, grads["in"] = layers["in"].backward(dh, in_cache)
        de = sum(de_blocks[1:], start=de_blocks[0])  # (MLP.4)
        _, grads["time"] = layers["time"].backward(de, time_cache)
        return np.reshape(dx, shape), grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, self.dim)), np.zeros(1, int))

    def _layers(self) -> dict[str, Sequence]:
        """Return every piece by name; all but `in` and `shift` carry their activation."""
        H, silu = self.hidden, ("silu", Activation("silu", self.ops))
        layers = {
            "time": Sequence((("dense", Dense(self.embedding, H, 1.0, self.ops)), silu)),
            "in": Sequence((("dense", Dense(self.dim, H, 1.0, self.ops)),)),
            "out": Sequence((silu, ("dense", Dense(H, self.outputs * self.dim, 0.0, self.ops)))),
        }
        for i in range(self.blocks):
            layers[f"first{i}"] = Sequence((silu, ("dense", Dense(H, H, 1.4, self.ops))))
            layers[f"shift{i}"] = Sequence((("dense", Dense(H, H, 1.0, self.ops)),))
            layers[f"second{i}"] = Sequence((silu, ("dense", Dense(H, H, 0.0, self.ops))))
        return layers
