r"""The UNet: an image network that sees far at low resolution and sharply through its skips.

Shapes     N batch, H, W image, C channels of x, C' of a conditioning image, L tokens of size D.
           x, y, dx, dy : (N, H, W, C)    t : (N,)    labels : (N,) in 0 .. K
           image : (N, H, W, C')    tokens : (N, L, D)
Sources    ronneberger2015-unet  (the shape, the skips);  ho2020-ddpm  appendix B (residual
           blocks, time, attention at low resolutions);  rombach2022-latent (cross-attention)

    e = silu(W₂ silu(W₁ PE(t)) + E[label])                                                  (UN.1)
    h = conv([x, image])                                                                    (UN.2)
    down, per block:  h ← attend(block(h, e)), remembered;   half the size after a level    (UN.3)
    middle:           h ← block(attend(block(h, e)), e)                                     (UN.4)
    up, per block:    h ← attend(block([h, the last remembered], e));   twice after a level (UN.5)
    y = conv(silu(norm(h)))                                                                 (UN.6)

The first line is layers/condition.py, its biases not written. attend is the identity at the
upper levels: attention among W² pixels costs W⁴. Where there are tokens, attention to them follows
attention among pixels. Row K of E is the null label, used where no label is given; a network
without classes has no E.

Adjoint. The network is a list of moves, and backward takes it from the end. What was
remembered is felt twice, by the next move and by the block that recalled it, so the two
gradients are added where it was remembered; e collects a gradient from every block.   (UN.7)
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refgen import ops as reference
from refgen.layers import (
    Conv2d,
    CrossAttention,
    Double,
    GroupNormSilu,
    Halve,
    ResBlock,
    SelfAttention,
)
from refgen.layers.condition import Condition
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


class InputGradients(NamedTuple):
    """The gradients of all that goes in, None for what was not given."""

    x: Array
    image: Array | None
    tokens: Array | None


class Move(NamedTuple):
    """One step of the network: what is done, by which layer."""

    what: str
    name: str = ""


@dataclass(frozen=True)
class UNet:
    """A noise predictor for images, (N, *shape) and (N,) -> (N, *shape).

    shape is (H, W, C). channels times widths[i] are the channels at level i, where the image is
    H / 2^i high; blocks is the number of blocks per level on either side; attention lists the
    levels that attend, the middle always does. y has outputs times the channels of x: two where
    variances are learnt. classes, image and context are the number of labels, the channels of a
    conditioning image and the size of a token, 0 for none.

    Raises ValueError for a size that the levels cannot halve, naming the divisor, and for
    channels that groups or heads do not divide.
    """

    shape: tuple[int, int, int]
    channels: int = 32
    widths: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = (1,)
    heads: int = 4
    groups: int = 8
    steering: str = "added"
    outputs: int = 1
    classes: int = 0
    image: int = 0
    context: int = 0
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"a UNet takes images (H, W, C), not examples of shape {self.shape}")
        divisor = 2 ** (len(self.widths) - 1)
        for axis, size in (("height", self.shape[0]), ("width", self.shape[1])):
            if size % divisor:
                raise ValueError(
                    f"a UNet of {len(self.widths)} levels halves images {len(self.widths) - 1} "
                    f"times, so {axis} {size} must be a multiple of {divisor}: use fewer levels "
                    f"or another size"
                )
        if not self.widths or min(*self.widths, self.blocks, self.outputs) < 1:
            raise ValueError(
                f"widths, blocks and outputs are at least 1, not {self.widths}, {self.blocks}, "
                f"{self.outputs}"
            )
        levels = range(len(self.widths))
        if not set(self.attention) <= set(levels):
            raise ValueError(f"attention lists levels 0 .. {levels[-1]}, not {self.attention}")
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters; every block starts as its skip, the output at 0."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    @property
    def embedding(self) -> int:
        """The size of e."""
        return 4 * self.channels

    def forward(
        self,
        params: Any,
        x: Array,
        t: Array,
        labels: Array | None = None,
        *,
        image: Array | None = None,
        tokens: Array | None = None,
    ) -> tuple[Array, Cache]:
        """Return (y, cache). labels None means the null label for all.

        Raises ValueError for a shape that is not the network's, and for a condition that it was
        not built for or that is missing.
        """
        self._refuse(x, image, tokens)
        layers, caches = self._layers(), list[Cache]()
        e, condition = layers["condition"].forward(
            params["condition"], t.astype(x.dtype), labels
        )  # (UN.1)
        given = {"block": (e,), "look": (tokens,)}
        h = x if image is None else np.concatenate([x, image], axis=-1)  # (UN.2)
        memory = list[Array]()
        for what, name in self._moves():  # (UN.3), (UN.4), (UN.5), (UN.6)
            cache: Cache = None
            if what == "remember":
                memory.append(h)
            elif what == "recall":
                h, cache = self.ops.concat_forward(h, memory.pop())
            else:
                h, cache = layers[name].forward(params[name], h, *given.get(what, ()))
            caches.append(cache)
        return h, (condition, caches)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        inputs, grads = self.backward_inputs(dy, cache)
        return inputs.x, grads

    def backward_inputs(self, dy: Array, cache: Cache) -> tuple[InputGradients, Grads]:
        """Return the gradients of x, image and tokens, for what produced them, and grads."""
        condition, caches = cache
        layers, grads = self._layers(), dict[str, Any]()
        dgiven: dict[str, list[Array]] = {"block": [], "look": []}
        dh, dmemory = dy, list[Array]()
        moves = zip(reversed(self._moves()), reversed(caches), strict=True)
        for (what, name), move_cache in moves:
            if what == "remember":
                dh = self.ops.add(dh, dmemory.pop())  # (UN.7)
            elif what == "recall":
                dh, dskip = self.ops.concat_backward(dh, move_cache)
                dmemory.append(dskip)
            else:
                dh, *dextra, grads[name] = layers[name].backward(dh, move_cache)
                dgiven.setdefault(what, []).extend(dextra)
        grads["condition"] = layers["condition"].backward(_total(dgiven["block"]), condition)
        own = self.shape[-1]
        dimage = dh[..., own:] if self.image else None
        dtokens = _total(dgiven["look"]) if self.context else None
        return InputGradients(dh[..., :own], dimage, dtokens), grads

    def summary(self) -> str:
        """Return a table of the network applied to one example."""
        from refgen.models.summary import summarize

        x, given = np.zeros((1, *self.shape)), dict[str, Array]()
        if self.image:
            given["image"] = np.zeros((1, *self.shape[:2], self.image))
        if self.context:
            given["tokens"] = np.zeros((1, 8, self.context))
        return summarize(self, self.init(Noise(0)), x, np.zeros(1, int), **given)

    def _moves(self) -> list[Move]:
        """Return what the network does, in order."""
        levels = range(len(self.widths))
        places = [(level, i) for level in levels for i in range(self.blocks)]
        moves = [Move("convolve", "in")]
        for level, i in places:
            moves += [*self._see(level, f"down{level}_{i}"), Move("remember")]
            if i == self.blocks - 1 and level != levels[-1]:
                moves.append(Move("halve", f"halve{level}"))
        moves += [*self._see(None, "middle0"), Move("block", "middle1")]
        for level, i in reversed(places):
            moves += [Move("recall"), *self._see(level, f"up{level}_{i}")]
            if i == 0 and level:
                moves.append(Move("double", f"double{level}"))
        return [*moves, Move("normalize", "norm"), Move("convolve", "out")]

    def _see(self, level: int | None, name: str) -> list[Move]:
        """Return a block and what follows it where its level attends; None is the middle."""
        moves = [Move("block", name)]
        if level is None or level in self.attention:
            moves.append(Move("attend", f"{name}_attend"))
            if self.context:
                moves.append(Move("look", f"{name}_look"))
        return moves

    def _layers(self) -> dict[str, Any]:
        """Return the layer of every move, and the one that embeds the time."""
        c, size, ops = self.shape[-1], self.embedding, self.ops
        condition = Condition(self.channels, size, self.classes, ops)
        layers: dict[str, Any] = {"condition": condition}
        now, memory = self.channels, list[int]()
        for what, name in self._moves():
            if what == "remember":
                memory.append(now)
            elif what == "recall":
                now += memory.pop()
            elif what == "block":
                out = self._width(name)
                layers[name] = ResBlock(now, out, size, self.groups, self.steering, ops)
                now = out
            elif what == "attend":
                layers[name] = SelfAttention(now, self.heads, self.groups, ops=ops)
            elif what == "look":
                layers[name] = CrossAttention(now, self.context, self.heads, self.groups, ops=ops)
            elif what in ("halve", "double"):
                layers[name] = (Halve if what == "halve" else Double)(now, ops=ops)
        layers["in"] = Conv2d(c + self.image, self.channels, ops=ops)
        layers["norm"] = GroupNormSilu(self.channels * self.widths[0], self.groups, ops=ops)
        out = self.outputs * c
        layers["out"] = Conv2d(self.channels * self.widths[0], out, gain=0.0, ops=ops)
        return layers

    def _width(self, block: str) -> int:
        """Return the channels that a block gives, by its name: down0_1, middle0, up2_0."""
        level = -1 if block.startswith("middle") else int(block.strip("downup").split("_")[0])
        return self.channels * self.widths[level]

    def _refuse(self, x: Array, image: Array | None, tokens: Array | None) -> None:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"a UNet for images {self.shape} was given an array of shape {x.shape}: it takes "
                f"(N, {', '.join(map(str, self.shape))})"
            )
        for name, size, value, rank in (
            ("image", self.image, image, 4),
            ("tokens", self.context, tokens, 3),
        ):
            field_name = "image" if name == "image" else "context"
            if (value is None) != (size == 0):
                said = "needs" if size else "has no use for"
                raise ValueError(f"a UNet with {field_name}={size} {said} {name}")
            if value is not None and (value.ndim != rank or value.shape[-1] != size):
                raise ValueError(
                    f"{name} of a UNet with {field_name}={size} must have {rank} axes, the last "
                    f"of {size}, not shape {value.shape}"
                )
        if image is not None and image.shape[:3] != x.shape[:3]:
            raise ValueError(
                f"image {image.shape} and x {x.shape} must agree in all but channels: resize it"
            )


def _total(parts: list[Array]) -> Array:
    return sum(parts[1:], start=parts[0])
