r"""Changes of resolution: pixels repeated, averaged, or moved into the channels and back.

Shapes     N batch, H, W image, C channels, f factor, k block, L = (H/k)(W/k) tokens.
           nearest_upsample     (N, H, W, C)   -> (N, f H, f W, C)
           average_downsample   (N, H, W, C)   -> (N, H/f, W/f, C)
           space_to_depth       (N, H, W, C)   -> (N, H/k, W/k, k² C)
           depth_to_space       (N, H, W, k² C) -> (N, k H, k W, C)
           patchify             (N, H, W, C)   -> (N, L, k² C)
           unpatchify           (N, L, k² C)   -> (N, H, W, C)
Sources    shi2016-subpixel  (space and depth);  dosovitskiy2021-vit  section 3.1 (patches)

Write pixel (i, j) of a coarse image and (u, v) within its block, so that f i + u is a row of
the fine image.

    nearest_upsample:    y[f i + u, f j + v] = x[i, j]                                (RS.1)
    average_downsample:  y[i, j] = f⁻² Σ_{u, v} x[f i + u, f j + v]                   (RS.2)
    space_to_depth:      y[i, j, (k u + v) C + c] = x[k i + u, k j + v, c]            (RS.3)

depth_to_space is the inverse of (RS.3); patchify is (RS.3) with the coarse image read row by
row as a sequence of tokens:

    l = i W/k + j                                                                     (RS.4)

Adjoints. What was repeated is summed, what was averaged shares the gradient out, and what was
only moved moves back:

    upsample:    dx[i, j] = Σ_{u, v} dy[f i + u, f j + v] = f² average(dy)            (RS.5)
    downsample:  dx[f i + u, f j + v] = f⁻² dy[i, j] = f⁻² upsample(dy)               (RS.6)

All of them are linear, so each is its own tangent.
"""

from typing import NamedTuple

import numpy as np

from refgen.typing import Array


class FactorCache(NamedTuple):
    """The factor or block by which the sizes changed."""

    factor: int


def nearest_upsample_forward(x: Array, *, factor: int) -> tuple[Array, FactorCache]:
    """Return x with every pixel repeated factor × factor times."""
    _refuse_factor("nearest_upsample", "factor", factor)
    return np.repeat(np.repeat(x, factor, axis=1), factor, axis=2), FactorCache(factor)  # (RS.1)


def nearest_upsample_backward(dy: Array, cache: FactorCache) -> Array:
    """Return dx."""
    return cache.factor**2 * _average(dy, cache.factor)  # (RS.5)


def average_downsample_forward(x: Array, *, factor: int) -> tuple[Array, FactorCache]:
    """Return the means of factor × factor blocks. Raises ValueError unless factor divides H, W.

    >>> y, _ = average_downsample_forward(np.arange(4.0).reshape(1, 2, 2, 1), factor=2)
    >>> y.ravel()
    array([1.5])
    """
    _refuse_factor("average_downsample", "factor", factor)
    _refuse_image("average_downsample", x, factor)
    return _average(x, factor), FactorCache(factor)


def average_downsample_backward(dy: Array, cache: FactorCache) -> Array:
    """Return dx."""
    f = cache.factor
    return np.repeat(np.repeat(dy / f**2, f, axis=1), f, axis=2)  # (RS.6)


def space_to_depth_forward(x: Array, *, block: int) -> tuple[Array, FactorCache]:
    """Return block × block pixels as one pixel of many channels.

    Raises ValueError unless block divides H and W.
    """
    _refuse_factor("space_to_depth", "block", block)
    _refuse_image("space_to_depth", x, block)
    return _gather(x, block), FactorCache(block)


def space_to_depth_backward(dy: Array, cache: FactorCache) -> Array:
    """Return dx."""
    return _scatter(dy, cache.factor)


def depth_to_space_forward(x: Array, *, block: int) -> tuple[Array, FactorCache]:
    """Return each pixel spread over block × block pixels of fewer channels.

    Raises ValueError unless block² divides the channels.
    """
    _refuse_factor("depth_to_space", "block", block)
    if x.ndim != 4 or x.shape[-1] % block**2:
        raise ValueError(
            f"depth_to_space: the channels of {x.shape} cannot fill blocks of {block} x {block}: "
            f"x is (N, H, W, C) with C a multiple of {block**2}"
        )
    return _scatter(x, block), FactorCache(block)


