"""Rows of what keeps a training honest: dropout, spectral norm, rounding, minibatches."""

import numpy as np

from refgen.ops.catalog.op import Dims, Op, positive
from refgen.typing import Array


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    return rng.uniform(size=shape)


def _identity(x: Array, **static: float) -> tuple[Array, None]:
    return x, None


def _spectral(dims: Dims) -> Dims:
    """Give u a number for each input; a weight of one number is always 1 after division."""
    inputs = dims["I"] + 1
    return {**dims, "I": inputs, "R": dims["U"] * inputs}


ROWS = (
    Op(
        "dropout",
        "regularization",
        dict.fromkeys(("x", "uniform"), "N *S"),
        wrt=("x",),
        static={"rate": 0.3},
        draw={"uniform": _uniform},
    ),
    Op(
        "minibatch_std",
        "regularization",
        {"x": "N *S C"},
        wrt=("x",),
        constrain=lambda dims: {**dims, "N": dims["N"] + 1},
    ),
    Op(
        "straight_through_round",
        "regularization",
        {"x": "N *S"},
        wrt=("x",),
        static={"step": 0.5},
        surrogate=_identity,
    ),
    Op("safe_norm", "regularization", {"x": "N *S"}, wrt=("x",)),
    Op(
        "spectral_norm",
        "spectral_norm",
        {"w": "U I O", "u": "R", "v": "O"},
        wrt=("w",),
        constrain=_spectral,
        draw=dict.fromkeys(("w", "u", "v"), positive),
    ),
    Op("power_step", "spectral_norm", {"w": "U I O", "v": "O"}, static={"iterations": 2}),
)
