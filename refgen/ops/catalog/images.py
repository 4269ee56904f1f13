"""Rows of what images pass through: convolutions, joins and changes of resolution."""

import math
from typing import Any

from refgen.ops.catalog.op import Dims, Op, Shapes, product_flops, same


def _conv_sizes(dims: Dims) -> Dims:
    """Make groups divide channels, and images at least as large as the filter."""
    p = dims["P"] - 1  # 0 .. 3
    image = {a: max(dims[a], dims[k] - 2 * p, 1) for a, k in (("H", "U"), ("W", "V"))}
    return {**dims, **image, "C": dims["I"] * dims["G"], "O": dims["O"] * dims["G"]}


def _upsampled_sizes(dims: Dims) -> Dims:
    """Make images at least as large as the filter, once they are twice as large."""
    p = dims["P"] - 1
    image = {a: max(dims[a], -(-(dims[k] - 2 * p) // 2), 1) for a, k in (("H", "U"), ("W", "V"))}
    return {**dims, **image}


def _conv_keywords(dims: Dims) -> dict[str, Any]:
    s, p = dims["S"], dims["P"] - 1
    return {"stride": (s, max(1, s - 1)), "padding": (p, p), "groups": dims["G"]}


def _transposed_sizes(dims: Dims) -> Dims:
    """Make groups divide channels; the padding takes away less than the filter adds."""
    most = min(dims["U"], dims["V"]) - 1
    sizes = {"C": dims["C"] * dims["G"], "P": min(dims["P"] - 1, most // 2)}
    return {**dims, **sizes}


def _transposed_keywords(dims: Dims) -> dict[str, Any]:
    s = dims["S"]
    extra = {"padding": dims["P"], "output_padding": (s - 1, 0), "groups": dims["G"]}
    return {"stride": s, **extra}


def _transposed_flops(shapes: Shapes, out: tuple[int, ...]) -> int:
    return 2 * math.prod(shapes["x"]) * math.prod(shapes["w"][:3])


def _blocks(dims: Dims) -> Dims:
    """Make the factor divide the image."""
    return {**dims, "H": dims["H"] * dims["F"], "W": dims["W"] * dims["F"]}


def _tokens(dims: Dims) -> Dims:
    """Make the tokens fill an image."""
    tokens = {"L": dims["H"] * dims["W"], "C": dims["C"] * dims["F"] ** 2}
    return {**_blocks(dims), **tokens}


ROWS = (
    Op(
        "conv2d",
        "conv",
        {"x": "N H W C", "w": "U V I O", "b": "O"},
        wrt=("x", "w", "b"),
        extra="G S P",
        constrain=_conv_sizes,
        static=_conv_keywords,
        tangent=True,
        twin=True,
        flops=product_flops("w"),
    ),
    Op(
        "conv_transpose2d",
        "conv",
        {"x": "N H W C", "w": "U V I C", "b": "O"},
        wrt=("x", "w", "b"),
        extra="G S P",
        constrain=lambda dims: {**_transposed_sizes(dims), "O": dims["I"] * dims["G"]},
        static=_transposed_keywords,
        tangent=True,
        twin=True,
        flops=_transposed_flops,
    ),
    Op(
        "upsample_conv2d",
        "upsample_conv",
        {"x": "N H W C", "w": "U V C O", "b": "O"},
        wrt=("x", "w", "b"),
        extra="P",
        constrain=_upsampled_sizes,
        static=lambda dims: {"padding": dims["P"] - 1},
        twin=True,
        flops=product_flops("w"),
    ),
    Op("add", "join", same("x z", "N *S C"), twin=True),
    Op(
        "shift",
        "join",
        {"x": "N *S C", "v": "N C"},
        wrt=("x", "v"),
        twin=True,
    ),
    Op(
        "concat",
        "join",
        {"x": "N *S C", "z": "N *S E"},
        wrt=("x", "z"),
        twin=True,
    ),
    Op(
        "nearest_upsample",
        "resample",
        {"x": "N H W C"},
        wrt=("x",),
        extra="F",
        static=lambda dims: {"factor": dims["F"]},
    ),
    Op(
        "average_downsample",
        "resample",
        {"x": "N H W C"},
        wrt=("x",),
        extra="F",
        constrain=_blocks,
        static=lambda dims: {"factor": dims["F"]},
    ),
    Op(
        "space_to_depth",
        "resample",
        {"x": "N H W C"},
        wrt=("x",),
        extra="F",
        constrain=_blocks,
        static=lambda dims: {"block": dims["F"]},
    ),
    Op(
        "depth_to_space",
        "resample",
        {"x": "N H W C"},
        wrt=("x",),
        extra="F",
        constrain=lambda dims: {**dims, "C": dims["C"] * dims["F"] ** 2},
        static=lambda dims: {"block": dims["F"]},
    ),
    Op(
        "patchify",
        "resample",
        {"x": "N H W C"},
        wrt=("x",),
        extra="F",
        constrain=_blocks,
        static=lambda dims: {"patch": dims["F"]},
    ),
    Op(
        "unpatchify",
        "resample",
        {"x": "N L C"},
        wrt=("x",),
        extra="F H W",
        constrain=_tokens,
        static=lambda dims: {"patch": dims["F"], "height": dims["H"], "width": dims["W"]},
    ),
)
