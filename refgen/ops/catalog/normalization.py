"""Rows of the normalizations and of the modulations that follow them."""

from typing import Any

from refgen.ops.catalog.op import Dims, Op, positive


def _grouped(dims: Dims) -> Dims:
    """Make groups divide channels, three or more in each.

    A set of two is ±1 whatever it was, up to eps: all derivatives are rounding errors of 0.
    """
    return {**dims, "C": (dims["C"] + 2) * dims["G"]}


def _groups(dims: Dims) -> dict[str, Any]:
    return {"groups": dims["G"]}


AFFINE = {"x": "N *S C", "gamma": "C", "beta": "C"}
STEERED = {"scale": "N C", "shift": "N C"}

ROWS = (
    Op(
        "group_norm",
        "normalization",
        AFFINE,
        wrt=("x", "gamma", "beta"),
        extra="G",
        constrain=_grouped,
        static=_groups,
        tangent=True,
        twin=True,
    ),
    Op(
        "layer_norm",
        "normalization",
        AFFINE,
        wrt=("x", "gamma", "beta"),
        extra="G",
        constrain=_grouped,
        tangent=True,
        twin=True,
    ),
    Op(
        "batch_norm",
        "batch_norm",
        AFFINE,
        wrt=("x", "gamma", "beta"),
        constrain=lambda dims: {**dims, "N": dims["N"] + 2},
        tangent=True,
        twin=True,
    ),
    Op(
        "fixed_norm",
        "batch_norm",
        {**AFFINE, "mean": "C", "var": "C"},
        wrt=("x", "gamma", "beta", "mean", "var"),
        draw={"var": positive},
        tangent=True,
    ),
    Op(
        "running_step",
        "batch_norm",
        dict.fromkeys(("mean", "var", "batch_mean", "batch_var"), "C"),
        static={"count": 5},
        draw={"var": positive, "batch_var": positive},
    ),
    Op(
        "instance_norm",
        "instance_norm",
        {"x": "N H *S C", "gamma": "C", "beta": "C"},
        wrt=("x", "gamma", "beta"),
        constrain=lambda dims: {**dims, "H": dims["H"] + 2},
        tangent=True,
    ),
    Op(
        "adain",
        "instance_norm",
        {"content": "N H W C", "style": "N L C"},
        wrt=("content", "style"),
        constrain=lambda dims: {**dims, "H": dims["H"] + 2, "L": dims["L"] + 2},
    ),
    Op(
        "film",
        "modulation",
        {"x": "N *S C", **STEERED},
        wrt=("x", "scale", "shift"),
        tangent=True,
    ),
    Op(
        "adaln",
        "modulation",
        {"x": "N *S C", **STEERED},
        wrt=("x", "scale", "shift"),
        extra="G",
        constrain=_grouped,
    ),
    Op(
        "gate",
        "modulation",
        {"x": "N *S C", "branch": "N *S C", "gate": "N C"},
        wrt=("x", "branch", "gate"),
    ),
    Op(
        "group_norm_silu",
        "fused",
        AFFINE,
        wrt=("x", "gamma", "beta"),
        extra="G",
        constrain=_grouped,
        static=_groups,
        tangent=True,
        twin=True,
    ),
    Op(
        "group_norm_film_silu",
        "fused",
        AFFINE | STEERED,
        wrt=("x", "gamma", "beta", "scale", "shift"),
        extra="G",
        constrain=_grouped,
        static=_groups,
        twin=True,
    ),
)
