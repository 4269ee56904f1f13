r"""A classifier of noisy pictures or points: it is told how much signal and noise there is.

Shapes     N batch, K classes.   x, dx : (N, *S), an image (H, W, C) or a point (D,)
           levels : (N, 2), the signal a and the noise b    logits, dlogits : (N, K)
Sources    dhariwal2021-adm  section 4 (a classifier of what a sampler sees)

What x says about its label depends on how much of x is noise: far from the data every label is
possible, near to it few are. So the levels stand beside x, as two more channels of an image, the
same at every pixel, or as two more coordinates of a point:

    logits = net([x, a, b])                                                (NK.1)

net is a small convolutional network for images, a residual MLP for points.

Adjoint. The network's own gives a gradient in all that stood side by side. The levels are given,
so theirs is dropped; the part of x is what a guide climbs.

    [dx, da, db] = (∂net/∂[x, a, b])ᵀ dlogits                              (NK.2)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.models.convnet import ConvNet
from refgen.models.residual_mlp import ResidualMLP
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

LEVELS = 2  # a and b


@dataclass(frozen=True)
class NoisyClassifier:
    """Map x of a shape and its levels to the logits of its label.

    hidden is the width of the MLP, or of the layer before the logits; an image's first stage has a
    quarter of it as channels. Raises ValueError for less than two classes and for a shape that is
    neither an image's nor a point's.
    """

    shape: tuple[int, ...]
    classes: int
    hidden: int = 64
    blocks: int = 2
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classifier tells at least 2 classes apart, not {self.classes}")
        if len(self.shape) not in (1, 3):
            raise ValueError(f"{self.shape} is neither (H, W, C) of images nor (D,) of points")
        _ = self.network  # refuses sizes that cannot be

    @property
    def network(self) -> ConvNet | ResidualMLP:
        """The network of x and the levels."""
        shape = (*self.shape[:-1], self.shape[-1] + LEVELS)
        if len(shape) == 1:
            return ResidualMLP(shape[0], self.classes, self.hidden, self.blocks, self.ops)
        channels = max(1, self.hidden // 4)
        return ConvNet(shape, self.classes, channels, self.hidden, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        return self.network.init(noise)

    def forward(self, params: Any, x: Array, levels: Array) -> tuple[Array, Cache]:
        """Return (logits, cache). Raises ValueError for another shape than the network's."""
        if x.shape[1:] != self.shape or levels.shape != (x.shape[0], LEVELS):
            raise ValueError(
                f"a classifier of {self.shape} takes x (N, {', '.join(map(str, self.shape))}) and "
                f"levels (N, {LEVELS}), not {x.shape} and {levels.shape}"
            )
        each = np.reshape(levels.astype(x.dtype), (-1, *[1] * (x.ndim - 2), LEVELS))
        spread = np.ones_like(x[..., :1]) * each
        joined, cut = self.ops.concat_forward(x, spread)
        logits, cache = self.network.forward(params, joined)  # (NK.1)
        return logits, (cut, cache)

    def backward(self, dlogits: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        cut, network_cache = cache
        djoined, grads = self.network.backward(dlogits, network_cache)
        dx, _ = self.ops.concat_backward(djoined, cut)  # (NK.2)
        return dx, grads
