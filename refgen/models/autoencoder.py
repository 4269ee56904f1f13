r"""A convolutional autoencoder whose codes have, for every image, mean 0 and variance 1.

Shapes     N batch, H W C image, f factor, c channels of a code, D = (H/f)(W/f) c.
           x, y : (N, H, W, C)    z, dz : (N, H/f, W/f, c)
Sources    rombach2022-latent  section 3.1 (a code that is still an image);
           odena2016-checkerboard  (a stage' repeats pixels, then convolves)

A stage halves the image and doubles the channels; the decoder goes back the same way.

    z = unit(conv(stages(x))),    unit(h) = (h − ⟨h⟩) / √⟨(h − ⟨h⟩)²⟩                 (AE.1)
    y = conv(stages'(unit(z))),   a stage' doubles the image and halves the channels   (AE.2)

⟨·⟩ is the mean over the D numbers of one code. So all codes lie on the sphere ‖z‖² = D, at right
angles to (1, ..., 1), and are as large as the noise that diffusion mixes in: there is no scale to
be measured, stored and undone. It costs an image two numbers of D. The decoder moves whatever it
is given to where codes lie.

Adjoint. A chain is read backwards; unit is group norm with one group and nothing learned.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.layers import Activation, Conv2d, Double, Layer, Sequence
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Unit:
    """Each example moved and stretched to mean 0 and variance 1; no parameters."""

    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        first = x[(0,) * (x.ndim - 1)]  # one row of channels
        gain = np.ones_like(first)
        return self.ops.group_norm_forward(x, gain, 0 * gain, groups=1)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, {})."""
        dx, _, _ = self.ops.group_norm_backward(dy, cache)
        return dx, {}


@dataclass(frozen=True)
class Autoencoder:
    """An encoder and a decoder of images of a shape, (H, W, C).

    factor is a power of 2 by which H and W shrink, latent the channels of a code, channels those
    next to the image. Raises ValueError for a factor that is not such a power or does not divide
    the image, for codes of less than three numbers, and for points.
    """

    shape: tuple[int, ...]
    factor: int = 2
    latent: int = 4
    channels: int = 16
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"an autoencoder takes images (H, W, C), not {self.shape}")
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise ValueError(f"factor is a power of 2, not {self.factor}")
        for axis, size in (("height", self.shape[0]), ("width", self.shape[1])):
            if size % self.factor:
                raise ValueError(f"factor {self.factor} does not divide {axis} {size}")
        if math.prod(self.code) < 3:
            raise ValueError(
                f"a code of shape {self.code} says nothing once mean and variance are fixed: take "
                "latent = 3 or more"
            )
        _ = self.encoder, self.decoder  # refuse sizes that cannot be

    @property
    def code(self) -> tuple[int, int, int]:
        """The shape of a code."""
        return self.shape[0] // self.factor, self.shape[1] // self.factor, self.latent

    @property
    def encoder(self) -> Sequence:
        """The map of images to codes."""
        now, ops = self.channels, self.ops
        layers: list[tuple[str, Layer]] = [
            ("in", Conv2d(self.shape[2], now, gain=1.4, ops=ops)),
            ("silu", Activation("silu", ops)),
        ]
        for i in range(self._stages):
            layers += [
                (f"halve{i}", Conv2d(now, 2 * now, stride=2, gain=1.4, ops=ops)),
                (f"halved{i}", Activation("silu", ops)),
                (f"conv{i}", Conv2d(2 * now, 2 * now, gain=1.4, ops=ops)),
                (f"silu{i}", Activation("silu", ops)),
            ]
            now *= 2
        out = Conv2d(now, self.latent, ops=ops)
        return Sequence((*layers, ("out", out), ("unit", Unit(ops))))  # (AE.1)

    @property
    def decoder(self) -> Sequence:
        """The map of codes to images."""
        ops = self.ops
        now = self.channels * 2**self._stages
        layers: list[tuple[str, Layer]] = [
            ("unit", Unit(ops)),
            ("in", Conv2d(self.latent, now, gain=1.4, ops=ops)),
            ("silu", Activation("silu", ops)),
        ]
        for i in range(self._stages):
            layers += [
                (f"double{i}", Double(now, now // 2, ops)),
                (f"doubled{i}", Activation("silu", ops)),
                (f"conv{i}", Conv2d(now // 2, now // 2, gain=1.4, ops=ops)),
                (f"silu{i}", Activation("silu", ops)),
            ]
            now //= 2
        return Sequence((*layers, ("out", Conv2d(now, self.shape[2], ops=ops))))  # (AE.2)

    def init(self, noise: Noise) -> Params:
        """Draw {"encoder", "decoder"}."""
        encoder = self.encoder.init(noise.at("encoder"))
        return {"encoder": encoder, "decoder": self.decoder.init(noise.at("decoder"))}

    def encode(self, params: Any, x: Array) -> Array:
        """Return the codes of images."""
        return self.encoder.forward(params["encoder"], x)[0]

    def decode(self, params: Any, z: Array) -> Array:
        """Return the images of codes."""
        return self.decoder.forward(params["decoder"], z)[0]

    @property
    def _stages(self) -> int:
        return self.factor.bit_length() - 1
