r"""Masks on weights: how an ordinary network is made to look only at what came before.

Shapes     W, dW : any one shape    M : what spreads to it, true where a weight may act
Sources    germain2015-made  section 3;  oord2016-pixelrnn  section 3.4

    y = f(x; M ⊙ W)                                                              (MK.1)

Adjoint. A weight that is multiplied by 0 moves nothing, so its gradient is 0; the others are
those of the network:

    dW = M ⊙ d(M ⊙ W)                                                            (MK.2)

The masks stand in forward as in backward, so no update, no decay and no noise on the weights
can open what is closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from refgen import tree
from refgen.typing import Array, Cache, Params

Masks = Mapping[str, Array]  # "layer/w": the mask of that weight; what is not named is free


class MaskedModel(Protocol):
    """A network that multiplies its weights by masks before it runs."""

    @property
    def masks(self) -> Masks:
        """The masks by the paths of their weights."""

    def run(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (y, cache) of the network without masks."""


def masked(params: Any, masks: Masks) -> Params:
    """Return a tree, of weights or of their gradients, times its masks."""
    return tree.unflatten(
        {path: a * masks[path] if path in masks else a for path, a in tree.flatten(params).items()}
    )  # (MK.1), (MK.2)


@dataclass(frozen=True)
class Unmasked:
    """The network of a masked model by itself: for tables that know weights by their identity."""

    model: MaskedModel

    def forward(self, params: Any, x: Array, labels: Array | None = None) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        return self.model.run(params, x, labels)
