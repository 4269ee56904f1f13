"""The networks that a diffusion model can be built on, by name."""

import math

from refgen import ops as reference
from refgen.models.convnet import halvings
from refgen.models.dit import DiT
from refgen.models.mlp import TimeMLP
from refgen.models.unet import UNet
from refgen.ops.protocol import Ops

Denoiser = TimeMLP | UNet | DiT
DENOISERS = ("mlp", "unet", "dit")
GROUPS = 8  # of channels that a UNet normalizes together


def denoiser(
    name: str,
    shape: tuple[int, ...],
    hidden: int,
    blocks: int,
    ops: Ops = reference,
    *,
    outputs: int = 1,
) -> Denoiser:
    """Return a network (N, *shape), (N,) -> (N, *shape), or with outputs times the channels.

    hidden is the width of an MLP or of a token, or the channels of a UNet's lowest level, which
    are halved wherever the image is doubled; blocks counts residual blocks, transformer blocks,
    or the blocks on each level of a UNet. An MLP gets at least one unit for each entry of an
    example: a narrower one could not name all of its noise. Levels and patches follow from the
    image: a UNet halves it while both sides are even and 8 or more, a DiT cuts it into the smallest
    patches that make at most 49 tokens.

    Raises ValueError for an unknown name, for a UNet or a DiT of anything but images, and for
    sizes that the network refuses.
    """
    if name not in DENOISERS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(DENOISERS)}")
    if name == "mlp":
        entries = math.prod(shape)
        return TimeMLP(entries, max(hidden, entries), blocks, outputs=outputs, ops=ops)
    if len(shape) != 3:
        raise ValueError(
            f"a {name} takes images, not examples of shape {shape}: use model=mlp for points"
        )
    height, width, channels = shape
    if name == "unet":
        levels = 1 + halvings(height, width)
        widths = tuple(2**i for i in range(levels))
        if hidden % (GROUPS * widths[-1]):
            raise ValueError(
                f"a unet of {levels} levels on {height} x {width} takes hidden as a multiple of "
                f"{GROUPS * widths[-1]}: {GROUPS} groups of channels, halved {levels - 1} times; "
                f"not {hidden}"
            )
        return UNet(
            (height, width, channels),
            hidden // widths[-1],
            widths,
            blocks,
            attention=(levels - 1,) if levels > 1 else (),
            groups=GROUPS,
            outputs=outputs,
            ops=ops,
        )
    patch = _patch(height, width)
    return DiT((height, width, channels), patch, hidden, blocks, outputs=outputs, ops=ops)


def _patch(height: int, width: int) -> int:
    """Return the smallest patch that divides both sides and gives at most 49 tokens.

    >>> [_patch(n, n) for n in (8, 28, 32)]
    [2, 4, 8]
    """
    common = math.gcd(height, width)
    patches = [k for k in range(1, common + 1) if common % k == 0]
    return next((k for k in patches if height * width <= 49 * k * k), common)