def depth_to_space_backward(dy: Array, cache: FactorCache) -> Array:
    """Return dx."""
    return _gather(dy, cache.factor)


class PatchCache(NamedTuple):
    """The sizes that the sequence of tokens does not show."""

    patch: int  # k
    height: int  # H
    width: int  # W


def patchify_forward(x: Array, *, patch: int) -> tuple[Array, PatchCache]:
    """Return the patches of an image as tokens, row by row.

    Raises ValueError unless patch divides H and W.

    >>> y, _ = patchify_forward(np.arange(16.0).reshape(1, 4, 4, 1), patch=2)
    >>> y[0, 1]  # the upper right patch
    array([2., 3., 6., 7.])
    """
    _refuse_factor("patchify", "patch", patch)
    _refuse_image("patchify", x, patch)
    return _tokens(_gather(x, patch)), PatchCache(patch, x.shape[1], x.shape[2])


def patchify_backward(dy: Array, cache: PatchCache) -> Array:
    """Return dx."""
    return _image(dy, *cache)


def unpatchify_forward(
    x: Array, *, patch: int, height: int, width: int
) -> tuple[Array, PatchCache]:
    """Return the image whose patches are the tokens x, (N, height, width, C).

    Raises ValueError for a size that patch does not divide, for another number of tokens than
    (height / patch)(width / patch) and for token sizes that are no multiple of patch².
    """
    _refuse_factor("unpatchify", "patch", patch)
    if height % patch or width % patch:
        raise ValueError(
            f"unpatchify: an image of {height} x {width} has no whole patches of {patch}²: "
            f"both sizes must be multiples of {patch}"
        )
    tokens = (height // patch) * (width // patch)
    if x.ndim != 3 or x.shape[1] != tokens or x.shape[2] % patch**2:
        raise ValueError(
            f"unpatchify: {height} x {width} in patches of {patch} takes (N, {tokens}, C) with C a "
            f"multiple of {patch**2}, not {x.shape}"
        )
    return _image(x, patch, height, width), PatchCache(patch, height, width)


def unpatchify_backward(dy: Array, cache: PatchCache) -> Array:
    """Return dx."""
    return _tokens(_gather(dy, cache.patch))


def _average(x: Array, factor: int) -> Array:
    n, height, width, c = x.shape
    blocks = np.reshape(x, (n, height // factor, factor, width // factor, factor, c))
    mean: Array = np.mean(blocks, axis=(2, 4))  # (RS.2)
    return mean


def _gather(x: Array, block: int) -> Array:
    n, height, width, c = x.shape
    blocks = np.reshape(x, (n, height // block, block, width // block, block, c))
    blocks = np.transpose(blocks, (0, 1, 3, 2, 4, 5))
    return np.reshape(blocks, (n, height // block, width // block, block**2 * c))  # (RS.3)


def _scatter(x: Array, block: int) -> Array:
    n, height, width, c = x.shape
    blocks = np.reshape(x, (n, height, width, block, block, c // block**2))
    blocks = np.transpose(blocks, (0, 1, 3, 2, 4, 5))
    return np.reshape(blocks, (n, height * block, width * block, c // block**2))


def _tokens(x: Array) -> Array:
    n, height, width, c = x.shape
    return np.reshape(x, (n, height * width, c))  # (RS.4)


def _image(x: Array, patch: int, height: int, width: int) -> Array:
    coarse = np.reshape(x, (x.shape[0], height // patch, width // patch, x.shape[2]))
    return _scatter(coarse, patch)


def _refuse_factor(name: str, what: str, factor: int) -> None:
    if factor < 1:
        raise ValueError(f"{name}: {what} must be at least 1, not {factor}")


def _refuse_image(name: str, x: Array, factor: int) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name}: an image is (N, H, W, C), not {x.shape}")
    for axis, size in (("height", x.shape[1]), ("width", x.shape[2])):
        if size % factor:
            raise ValueError(
                f"{name}: {axis} {size} cannot be cut into pieces of {factor}: it must be a "
                f"multiple of {factor}"
            )
