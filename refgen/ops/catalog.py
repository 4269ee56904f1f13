"""Every op once: its name, the shapes of its arrays, what it is differentiated against.

Tests draw their arrays from these rows, benchmarks size them, tables print them.
Shapes are words: `N *S C` is a batch axis, any number of axes in between, and the channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen.typing import Array

Dims = dict[str, Any]  # letter -> size; a starred letter -> tuple of sizes
Draw = Callable[[np.random.Generator, tuple[int, ...], Dims], Array]


def normal(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw what an argument holds unless its row says otherwise."""
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw numbers that may be a variance or a second moment."""
    return rng.uniform(0.1, 2.0, size=shape)


def labels(rng: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Draw class labels 0 .. K − 1."""
    return rng.integers(dims["K"], size=shape)


@dataclass(frozen=True)
class Op:
    """One op: all that a test or a benchmark must know to call it."""

    name: str
    page: str  # the module of refgen.ops that holds it
    shapes: Mapping[str, str]  # argument -> shape words, in call order
    wrt: tuple[str, ...] = ()  # arguments that backward returns gradients for, in order
    static: Mapping[str, Any] = field(default_factory=dict)  # keywords
    draw: Mapping[str, Draw] = field(default_factory=dict)  # arguments that are not normal
    analytic: bool = True  # complex step applies; otherwise central differences
    twin: bool = False  # worth a kernel: the backends have it too

    @property
    def forward(self) -> str:
        """The name of its forward in an op table; updates (`_step`) have only that."""
        return f"{self.name}_forward" if self.wrt else self.name

    def letters(self) -> list[str]:
        """Return the size letters of the shapes, starred where they stand for several axes."""
        return sorted({w for words in self.shapes.values() for w in words.split()})

    def arrays(self, dims: Dims, rng: np.random.Generator) -> dict[str, Array]:
        """Draw every argument, of the sizes given for each letter."""
        return {
            argument: self.draw.get(argument, normal)(rng, resolve(words, dims), dims)
            for argument, words in self.shapes.items()
        }


def resolve(words: str, dims: Dims) -> tuple[int, ...]:
    """Turn shape words into a shape.

    >>> resolve("N *S C", {"N": 2, "S": (5, 7), "C": 3})
    (2, 5, 7, 3)
    """
    shape: list[int] = []
    for w in words.split():
        shape += dims[w[1:]] if w.startswith("*") else [dims[w]]
    return tuple(shape)


def _pointwise(name: str, **kwargs: Any) -> Op:
    return Op(name, "activation", {"x": "N *S"}, wrt=("x",), **kwargs)


def _same(arguments: str, words: str) -> dict[str, str]:
    return dict.fromkeys(arguments.split(), words)


CATALOG = (
    Op("dense", "dense", {"x": "N *S I", "w": "I O", "b": "O"}, wrt=("x", "w", "b")),
    _pointwise("relu", analytic=False),
    _pointwise("leaky_relu", analytic=False, static={"slope": 0.2}),
    _pointwise("sigmoid"),
    _pointwise("tanh"),
    _pointwise("silu"),
    _pointwise("softplus"),
    _pointwise("gelu"),
    Op(
        "reparameterize",
        "gaussian",
        _same("mu logvar noise", "N D"),
        wrt=("mu", "logvar", "noise"),
    ),
    Op("gaussian_kl", "gaussian", _same("mu logvar", "N D"), wrt=("mu", "logvar")),
    Op(
        "reparameterize_kl",
        "gaussian",
        _same("mu logvar noise", "N D"),
        wrt=("mu", "logvar"),
        twin=True,
    ),
    Op(
        "gaussian_nll",
        "likelihood",
        {"x": "N D", "mean": "N D", "logvar": "D"},
        wrt=("x", "mean", "logvar"),
    ),
    Op(
        "bernoulli_nll",
        "likelihood",
        _same("x logits", "N D"),
        wrt=("x", "logits"),
        draw={"x": lambda rng, shape, dims: rng.uniform(size=shape)},
    ),
    Op(
        "categorical_nll",
        "likelihood",
        {"labels": "N", "logits": "N K"},
        wrt=("logits",),
        draw={"labels": labels},
    ),
    Op("sinusoidal_embedding", "embedding", {"t": "N"}, wrt=("t",), static={"dim": 6}),
    Op(
        "noising",
        "noising",
        {"data": "N *S", "noise": "N *S", "a": "N", "b": "N"},
        wrt=("data", "noise", "a", "b"),
        twin=True,
    ),
    Op(
        "ddpm_step",
        "step",
        _same("x noise_hat noise", "N *S"),
        wrt=("x", "noise_hat", "noise"),
        static={"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3},
        twin=True,
    ),
    Op(
        "ddim_step",
        "step",
        _same("x noise_hat noise", "N *S"),
        wrt=("x", "noise_hat", "noise"),
        static={"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2},
        twin=True,
    ),
    Op(
        "affine_coupling",
        "coupling",
        _same("x shift log_scale", "N D"),
        wrt=("x", "shift", "log_scale"),
    ),
    Op("discriminator_loss", "adversarial", _same("real fake", "N"), wrt=("real", "fake")),
    Op("minimax_loss", "adversarial", {"fake": "N"}, wrt=("fake",)),
    Op("nonsaturating_loss", "adversarial", {"fake": "N"}, wrt=("fake",)),
    Op(
        "adam_step",
        "adam",
        _same("p g m v", "N *S"),
        static={"step": 3, "lr": 0.01},
        draw={"v": positive},
    ),
    Op("ema_step", "adam", _same("average p", "N *S"), static={"decay": 0.9}),
    Op(
        "adam_ema_step",
        "adam",
        _same("p g m v average", "N *S"),
        static={"step": 3, "lr": 0.01, "decay": 0.9},
        draw={"v": positive},
        twin=True,
    ),
)
