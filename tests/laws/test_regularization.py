"""Laws of dropout, spectral norm, minibatch statistics and straight-through rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops
from refgen.layers import Conv2d, Dense
from refgen.layers.dropout import Dropout
from refgen.layers.spectral import Spectral
from refgen.noise import Noise
from refgen.ops.catalog import CATALOG

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)


def test_dropout_keeps_the_mean_and_has_the_variance_it_claims():
    """Over all draws: mean x, variance x² rate / (1 − rate)."""
    layer, x = Dropout(0.3), np.full(200_000, 2.0)
    y, _ = layer.train(x, Noise(0))
    assert y.mean() == pytest.approx(2, abs=4 * np.sqrt(4 * 0.3 / 0.7 / 200_000))
    assert y.var() == pytest.approx(4 * 0.3 / 0.7, rel=0.01)
    assert set(np.unique(y)) == {0.0, 2.0 / 0.7}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)


def test_a_place_in_the_noise_always_drops_the_same_entries():
    layer, x = Dropout(0.5), np.ones((4, 5))
    y, cache = layer.train(x, Noise(0).at("step", 3))
    again, _ = layer.train(x, Noise(0).at("step", 3))
    other, _ = layer.train(x, Noise(0).at("step", 4))
    assert np.array_equal(y, again)
    assert not np.array_equal(y, other)
    assert np.array_equal(layer.backward(x, cache), y)  # what was dropped gets no gradient


@given(seed=seeds, shape=st.sampled_from([(3, 4), (6, 2), (3, 3, 2, 4)]))
def test_the_spectral_norm_of_a_normalized_weight_is_1(seed, shape):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=shape)
    u, v = ops.power_step(w, rng.normal(size=shape[-1]), iterations=3000)
    y, cache = ops.spectral_norm_forward(w, u, v)
    largest = np.linalg.svd(y.reshape(-1, shape[-1]), compute_uv=False)[0]
    assert largest == pytest.approx(1, abs=1e-6)
    dw = ops.spectral_norm_backward(rng.normal(size=shape), cache)
    assert abs(np.sum(dw * w)) < 1e-6  # a larger w is the same y


def test_holding_the_vectors_fixed_is_right_where_the_iteration_has_converged():
    """The derivative of w / σ(w), σ by the SVD, sees u and v move and finds the same gradient."""
    rng = np.random.default_rng(0)
    w, dy, t = rng.normal(size=(3, 5, 4))
    u, v = ops.power_step(w, rng.normal(size=4), iterations=500)
    _, cache = ops.spectral_norm_forward(w, u, v)

    def normalized(w):
        return w / np.linalg.svd(w, compute_uv=False)[0]

    exact = check.central_difference(normalized, [w], [t])
    found = np.sum(t * ops.spectral_norm_backward(dy, cache))
    assert found == pytest.approx(np.sum(exact.value * dy), rel=1e-8)
    early = ops.power_step(w, rng.normal(size=4), iterations=1)
    _, cache = ops.spectral_norm_forward(w, *early)
    assert abs(np.sum(t * ops.spectral_norm_backward(dy, cache)) / found - 1) > 1e-4


@pytest.mark.parametrize("layer", [Spectral(Dense(6, 5)), Spectral(Conv2d(2, 4))], ids=str)
def test_one_iteration_a_step_follows_a_weight_that_moves_little(layer):
    params = layer.init(Noise(0))
    state = layer.start(params, Noise(1))
    for step in range(50):
        move = 0.01 * Noise(2).at(step).normal(params["w"].shape)
        params = {**params, "w": params["w"] + move}
        state = layer.advance(params, state)
    y, _ = ops.spectral_norm_forward(params["w"], state["u"], state["v"])
    largest = np.linalg.svd(y.reshape(-1, y.shape[-1]), compute_uv=False)[0]
    assert largest == pytest.approx(1, abs=0.02)


def test_a_dense_layer_of_spectral_norm_1_brings_nothing_further_apart():
    layer = Spectral(Dense(6, 5))
    params = layer.init(Noise(0))
    state = layer.start(params, Noise(1))
    a, b = np.random.default_rng(0).normal(size=(2, 100, 6))
    moved = layer.forward(params, a, state)[0] - layer.forward(params, b, state)[0]
    ratio = np.linalg.norm(moved, axis=1) / np.linalg.norm(a - b, axis=1)
    assert ratio.max() <= 1 + 1e-6
    assert ratio.max() > 0.8


@pytest.mark.parametrize("layer", [Spectral(Dense(3, 2)), Spectral(Conv2d(2, 3))], ids=str)
@given(seed=seeds)
def test_the_layer_is_adjoint_with_its_vectors_held(layer, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3) if isinstance(layer.layer, Dense) else (2, 3, 3, 2))
    params = layer.init(Noise(seed % 1000))
    state = layer.start(params, Noise(1))
    y, cache = layer.forward(params, x, state)
    dy = rng.normal(size=y.shape)
    dx, grads = layer.backward(dy, cache)
    tangents = [rng.normal(size=a.shape) for a in (x, params["b"], params["w"])]
    along = check.complex_step(
        lambda x, b, w: layer.forward({"b": b, "w": w}, x, state)[0],
        [x, params["b"], params["w"]],
        tangents,
    )
    assert check.adjoint_gap(tangents, [dx, grads["b"], grads["w"]], [dy], [along]) < 1e-12


def test_the_spread_of_a_batch_is_told_in_a_channel_of_its_own():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3, 2, 4))
    y, _ = ops.minibatch_std_forward(x, eps=0.0)
    assert y.shape == (5, 3, 2, 5)
    assert np.array_equal(y[..., :4], x)
    np.testing.assert_allclose(y[..., 4], x.std(axis=0).mean(), rtol=1e-14)
    same, _ = ops.minibatch_std_forward(np.repeat(x[:1], 5, axis=0), eps=1e-20)
    assert same[..., 4].max() < 1e-9  # a generator that always draws the same is seen
    twice, _ = ops.minibatch_std_forward(2 * x + 1, eps=0.0)
    np.testing.assert_allclose(twice[..., 4], 2 * y[..., 4])


def test_the_spread_of_equal_examples_has_a_finite_gradient():
    """√ has no derivative at 0; ε under the root gives it the value 0."""
    x = np.ones((4, 3))
    y, cache = ops.minibatch_std_forward(x)
    assert np.array_equal(ops.minibatch_std_backward(np.ones_like(y), cache), np.ones((4, 3)))


@given(seed=seeds, step=st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_rounding_takes_the_nearest_level_and_passes_gradients_on(seed, step):
    x, dy = np.random.default_rng(seed).normal(size=(2, 20)) * 3
    y, cache = ops.straight_through_round_forward(x, step=step)
    levels = step * np.arange(-200, 201)
    nearest = levels[np.argmin(np.abs(x[:, None] - levels), axis=1)]
    np.testing.assert_allclose(y, nearest, atol=1e-12)
    assert np.array_equal(ops.straight_through_round_backward(dy, cache), dy)


@given(seed=seeds)
def test_the_gradient_of_rounding_is_no_derivative_of_rounding(seed):
    """Between two jumps rounding is flat: its backward answers for the identity, by choice."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, 6, size=8) + rng.uniform(-0.4, 0.4, size=8)  # jumps are at halves
    t, dy = rng.normal(size=(2, 8))
    _, cache = ops.straight_through_round_forward(x)
    slope = check.central_difference(
        lambda x: ops.straight_through_round_forward(x)[0], [x], [t], h=1e-3
    )
    assert np.array_equal(slope.value, np.zeros(8))
    identity = check.complex_step(lambda x: x, [x], [t])
    dx = ops.straight_through_round_backward(dy, cache)
    assert check.adjoint_gap([t], [dx], [dy], [identity]) < 1e-12


