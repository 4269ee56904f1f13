r"""Derivatives of derivatives: a tangent goes forward beside x, two gradients come back.

Shapes     x, ẋ, dx, dẋ : the input of a layer    y, ẏ, dy, dẏ : its output
Sources    pearlmutter1994-hessian  (the product of a Hessian and a vector);
           gulrajani2017-wgan-gp  eq. 3 (a loss that needs it)

Beside y = f(x, θ) a layer moves a tangent of its input, its parameters standing still:

    ẏ = J ẋ                                                                       (SO.1)

A loss that looks at y and at ẏ has a gradient in each. Going back, ẋ is felt through J only;
x and θ are felt through y, and through J as well, which is what an op calls its curvature:

    dẋ = Jᵀ dẏ                                                                    (SO.2)
    dx = Jᵀ dy + ∇_x ⟨dẏ, J ẋ⟩,   dθ likewise                                     (SO.3)

What it is for. Let D be a critic, g = ∇_x D(x) its gradient, and h(g) a penalty of it. With
v = ∇h(g), held fixed, ⟨v, g⟩ is the tangent of D along v, so

    ∇_θ Σ h(g) = ∇_θ Σ Ḋ   at ẋ = v                                               (SO.4)

Three passes do it: backward for g, tangent along v, tangent_backward with dẏ = 1 and dy = 0. In
the same way a field's divergence is Σ_i ⟨e_i, J e_i⟩, and sliced score matching takes
⟨v, J v⟩ for random v; both are one tangent each.
"""

from typing import Any

import numpy as np

from refgen import ops
from refgen.layers.activation import Activation
from refgen.layers.conv import Conv2d, ConvTranspose2d
from refgen.layers.dense import Dense
from refgen.layers.layer import Layer
from refgen.layers.norm import GroupNorm, GroupNormSilu, LayerNorm
from refgen.layers.sequence import Sequence
from refgen.typing import Array, Cache, Grads

ONE_OP: dict[type, tuple[str, tuple[str, ...]]] = {
    Dense: ("dense", ("w", "b")),
    Conv2d: ("conv2d", ("w", "b")),
    ConvTranspose2d: ("conv_transpose2d", ("w", "b")),
    GroupNorm: ("group_norm", ("gamma", "beta")),
    GroupNormSilu: ("group_norm_silu", ("gamma", "beta")),
    LayerNorm: ("layer_norm", ("gamma", "beta")),
}


def tangent(layer: Layer, params: Any, x_dot: Array, cache: Cache) -> tuple[Array, Cache]:
    """Return (y_dot, tangent cache), with the cache of the layer's forward.

    Raises TypeError for a layer that is neither one op nor a sequence of such.
    """
    if isinstance(layer, Sequence):
        caches = []
        for (name, part), part_cache in zip(layer.layers, cache, strict=True):
            x_dot, moved = tangent(part, params.get(name, {}), x_dot, part_cache)
            caches.append(moved)
        return x_dot, caches
    op, names = _op_of(layer)
    still = [np.zeros_like(params[name]) for name in names]
    y_dot: Array = getattr(ops, f"{op}_tangent")(x_dot, *still, cache)  # (SO.1)
    return y_dot, (x_dot, *still)


def tangent_backward(
    layer: Layer, dy: Array, dy_dot: Array, cache: Cache, moved: Cache
) -> tuple[Array, Array, Grads]:
    """Return (dx, dx_dot, grads) of a loss of y and y_dot, with both caches."""
    if isinstance(layer, Sequence):
        grads: Grads = {}
        parts = zip(reversed(layer.layers), reversed(cache), reversed(moved), strict=True)
        for (name, part), part_cache, part_moved in parts:
            dy, dy_dot, of_part = tangent_backward(part, dy, dy_dot, part_cache, part_moved)
            if of_part:
                grads[name] = of_part
        return dy, dy_dot, grads
    op, names = _op_of(layer)
    backward, curvature = getattr(ops, f"{op}_backward"), getattr(ops, f"{op}_curvature")
    dx_dot = _several(backward(dy_dot, cache))[0]  # (SO.2)
    direct, bent = _several(backward(dy, cache)), _several(curvature(dy_dot, *moved, cache))
    dx, *dparams = (a + b for a, b in zip(direct, bent, strict=True))  # (SO.3)
    return dx, dx_dot, dict(zip(names, dparams, strict=True))


def input_gradient(layer: Layer, params: Any, x: Array) -> tuple[Array, Array, Cache]:
    """Return (D(x), ∇_x Σ D(x), cache) of a critic: the g of (SO.4).

    Each example is its own, unless a layer looks across the batch.
    """
    y, cache = layer.forward(params, x)
    dx, _ = layer.backward(np.ones_like(y), cache)
    return y, dx, cache


def slope_gradient(layer: Layer, params: Any, v: Array, cache: Cache) -> Grads:
    """Return ∇_θ Σ ⟨v, ∇_x D(x)⟩ with v held fixed, which is (SO.4)."""
    y_dot, moved = tangent(layer, params, v, cache)
    dy_dot = np.ones_like(y_dot)
    return tangent_backward(layer, np.zeros_like(y_dot), dy_dot, cache, moved)[2]  # (SO.4)


def _op_of(layer: Layer) -> tuple[str, tuple[str, ...]]:
    if isinstance(layer, Activation):
        return layer.name, ()
    if type(layer) not in ONE_OP:
        known = ", ".join(sorted(kind.__name__ for kind in ONE_OP))
        raise TypeError(
            f"{type(layer).__name__} has no second order: there are Sequence, Activation, {known}"
        )
    return ONE_OP[type(layer)]


def _several(grads: Any) -> tuple[Array, ...]:
    return grads if isinstance(grads, tuple) else (grads,)
