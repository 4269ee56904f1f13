r"""The residual block of diffusion models: two convolutions around which the image may pass.

Shapes     N batch, H, W image, I channels in, O channels out, E embedding.
           x, dx : (N, H, W, I)    e, de : (N, E)    y, dy : (N, H, W, O)
Sources    he2016-identity  figure 1b (norm and activation before each convolution);
           ho2020-ddpm  appendix B (the time added after the first);  nichol2021-improved
           section 3.2 (the time as scale and shift of the second norm)

    h = conv₁(silu(norm₁(x)))                                                    (RB.1)
    added:   h ← silu(norm₂(h + V e))                                            (RB.2)
    film:    (a, b) = V e,   h ← silu((1 + a) norm₂(h) + b)                      (RB.3)
    y = skip(x) + conv₂(h),   skip = identity, or a 1 × 1 convolution if O ≠ I    (RB.4)

What e brings is the same at every pixel, so it steers which features the second convolution
sees, not where. The last convolution starts at 0, the block therefore as its skip.

Adjoint. x is felt on two ways, which add; V e was given to every pixel, so it gets the sum
over pixels:

    dx = skipᵀ dy + branchᵀ dy,   added:  d(V e) = Σ_pixels dh                    (RB.5)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers.conv import Conv2d
from refgen.layers.dense import Dense
from refgen.layers.norm import GroupNormSilu
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

STEERING = ("added", "film")


@dataclass(frozen=True)
class ResBlock:
    """Map (N, H, W, inputs) and an embedding (N, embedding) to (N, H, W, outputs).

    Raises ValueError for an unknown steering and for channels that groups do not divide.
    """

    inputs: int
    outputs: int
    embedding: int
    groups: int = 8
    steering: str = "added"
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.steering not in STEERING:
            raise ValueError(f"steering {self.steering!r} is not one of {', '.join(STEERING)}")
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters of every part."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, x: Array, e: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        layers = self._layers()
        h, norm1 = layers["norm1"].forward(params["norm1"], x)
        h, conv1 = layers["conv1"].forward(params["conv1"], h)  # (RB.1)
        v, embed = layers["embed"].forward(params["embed"], e)
        steer = None
        if self.steering == "film":
            a, b = v[:, : self.outputs], v[:, self.outputs :]
            scale, shift = params["norm2"]["gamma"], params["norm2"]["beta"]
            h, norm2 = self.ops.group_norm_film_silu_forward(
                h, scale, shift, a, b, groups=self.groups
            )  # (RB.3)
        else:
            h, steer = self.ops.shift_forward(h, v)
            h, norm2 = layers["norm2"].forward(params["norm2"], h)  # (RB.2)
        h, conv2 = layers["conv2"].forward(params["conv2"], h)
        around, skip = x, None
        if "skip" in layers:
            around, skip = layers["skip"].forward(params["skip"], x)
        return self.ops.add(around, h), (norm1, conv1, embed, steer, norm2, conv2, skip)  # (RB.4)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Grads]:
        """Return (dx, de, grads)."""
        norm1, conv1, embed, steer, norm2, conv2, skip = cache
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["conv2"] = layers["conv2"].backward(dy, conv2)
        if self.steering == "film":
            dh, dgamma, dbeta, da, db = self.ops.group_norm_film_silu_backward(dh, norm2)
            grads["norm2"] = {"gamma": dgamma, "beta": dbeta}
            dv = np.concatenate([da, db], axis=1)
        else:
            dh, grads["norm2"] = layers["norm2"].backward(dh, norm2)
            dh, dv = self.ops.shift_backward(dh, steer)  # (RB.5)
        de, grads["embed"] = layers["embed"].backward(dv, embed)
        dh, grads["conv1"] = layers["conv1"].backward(dh, conv1)
        dx, grads["norm1"] = layers["norm1"].backward(dh, norm1)
        if "skip" in layers:
            dy, grads["skip"] = layers["skip"].backward(dy, skip)
        return self.ops.add(dx, dy), de, grads

    def _layers(self) -> dict[str, Any]:
        inputs, outputs, ops = self.inputs, self.outputs, self.ops
        width = 2 * outputs if self.steering == "film" else outputs
        layers: dict[str, Any] = {
            "norm1": GroupNormSilu(inputs, self.groups, ops=ops),
            "conv1": Conv2d(inputs, outputs, gain=1.4, ops=ops),
            "embed": Dense(self.embedding, width, ops=ops),
            "norm2": GroupNormSilu(outputs, self.groups, ops=ops),
            "conv2": Conv2d(outputs, outputs, gain=0.0, ops=ops),
        }
        if inputs != outputs:
            layers["skip"] = Conv2d(inputs, outputs, kernel=1, ops=ops)
        return layers