def test_only_rounding_answers_for_another_function():
    """The adjoint test of the catalogue judges every other op by its own derivative."""
    assert [op.name for op in CATALOG if op.surrogate] == ["straight_through_round"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_safe_norm_is_the_length_and_its_gradient_a_direction(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3, 2)).astype(dtype)
    x[2] = 0
    y, cache = ops.safe_norm_forward(x)
    np.testing.assert_allclose(y, np.linalg.norm(x.reshape(6, -1), axis=1), rtol=1e-6)
    dx = ops.safe_norm_backward(np.ones_like(y), cache)
    lengths = np.sum(dx * dx, axis=(1, 2))
    np.testing.assert_allclose(lengths, [1, 1, 0, 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(dx * y[:, None, None], x, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_safe_norm_is_0_at_0_and_finite_next_to_it():
    x = np.array([[0.0, 0.0], [1e-300, 0.0], [3e-150, 4e-150]])
    _, cache = ops.safe_norm_forward(x)
    dx = ops.safe_norm_backward(np.ones(3), cache)
    assert np.array_equal(dx[0], np.zeros(2))
    assert np.all(np.isfinite(dx))
    np.testing.assert_allclose(dx[2], [0.6, 0.8], rtol=1e-12)
    slack = np.random.default_rng(0).normal(size=(100, 2))  # |z| ≥ |0| + ⟨0, z⟩: under the cone
    assert np.all(ops.safe_norm_forward(slack)[0] >= slack @ dx[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ops.dropout_forward(np.ones(3), np.ones(3), rate=1.0), r"\[0, 1\), not 1.0"),
        (lambda: ops.dropout_forward(np.ones(3), np.ones(4)), "one uniform number an entry"),
        (lambda: Dropout(-0.1), "not -0.1"),
        (lambda: ops.straight_through_round_forward(np.ones(3), step=0.0), "step must be positive"),
        (lambda: ops.power_step(np.ones((2, 2)), np.ones(2), iterations=0), "at least 1, not 0"),
    ],
)
def test_impossible_settings_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
