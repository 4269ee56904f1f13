"""The networks that a diffusion model can be built on, by name."""

import math

from refgen import ops as reference
from refgen.models.dit import DiT
from refgen.models.mlp import TimeMLP
from refgen.models.unet import UNet
from refgen.ops.protocol import Ops

Denoiser = TimeMLP | UNet | DiT
DENOISERS = ("mlp", "unet", "dit")


def denoiser(
    name: str, shape: tuple[int, ...], hidden: int, blocks: int, ops: Ops = reference
) -> Denoiser:
    """Return a network (N, *shape), (N,) -> (N, *shape).

    hidden is the width of an MLP or of a token, or the channels of a UNet's finest level;
    blocks counts residual blocks, transformer blocks, or the blocks on each level of a UNet.
    Levels and patches follow from the image: it is halved down to 4 .. 7 pixels, and cut into
    patches that make at most 49 tokens.

    Raises ValueError for an unknown name, for a UNet or a DiT of anything but images, and for
    sizes that the network refuses.
    """
    if name not in DENOISERS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(DENOISERS)}")
    if name == "mlp":
        return TimeMLP(math.prod(shape), hidden, blocks, ops=ops)
    if len(shape) != 3:
        raise ValueError(
            f"a {name} takes images, not examples of shape {shape}: use model=mlp for points"
        )
    height, width, channels = shape
    if name == "unet":
        halvings = _halvings(height, width)
        widths = (1,) + (2,) * halvings
        return UNet(
            (height, width, channels),
            hidden,
            widths,
            blocks,
            attention=(halvings,) if halvings else (),
            ops=ops,
        )
    return DiT((height, width, channels), _patch(height, width), hidden, blocks, ops=ops)


def _halvings(height: int, width: int) -> int:
    """Count how often both sides can be halved and stay at least 4.

    >>> [_halvings(n, n) for n in (7, 8, 28, 32, 30)]
    [0, 1, 2, 3, 1]
    """
    count = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    return count


def _patch(height: int, width: int) -> int:
    """Return the smallest patch that divides both sides and gives at most 49 tokens.

    >>> [_patch(n, n) for n in (8, 28, 32)]
    [2, 4, 8]
    """
    common = math.gcd(height, width)
    patches = [k for k in range(1, common + 1) if common % k == 0]
    return next((k for k in patches if height * width <= 49 * k * k), common)
