"""Laws of the second order: penalties of gradients, divergences and slices without autodiff."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.layers import (
    Activation,
    Conv2d,
    Dense,
    GroupNorm,
    GroupNormSilu,
    LayerNorm,
    SelfAttention,
    Sequence,
)
from refgen.layers.second_order import (
    input_gradient,
    slope_gradient,
    tangent,
    tangent_backward,
)
from refgen.models import mlp
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
CRITICS = {
    "mlp": (mlp((3, 6, 5, 1), "silu"), (4, 3)),
    "tanh": (mlp((3, 6, 1), "tanh"), (4, 3)),
    "layer norm": (
        Sequence(
            (
                ("in", Dense(3, 5)),
                ("norm", LayerNorm(5)),
                ("gelu", Activation("gelu")),
                ("out", Dense(5, 1)),
            )
        ),
        (4, 3),
    ),
    "convolutions": (
        Sequence(
            (
                ("c0", Conv2d(2, 4)),
                ("n0", GroupNormSilu(4, 2)),
                ("c1", Conv2d(4, 4, stride=2)),
                ("n1", GroupNorm(4, 1)),
                ("s1", Activation("softplus")),
                ("out", Conv2d(4, 1, kernel=2, padding=0)),
            )
        ),
        (2, 4, 4, 2),
    ),
}
each_critic = pytest.mark.parametrize("name", CRITICS)


def drawn(name, seed):
    layer, shape = CRITICS[name]
    rng = np.random.default_rng(seed)
    params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), layer.init(Noise(0)))
    return layer, params, rng.normal(size=shape), rng


def penalty(layer, params, x):
    """Return (|∇_x D(x)| − 1)² of each example, the penalty of WGAN-GP, and its parts."""
    _, g, cache = input_gradient(layer, params, x)
    size = np.sqrt(np.sum(g * g, axis=tuple(range(1, g.ndim)), keepdims=True))
    return (size - 1) ** 2, g, size, cache


@each_critic
@given(seed=seeds)
def test_the_gradient_of_a_gradient_penalty_is_found_without_autodiff(name, seed):
    layer, params, x, rng = drawn(name, seed)
    _, g, size, cache = penalty(layer, params, x)
    v = 2 * (size - 1) * g / size  # ∇ of the penalty in g
    grads = slope_gradient(layer, params, v, cache)
    direction = tree.map(lambda a: rng.normal(size=a.shape), params)
    names = list(tree.flatten(params))

    def total(*leaves):
        moved = tree.unflatten(dict(zip(names, leaves, strict=True)))
        return np.sum(penalty(layer, moved, x)[0])

    along = check.complex_step(total, list(tree.leaves(params)), list(tree.leaves(direction)))
    found = list(tree.leaves(grads))
    gap = check.adjoint_gap(list(tree.leaves(direction)), found, [np.ones(())], [along])
    assert gap < 1e-12
    # A penalty that forgot how g depends on the parameters through the activations would be off.
    assert list(tree.flatten(grads)) == names


@each_critic
@given(seed=seeds)
def test_both_gradients_of_a_loss_of_value_and_slope_come_back(name, seed):
    layer, params, x, rng = drawn(name, seed)
    x_dot = rng.normal(size=x.shape)
    y, cache = layer.forward(params, x)
    y_dot, moved = tangent(layer, params, x_dot, cache)
    dy, dy_dot = rng.normal(size=y.shape), rng.normal(size=y.shape)
    dx, dx_dot, grads = tangent_backward(layer, dy, dy_dot, cache, moved)
    exact = check.complex_step(lambda x: layer.forward(params, x)[0], [x], [x_dot])
    np.testing.assert_allclose(y_dot, exact, rtol=1e-10, atol=1e-12)
    names = list(tree.flatten(params))

    def both(x, x_dot, *leaves):
        p = tree.unflatten(dict(zip(names, leaves, strict=True)))
        y, cache = layer.forward(p, x)
        return np.sum(y * dy) + np.sum(tangent(layer, p, x_dot, cache)[0] * dy_dot)

    inputs = [x, x_dot, *tree.leaves(params)]
    directions = [rng.normal(size=a.shape) for a in inputs]
    along = check.complex_step(both, inputs, directions)
    found = [dx, dx_dot, *tree.leaves(grads)]
    assert check.adjoint_gap(directions, found, [np.ones(())], [along]) < 1e-12


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_penalty_of_a_critic_with_kinks_has_its_gradient_between_them(activation):
    """Rectifiers have no curvature, so the gradient comes from the weights alone."""
    layer, rng = mlp((3, 6, 5, 1), activation), np.random.default_rng(0)
    params, x = layer.init(Noise(0)), rng.normal(size=(4, 3))
    names, leaves = list(tree.flatten(params)), list(tree.leaves(params))

    def total(*leaves):
        moved = tree.unflatten(dict(zip(names, leaves, strict=True)))
        return np.sum(penalty(layer, moved, x)[0])

    _, g, size, cache = penalty(layer, params, x)
    grads = tree.flatten(slope_gradient(layer, params, 2 * (size - 1) * g / size, cache))
    directions = [rng.normal(size=a.shape) for a in leaves]
    along = check.central_difference(total, leaves, directions).value
    found = sum(np.sum(t * grads[n]) for t, n in zip(directions, names, strict=True))
    assert found == pytest.approx(along, rel=1e-9)  # a kink within reach would be seen here


@given(seed=seeds)
def test_the_penalty_of_a_linear_critic_depends_on_its_weight_alone(seed):
    """D(x) = a·x + b has the penalty (|a| − 1)², with the gradient 2 (|a| − 1) a / |a|."""
    rng = np.random.default_rng(seed)
    layer, x = Dense(4, 1), rng.normal(size=(5, 4))
    params = {"w": rng.normal(size=(4, 1)), "b": rng.normal(size=1)}
    value, g, size, cache = penalty(layer, params, x)
    length = np.linalg.norm(params["w"])
    np.testing.assert_allclose(value, (length - 1) ** 2, rtol=1e-12, atol=1e-15)
    grads = slope_gradient(layer, params, 2 * (size - 1) * g / size, cache)
    each = 2 * (length - 1) * params["w"] / length
    np.testing.assert_allclose(grads["w"], 5 * each, rtol=1e-12, atol=1e-14)
    assert np.array_equal(grads["b"], np.zeros(1))


def test_a_critic_that_is_flat_has_a_penalty_with_the_gradient_0():
    """√ has no slope at 0; the safe norm's is 0, where g / |g| would make every weight nan."""
    layer = mlp((3, 4, 1), "relu")
    params = layer.init(Noise(0))
    params["dense0"]["b"] -= 100.0  # no unit is ever active
    _, g, cache = input_gradient(layer, params, np.ones((2, 3)))
    size, norm = ops.safe_norm_forward(g)
    assert np.array_equal((size - 1) ** 2, np.ones(2))
    v = ops.safe_norm_backward(2 * (size - 1), norm)
    for grad in tree.leaves(slope_gradient(layer, params, v, cache)):
        assert np.array_equal(grad, np.zeros_like(grad))


