r"""What a network is told beside the image: the time and, where there are classes, the label.

Shapes     N batch, E size of the embedding, K classes.   t : (N,)    labels : (N,) in 0 .. K
           e, de : (N, E)
Sources    ho2020-ddpm  appendix B (time);  dhariwal2021-adm  (the label added to it);
           ho2022-cfg  section 3.2 (the null label)

    e = silu(W₂ silu(W₁ PE(t) + b₁) + b₂ + E[label])                             (CN.1)

E has K + 1 rows. The last is the null label, for examples whose label is not told: a network
that has seen both can be asked for either.

Adjoint. Time and label enter by a sum, so both get the gradient of (CN.1)'s bracket; neither
t nor a label is differentiated.
"""

from dataclasses import dataclass, field
from typing import Any

from refgen import ops as reference
from refgen.layers.activation import Activation
from refgen.layers.dense import Dense
from refgen.layers.embedding import Embedding
from refgen.layers.sequence import Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Condition:
    """Map times (N,) and labels to an embedding (N, size); clock is the size of PE, even."""

    clock: int
    size: int
    classes: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        params: Params = {"time": self._time.init(noise.at("time"))}
        if self.classes:
            params["label"] = self._label.init(noise.at("label"))
        return params

    def forward(self, params: Any, t: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (e, cache). labels None means the null label for all.

        Raises ValueError for labels where there are no classes, or outside 0 .. classes.
        """
        pe, _ = reference.sinusoidal_embedding_forward(t, dim=self.clock)
        h, time = self._time.forward(params["time"], pe)
        lookup, index = None, self._label.labels(labels, t.shape[0])
        if self.classes:
            rows, lookup = self._label.forward(params["label"], index)
            h = h + rows
        e, silu = reference.silu_forward(h)  # (CN.1)
        return e, (time, lookup, silu)

    def backward(self, de: Array, cache: Cache) -> Grads:
        """Return grads."""
        time, lookup, silu = cache
        dh = reference.silu_backward(de, silu)
        grads: Grads = {}
        _, grads["time"] = self._time.backward(dh, time)
        if self.classes:
            grads["label"] = self._label.backward(dh, lookup)
        return grads

    @property
    def _label(self) -> Embedding:
        return Embedding(self.classes, self.size, null=True)

    @property
    def _time(self) -> Sequence:
        return Sequence(
            (
                ("dense0", Dense(self.clock, self.size, 1.4, self.ops)),
                ("silu", Activation("silu", self.ops)),
                ("dense1", Dense(self.size, self.size, 1.0, self.ops)),
            )
        )
