"""Laws of the norms, of modulation, and of what is fused from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.layers import BatchNorm, ClassBatchNorm, GroupNorm, GroupNormSilu, LayerNorm
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
RNG = np.random.default_rng(0)
ONE, ZERO = np.ones(4), np.zeros(4)


@given(seed=seeds, scale=st.floats(0.1, 100), shift=st.floats(-10, 10))
def test_group_norm_sees_neither_the_size_nor_the_mean_of_a_group(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x, gamma, beta = rng.normal(size=(2, 5, 4)), rng.normal(size=4), rng.normal(size=4)
    y, _ = ops.group_norm_forward(x, gamma, beta, groups=2, eps=0.0)
    moved = x * np.array([scale, scale, 1, 1]) + np.array([0, 0, shift, shift])
    z, _ = ops.group_norm_forward(moved, gamma, beta, groups=2, eps=0.0)
    np.testing.assert_allclose(z, y, atol=1e-9)
    apart = x * np.array([scale + 1, 1, 1, 1])  # one channel of a group alone is another matter
    assert np.abs(ops.group_norm_forward(apart, gamma, beta, groups=2, eps=0.0)[0] - y).max() > 1e-3


def test_every_norm_gives_its_sets_mean_0_and_variance_1():
    x = 3 + 2 * RNG.normal(size=(5, 6, 7, 4))
    sets = {
        "group": (ops.group_norm_forward(x, ONE, ZERO, groups=2, eps=0.0)[0], (1, 2, 4)),
        "layer": (ops.layer_norm_forward(x, ONE, ZERO, eps=0.0)[0], (3, 4)),
        "batch": (ops.batch_norm_forward(x, ONE, ZERO, eps=0.0)[0], (0, 1, 2)),
        "instance": (ops.instance_norm_forward(x, ONE, ZERO, eps=0.0)[0], (1, 2)),
    }
    for name, (y, axes) in sets.items():
        cut = y.reshape(5, 6, 7, 2, 2)
        if name in ("batch", "instance"):
            cut = y
        np.testing.assert_allclose(cut.mean(axes), 0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(cut.var(axes), 1, atol=1e-12, err_msg=name)


def test_beta_is_the_mean_of_a_channel_and_gamma_its_spread():
    """Where a set is one channel; x̂ is scaled first and shifted afterwards."""
    x, gamma, beta = 3 + 2 * RNG.normal(size=(5, 6, 4)), RNG.normal(size=4), RNG.normal(size=4)
    batch, _, _, _ = ops.batch_norm_forward(x, gamma, beta, eps=0.0)
    np.testing.assert_allclose(batch.mean((0, 1)), beta, atol=1e-12)
    np.testing.assert_allclose(batch.var((0, 1)), gamma**2, atol=1e-12)
    for y in (
        ops.instance_norm_forward(x, gamma, beta, eps=0.0)[0],
        ops.group_norm_forward(x, gamma, beta, groups=4, eps=0.0)[0],
    ):
        np.testing.assert_allclose(y.mean(1), np.tile(beta, (5, 1)), atol=1e-12)
        np.testing.assert_allclose(y.var(1), np.tile(gamma**2, (5, 1)), atol=1e-12)
    plain, _ = ops.layer_norm_forward(x, ONE, ZERO)
    y, _ = ops.layer_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(y, gamma * plain + beta, atol=1e-12)


def test_eps_is_added_to_the_variance():
    x = np.array([[1.0, -1.0]])  # variance 1
    y, _ = ops.layer_norm_forward(x, np.ones(2), np.zeros(2), eps=3.0)
    np.testing.assert_allclose(y, [[0.5, -0.5]])


@given(seed=seeds)
def test_one_norm_is_another_over_other_sets(seed):
    rng = np.random.default_rng(seed)
    flat, image = rng.normal(size=(3, 4)), rng.normal(size=(3, 2, 5, 4))
    gamma, beta = rng.normal(size=4), rng.normal(size=4)
    layer, _ = ops.layer_norm_forward(flat, gamma, beta)
    group, _ = ops.group_norm_forward(flat, gamma, beta, groups=1)
    np.testing.assert_allclose(layer, group, atol=1e-12)
    instance, _ = ops.instance_norm_forward(image, gamma, beta)
    group, _ = ops.group_norm_forward(image, gamma, beta, groups=4)
    np.testing.assert_allclose(instance, group, atol=1e-12)
    one = image[:1]  # a batch of one image is an instance
    batch, _, _, _ = ops.batch_norm_forward(one, gamma, beta)
    np.testing.assert_allclose(batch, instance[:1], atol=1e-12)


def test_float32_survives_a_large_mean():
    """The variance is taken of differences: ⟨x²⟩ − μ² would be 0 or negative here."""
    x = (3e4 + RNG.normal(size=(2, 50, 4))).astype(np.float32)
    exact, _ = ops.group_norm_forward(x.astype(np.float64), ONE, ZERO, groups=2)
    y, _ = ops.group_norm_forward(x, ONE.astype("f"), ZERO.astype("f"), groups=2)
    assert np.abs(y - exact).max() < 1e-2


def test_the_statistics_of_a_large_batch_keep_their_digits_in_float32():
    """In one running sum over 65536 rows the mean is off by 17, and the variance by 300."""
    x = (3e4 + np.random.default_rng(0).normal(size=(64, 32, 32, 4))).astype(np.float32)
    y, mean, var, _ = ops.batch_norm_forward(x, ONE.astype("f"), ZERO.astype("f"))
    wide = x.astype(np.float64)
    spacing = np.spacing(np.float32(3e4))  # of float32 numbers as large as these
    np.testing.assert_allclose(mean, wide.mean((0, 1, 2)), rtol=0, atol=4 * spacing)
    np.testing.assert_allclose(var, wide.var((0, 1, 2)), rtol=1e-3)
    assert np.abs(y - ops.batch_norm_forward(wide, ONE, ZERO)[0]).max() < 1e-2


def test_the_statistics_of_a_batch_are_its_own():
    x = RNG.normal(size=(6, 3, 4))
    _, mean, var, _ = ops.batch_norm_forward(x, ONE, ZERO)
    np.testing.assert_allclose(mean, x.mean((0, 1)), atol=1e-15)
    np.testing.assert_allclose(var, x.var((0, 1)), atol=1e-15)
    same, _ = ops.fixed_norm_forward(x, 2 * ONE, ONE, mean, var)
    np.testing.assert_allclose(same, ops.batch_norm_forward(x, 2 * ONE, ONE)[0], atol=1e-13)


def test_running_statistics_come_to_the_true_ones():
    """Of var the unbiased estimate is collected: over M it would end at (M − 1) / M of it."""
    mean, var, rng = np.zeros(1), np.ones(1), np.random.default_rng(3)
    ends = []
    for step in range(20_000):
        batch = 5 + 3 * rng.normal(size=4)
        mean, var = ops.running_step(
            mean, var, batch.mean(keepdims=True), batch.var(keepdims=True), count=4, momentum=0.01
        )
        if step > 1000:
            ends.append((mean[0], var[0]))
    np.testing.assert_allclose(np.mean(ends, axis=0), [5, 9], rtol=0.02)
    mean, var = ops.running_step(mean, var, ONE[:1], ONE[:1], count=2, momentum=1.0)
    assert (mean[0], var[0]) == (1.0, 2.0)


def test_a_trained_batch_norm_treats_examples_alike_wherever_they_stand():
    layer, x = BatchNorm(4), RNG.normal(size=(6, 2, 2, 4)) * 3 + 1
    params, running = layer.init(Noise(0)), layer.start()
    for _ in range(200):
        y, seen, _ = layer.train(params, x)
        running = layer.collect(running, seen)
    assert seen.size == 24
    z, _ = layer.forward(params, x, running)
    np.testing.assert_allclose(z, y * np.sqrt(23 / 24), atol=1e-4)
    alone, _ = layer.forward(params, x[:1], running)
    np.testing.assert_allclose(alone, z[:1], atol=1e-14)
    few, _, _ = layer.train(params, x[:2])
    assert np.abs(few - y[:2]).max() > 1e-2  # in training they see each other


def test_a_class_has_a_scale_and_a_shift_of_its_own():
    layer, x, labels = ClassBatchNorm(4, 3), RNG.normal(size=(6, 2, 4)), np.arange(6) % 3
    params = layer.init(Noise(0))
    plain, _, _, _ = ops.batch_norm_forward(x, ONE, ZERO)
    np.testing.assert_allclose(layer.train(params, x, labels)[0], plain)
    params["scale"], params["shift"] = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    y, _, _ = layer.train(params, x, labels)
    np.testing.assert_allclose(y[2], plain[2] * (1 + np.arange(8.0, 12)) + 1)
    with pytest.raises(ValueError, match=r"rows 0 .. 2"):
        layer.train(params, x, labels + 1)


@pytest.mark.parametrize("mode", ["train", "eval"])
@given(seed=seeds)
def test_the_layers_of_batch_norm_are_adjoint_in_both_modes(mode, seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(5, 2, 3)), rng.integers(2, size=5)
    running = {"mean": rng.normal(size=3), "var": rng.uniform(0.5, 2, size=3)}
    for layer, told in ((BatchNorm(3), ()), (ClassBatchNorm(3, 2), (labels,))):
        params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), layer.init(Noise(0)))
        names = list(params)

        def output(x, *leaves, layer=layer, told=told, names=names):
            p = dict(zip(names, leaves, strict=True))
            if mode == "train":
                return layer.train(p, x, *told)[0]
            return layer.forward(p, x, *told, running)[0]

        if mode == "train":
            y, _, cache = layer.train(params, x, *told)
            dy = rng.normal(size=y.shape)
            dx, grads = layer.train_backward(dy, cache)
        else:
            y, cache = layer.forward(params, x, *told, running)
            dy = rng.normal(size=y.shape)
            dx, grads = layer.backward(dy, cache)
        tangents = [rng.normal(size=a.shape) for a in (x, *params.values())]
        along = check.complex_step(output, [x, *params.values()], tangents)
        found = [dx, *(grads[name] for name in names)]
        assert check.adjoint_gap(tangents, found, [dy], [along]) < 1e-12


def test_adain_puts_the_style_of_one_image_on_another():
    content, style = RNG.normal(size=(2, 4, 4, 3)), 5 + 2 * RNG.normal(size=(2, 6, 3, 3))
    y, _ = ops.adain_forward(content, style, eps=0.0)
    np.testing.assert_allclose(y.mean((1, 2)), style.mean((1, 2)), atol=1e-12)
    np.testing.assert_allclose(y.std((1, 2)), style.std((1, 2)), atol=1e-12)
    again, _ = ops.adain_forward(y, content, eps=0.0)
    np.testing.assert_allclose(again, content, atol=1e-12)  # its own style brings it back


def test_a_condition_of_zero_changes_nothing():
    x, none = RNG.normal(size=(2, 3, 4)), np.zeros((2, 4))
    assert np.array_equal(ops.film_forward(x, none, none)[0], x)
    assert np.array_equal(ops.gate_forward(x, RNG.normal(size=x.shape), none)[0], x)
    bare, _ = ops.layer_norm_forward(x, ONE, ZERO, eps=1e-6)
    np.testing.assert_allclose(ops.adaln_forward(x, none, none)[0], bare, atol=1e-15)


def test_adaln_is_film_after_a_layer_norm_without_parameters():
    x, scale, shift = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4))
    bare, _ = ops.layer_norm_forward(x, ONE, ZERO, eps=1e-6)
    film, _ = ops.film_forward(bare, scale, shift)
    np.testing.assert_allclose(ops.adaln_forward(x, scale, shift)[0], film, atol=1e-14)


def test_a_condition_is_of_one_example_and_all_its_places():
    x, scale, shift = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4))
    y, _ = ops.film_forward(x, scale, shift)
    for n, s, c in np.ndindex(x.shape):
        assert y[n, s, c] == pytest.approx((1 + scale[n, c]) * x[n, s, c] + shift[n, c])
    gated, _ = ops.gate_forward(x, y, scale)
    assert gated[1, 2, 3] == pytest.approx(x[1, 2, 3] + scale[1, 3] * y[1, 2, 3])


@given(seed=seeds)
def test_a_fused_op_is_its_parts_in_a_row(seed):
    rng = np.random.default_rng(seed)
    x, gamma, beta = rng.normal(size=(2, 3, 3, 4)), rng.normal(size=4), rng.normal(size=4)
    scale, shift = rng.normal(size=(2, 2, 4))
    h, _ = ops.group_norm_forward(x, gamma, beta, groups=2)
    plain, _ = ops.group_norm_silu_forward(x, gamma, beta, groups=2)
    np.testing.assert_allclose(plain, h / (1 + np.exp(-h)), atol=1e-14)
    h = (1 + scale[:, None, None]) * h + shift[:, None, None]
    steered, _ = ops.group_norm_film_silu_forward(x, gamma, beta, scale, shift, groups=2)
    np.testing.assert_allclose(steered, h / (1 + np.exp(-h)), atol=1e-14)


def test_norm_layers_are_their_ops():
    x = RNG.normal(size=(2, 5, 4))
    for layer, op, static in (
        (GroupNorm(4, 2), ops.group_norm_forward, {"groups": 2}),
        (GroupNormSilu(4, 2), ops.group_norm_silu_forward, {"groups": 2}),
        (LayerNorm(4), ops.layer_norm_forward, {}),
    ):
        y, cache = layer.forward(layer.init(Noise(0)), x)
        assert np.array_equal(y, op(x, ONE, ZERO, **static)[0])
        dx, grads = layer.backward(y, cache)
        assert dx.shape == x.shape
        assert set(grads) == {"gamma", "beta"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ops.group_norm_forward(np.ones((1, 6)), ONE, ZERO, groups=4), "multiple of 4"),
        (
            lambda: ops.group_norm_forward(np.ones((1, 6)), ONE, ZERO, groups=3),
            r"group_norm: gamma is one number for each channel, \(6,\) .* not \(4,\)",
        ),
        (lambda: ops.layer_norm_forward(np.ones((2, 4)), ONE[:1], ZERO), r"layer_norm: gamma.*4"),
        (
            lambda: ops.batch_norm_forward(np.ones((3, 3, 4)), ONE, np.zeros((3, 4))),
            r"batch_norm: beta.*not \(3, 4\)",
        ),
        (
            lambda: ops.fixed_norm_forward(np.ones((3, 4)), ONE, ZERO, ZERO, ONE[:1]),
            r"fixed_norm: var.*not \(1,\)",
        ),
        (
            lambda: ops.instance_norm_forward(np.ones((2, 3, 4)), ONE, ZERO[:1]),
            "instance_norm: beta",
        ),
        (lambda: GroupNorm(6, 4), "6 channels cannot be cut into 4 groups"),
        (lambda: ops.film_forward(np.ones((2, 3, 4)), ZERO, ZERO), r"scale.*\(2, 4\)"),
        (
            lambda: ops.gate_forward(*np.ones((2, 2, 3, 4)), np.ones((3, 4))),
            r"gate.*\(2, 4\) for x",
        ),
        (lambda: ops.instance_norm_forward(np.ones((2, 4)), ONE, ZERO), "places to average over"),
        (
            lambda: ops.adain_forward(np.ones((2, 3, 3, 4)), np.ones((2, 3, 3, 5))),
            "agree in batch and channels",
        ),
        (lambda: ops.running_step(ONE, ONE, ONE, ONE, count=1), "no variance"),
        (lambda: ops.running_step(ONE, ONE, ONE, ONE, count=4, momentum=0.0), "momentum"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_what_would(call, said):
    with pytest.raises(ValueError, match=said):
        call()
