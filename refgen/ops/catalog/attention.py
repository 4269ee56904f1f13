"""Rows of attention, and of what tells it where and what a token is."""

import math
from typing import Any

import numpy as np

from refgen.ops.catalog.op import Dims, Op, Shapes, labels
from refgen.ops.embedding import ORDERS, SPACINGS
from refgen.typing import Array


def _by_heads(dims: Dims) -> Dims:
    """Make heads divide the features."""
    return {**dims, "D": dims["D"] * dims["H"], "E": dims["E"] * dims["H"]}


def _some_allowed(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw a mask that lets every query see one key at least."""
    mask = rng.uniform(size=shape) < 0.5
    mask[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = True
    return mask


def _attention_flops(shapes: Shapes, out: tuple[int, ...]) -> int:
    """Count the products q kᵀ and A v."""
    keys = shapes["k"][1]
    return 2 * keys * (math.prod(shapes["q"]) + math.prod(out))


def _convention(dims: Dims) -> dict[str, Any]:
    """Pick one of the conventions in circulation."""
    return {
        "dim": 2 + 2 * dims["D"],
        "order": ORDERS[dims["A"] % 3],
        "spacing": SPACINGS[dims["B"] % 2],
        "scale": float(dims["A"]),
    }


ROWS = (
    Op("softmax", "attention", {"x": "N *S K"}, wrt=("x",), tangent=True),
    Op(
        "attention",
        "attention",
        {"q": "N L D", "k": "N M D", "v": "N M E", "mask": "L M"},
        wrt=("q", "k", "v"),
        extra="H",
        constrain=_by_heads,
        static=lambda dims: {"heads": dims["H"]},
        draw={"mask": _some_allowed},
        twin=True,
        flops=_attention_flops,
    ),
    Op(
        "sinusoidal_embedding",
        "embedding",
        {"t": "N"},
        wrt=("t",),
        extra="A B D",
        static=_convention,
    ),
    Op(
        "embedding_lookup",
        "embedding",
        {"index": "N *S", "table": "K D"},
        wrt=("table",),
        draw={"index": labels},
    ),
)
