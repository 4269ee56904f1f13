r"""The causal transformer: a sequence in which each token is predicted from those before it.

Shapes     N batch, L tokens, D features, K levels of a token.
           x : (N, L) of integers 0 .. K − 1    labels : (N,)    logits, dlogits : (N, L, K)
Sources    vaswani2017-attention  section 3.2.3 (the mask, the shift);  xiong2020-prenorm

    p(x | label) = Π_j p(x_j | x_<j, label)                                       (CT.1)
    h = [S[label], T[x_1], ..., T[x_{L−1}]] + P                                   (CT.2)
    h ← block(h, mask),   mask[j, k] = [k ≤ j]                                    (CT.3)
    logits = norm(h) W + b                                                        (CT.4)

Two things make it causal. The row is shifted by one, so that place j holds x_{j−1}, and the
label stands where nothing came before; and place j looks at places up to j only. A mask with
[k < j] would do without the shift, but leave the first place nothing to look at.

Adjoint. The blocks backwards. Places 2 .. L were rows of T, the first a row of S, so their
gradients are added to the rows that were asked for; x is integer and has none.    (CT.5)
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Dense, Embedding, LayerNorm, Positions, TransformerBlock
from refgen.models.made import refuse_levels
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class CausalTransformer:
    """Logits of each token from those before it, (N, length) integers -> (N, length, levels).

    classes is the number of labels, 0 for none. Raises ValueError for sizes below 1, for fewer
    than 2 levels and for features that heads do not divide.
    """

    length: int
    levels: int
    features: int = 64
    blocks: int = 2
    heads: int = 4
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        refuse_levels(self.levels)
        if self.length < 1 or self.blocks < 1:
            raise ValueError(f"length and blocks are at least 1, not {self.length}, {self.blocks}")
        self._layers()  # refuses sizes that cannot be

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one x."""
        return (self.length,)

    @property
    def sequence(self) -> tuple[int, ...]:
        """The tokens as they come."""
        return tuple(range(self.length))

    @cached_property
    def mask(self) -> Array:
        """Who may look at whom, (L, L)."""
        return np.tri(self.length, dtype=bool)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; a fresh model gives every x the probability levels^−length."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (logits, cache). labels None means the null label, row `classes`, for all.

        Raises ValueError for another length than the model's, for tokens outside 0 .. levels − 1,
        for labels where there are no classes, or outside 0 .. classes.
        """
        if x.ndim != 2 or x.shape[1] != self.length:
            raise ValueError(
                f"a causal transformer of length {self.length} was given an array of shape "
                f"{x.shape}: it takes (N, {self.length})"
            )
        layers, caches = self._layers(), dict[str, Cache]()
        index = layers["start"].labels(labels, len(x))[:, None]
        start, caches["start"] = layers["start"].forward(params["start"], index)
        known, caches["token"] = layers["token"].forward(params["token"], x[:, :-1])
        h = np.concatenate([start, known], axis=1)
        h, caches["place"] = layers["place"].forward(params["place"], h)  # (CT.2)
        for name in self._blocks():
            h, caches[name] = layers[name].forward(params[name], h, self.mask)  # (CT.3)
        h, caches["norm"] = layers["norm"].forward(params["norm"], h)
        logits, caches["out"] = layers["out"].forward(params["out"], h)  # (CT.4)
        return logits, caches  # (CT.1)

    def backward(self, dlogits: Array, cache: Cache) -> tuple[None, Grads]:
        """Return (None, grads): tokens have no gradient."""
        layers, grads, dh = self._layers(), dict[str, Any](), dlogits
        for name in ("out", "norm", *reversed(self._blocks()), "place"):
            dh, grads[name] = layers[name].backward(dh, cache[name])
        grads["start"] = layers["start"].backward(dh[:, :1], cache["start"])
        grads["token"] = layers["token"].backward(dh[:, 1:], cache["token"])  # (CT.5)
        return None, grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        return summarize(self, self.init(Noise(0)), np.zeros((1, self.length), int))

    def _blocks(self) -> list[str]:
        return [f"block{i}" for i in range(self.blocks)]

    def _layers(self) -> dict[str, Any]:
        size, ops = self.features, self.ops
        layers: dict[str, Any] = {
            "start": Embedding(self.classes, size, null=True),
            "token": Embedding(self.levels, size),
            "place": Positions((self.length,), size),
            "norm": LayerNorm(size, ops),
            "out": Dense(size, self.levels, 0.0, ops),
        }
        return layers | {name: TransformerBlock(size, self.heads, ops) for name in self._blocks()}