@each_critic
@given(seed=seeds)
def test_the_second_derivative_is_symmetric(name, seed):
    """⟨a, H b⟩ = ⟨b, H a⟩, with H the Hessian of Σ D in x."""
    layer, params, x, rng = drawn(name, seed)
    y, cache = layer.forward(params, x)

    def times_hessian(v):
        y_dot, moved = tangent(layer, params, v, cache)
        return tangent_backward(layer, np.zeros_like(y), np.ones_like(y_dot), cache, moved)[0]

    a, b = rng.normal(size=(2, *x.shape))
    one, other = times_hessian(b), times_hessian(a)
    scale = np.sum(np.abs(a * one)) + np.sum(np.abs(b * other))
    assert abs(np.sum(a * one) - np.sum(b * other)) <= 1e-12 * scale
    assert scale > 0


def test_tangents_along_every_axis_give_the_divergence_of_a_field():
    field = mlp((4, 8, 4), "tanh")
    rng = np.random.default_rng(0)
    params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), field.init(Noise(0)))
    x = rng.normal(size=(3, 4))
    _, cache = field.forward(params, x)
    divergence = sum(tangent(field, params, np.tile(e, (3, 1)), cache)[0] @ e for e in np.eye(4))
    for i in range(3):
        dense = check.jacobian(lambda v: field.forward(params, v[None])[0][0], x[i])
        assert divergence[i] == pytest.approx(np.trace(dense), rel=1e-12)


@given(seed=seeds)
def test_sliced_score_matching_has_its_gradient_in_the_parameters(seed):
    """Of ⟨v, J v⟩ + ½⟨v, s⟩², the loss of a score network s along a random v."""
    network, rng = mlp((3, 6, 3), "softplus"), np.random.default_rng(seed)
    params = network.init(Noise(seed % 1000))
    x, v = rng.normal(size=(2, 5, 3))
    names = list(tree.flatten(params))

    def loss(*leaves):
        p = tree.unflatten(dict(zip(names, leaves, strict=True)))
        s, cache = network.forward(p, x)
        slope, _ = tangent(network, p, v, cache)
        return np.sum(v * slope) + 0.5 * np.sum(np.sum(v * s, axis=1) ** 2)

    s, cache = network.forward(params, x)
    _, moved = tangent(network, params, v, cache)
    ds = np.sum(v * s, axis=1, keepdims=True) * v
    _, _, grads = tangent_backward(network, ds, v, cache, moved)
    directions = [rng.normal(size=a.shape) for a in tree.leaves(params)]
    along = check.complex_step(loss, list(tree.leaves(params)), directions)
    gap = check.adjoint_gap(directions, list(tree.leaves(grads)), [np.ones(())], [along])
    assert gap < 1e-12


def test_a_layer_without_second_order_says_so():
    layer = SelfAttention(4, 2, 2)
    x = np.ones((1, 3, 4))
    params = layer.init(Noise(0))
    with pytest.raises(TypeError, match="SelfAttention has no second order"):
        tangent(layer, params, x, layer.forward(params, x)[1])
