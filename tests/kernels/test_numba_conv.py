"""Convolutions, dense layers and joins on tiles: as accurate as the page, whatever the sizes."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen_kernels import numba_cpu
from refgen_kernels.numba_cpu import conv, dense, matrices, winograd
from tests.kernels.judging import TABLE, assert_as_accurate, run, same_bits

WINOGRAD = 1e-4  # of the result's standard deviation, on inputs of size 1
channels = st.sampled_from([1, 3, 8, 16, 17, 32, 48])
image = st.integers(1, 13)
seeds = st.integers(0, 2**31)
# Examples are the same in every run: of a few numbers the page may, by luck, hit one exactly.


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Send arrays of all sizes to the kernels."""
    for module in (conv, dense):
        monkeypatch.setattr(module, "SHORT", 0)
    monkeypatch.setattr(dense, "THIN", 1)


def arrays(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def filters(kernel, c, o, n, h, w, seed):
    return arrays(seed, x=(n, h, w, c), w=(*kernel, c, o), b=(o,))


# Winograd.


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(0, 3), h=image, w=image, c=channels, o=channels, seed=seeds)
def test_winograd_is_a_convolution_of_any_image(n, h, w, c, o, seed):
    inputs = filters((3, 3), c, o, n, h, w, seed)
    assert_as_accurate("conv2d", inputs, {"padding": 1}, share_of_std=WINOGRAD)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(n=st.integers(1, 3), h=image, w=image, c=channels, o=channels, seed=seeds)
def test_an_enlarged_image_is_convolved_without_being_made(n, h, w, c, o, seed):
    inputs = filters((3, 3), c, o, n, h, w, seed)
    assert_as_accurate("upsample_conv2d", inputs, {"padding": 1}, share_of_std=WINOGRAD)


def test_winograd_errs_more_than_it_may_with_one_wrong_number(monkeypatch):
    """The bound is tight enough to see a weight of 1/24 that is 1/25."""
    inputs = filters((3, 3), 32, 32, 2, 8, 8, 0)
    geometry = ops.conv2d_forward(**inputs, padding=1)[1].geometry
    u = conv._filter_points(inputs["w"].reshape(-1), 32, 32, turned=False)
    u.reshape(36, -1)[3 * 6 + 3] *= 24 / 25
    monkeypatch.setattr(conv, "_filter_points", lambda *given, turned: u)
    wrong = conv.correlate(inputs["x"], inputs["w"], inputs["b"], geometry)
    right = ops.conv2d_forward(**inputs, padding=1)[0]
    assert np.abs(wrong - right).max() > 10 * WINOGRAD * right.std()


def test_the_transforms_are_those_of_the_page():
    """Bᵀ, G and Aᵀ of (WG.1) as printed, column by column, give the convolution exactly."""
    rows = {
        "b": "4 0 -5 0 1 0;0 -4 -4 1 1 0;0 4 -4 -1 1 0;0 -2 -1 2 1 0;0 2 -1 -2 1 0;0 4 0 -5 0 1",
        "a": "1 1 1 1 1 0;0 1 -1 2 -2 0;0 1 1 4 4 0;0 1 -1 8 -8 1",
    }
    b, a = (np.array([r.split() for r in rows[k].split(";")], float) for k in ("b", "a"))
    g = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
    rng = np.random.default_rng(0)
    d, w = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
    y = a @ ((g @ w @ g.T) * (b @ d @ b.T)) @ a.T
    direct = [[np.sum(d[i : i + 3, j : j + 3] * w) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(y, direct, atol=1e-13)
    u = np.zeros(36 * 256, np.float32)
    weights = np.zeros((3, 3, 16, 16), np.float32)
    weights[:, :, 0, 0] = w
    winograd.transform_filter(1, weights.reshape(-1), u, 16, 16, False)
    np.testing.assert_allclose(u.reshape(6, 6, 16, 16)[..., 0, 0], g @ w @ g.T, atol=1e-6)


# The exact way, and everything that is not 3 x 3.


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    n=st.integers(1, 3),
    h=st.integers(5, 13),
    w=st.integers(5, 13),
    c=channels,
    o=channels,
    seed=seeds,
)
def test_a_direct_convolution_is_as_accurate_as_the_page(
    kernel, stride, padding, n, h, w, c, o, seed
):
    inputs = filters(kernel, c, o, n, h, w, seed)
    with conv.exact():
        assert_as_accurate("conv2d", inputs, {"stride": stride, "padding": padding})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    kernel=st.integers(2, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    c=channels,
    o=channels,
    seed=seeds,
)
def test_a_transposed_convolution_is_as_accurate_as_the_page(
    kernel, stride, padding, h, w, c, o, seed
):
    more = stride - 1
    if (min(h, w) - 1) * stride + kernel - 2 * padding + more < 1:
        padding = 0  # or nothing would be left
    inputs = arrays(seed, x=(2, h, w, c), w=(kernel, kernel, o, c), b=(o,))
    static = {"stride": stride, "padding": padding, "output_padding": more}
    with conv.exact():
        assert_as_accurate("conv_transpose2d", inputs, static)


def test_exact_is_exact_and_ends():
    inputs = filters((3, 3), 32, 32, 2, 12, 12, 1)
    gold = run(ops, "conv2d", inputs, {"padding": 1}, np.float64)["y0"]

    def error():
        y, _ = TABLE.conv2d_forward(**inputs, padding=1)
        return np.abs(y - gold).max()

    fast = error()
    with conv.exact():
        slow = error()
    assert slow < fast / 3
    assert error() == fast


@pytest.mark.parametrize(
    "static", [{"groups": 2}, {"stride": (1, 2)}, {"padding": (0, 1)}], ids=lambda s: next(iter(s))
)
def test_what_no_kernel_is_for_goes_to_the_page(static):
    inputs = filters((3, 3), 8 // static.get("groups", 1), 16, 2, 8, 8, 0)
    inputs["x"] = arrays(0, x=(2, 8, 8, 8))["x"]
    page, _ = ops.conv2d_forward(**inputs, **static)
    assert same_bits(TABLE.conv2d_forward(**inputs, **static)[0], page)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "upsample_conv2d"])
def test_what_the_page_refuses_the_twin_refuses(name):
    inputs = filters((3, 3), 16, 16, 1, 8, 8, 0)
    for change in ({"x": inputs["x"][..., :15]}, {"w": inputs["w"][:, :, :15, :15]}):
        with pytest.raises(ValueError, match=r"last axis|filter"):
            getattr(TABLE, f"{name}_forward")(**inputs | change)


# Dense layers and joins.


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(1, 70), i=st.integers(1, 70), o=st.integers(1, 70), seed=seeds)
def test_a_dense_layer_is_as_accurate_as_the_page(n, i, o, seed):
    assert_as_accurate("dense", arrays(seed, x=(n, i), w=(i, o), b=(o,)), {})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 40),
    i=st.integers(1, 40),
    o=st.integers(1, 40),
    name=st.sampled_from(["silu", "relu", "gelu", "leaky_relu"]),
    seed=seeds,
)
def test_a_dense_layer_with_its_activation_is_as_accurate_as_the_page(n, i, o, name, seed):
    assert_as_accurate("dense_act", arrays(seed, x=(n, i), w=(i, o), b=(o,)), {"activation": name})


def test_an_unknown_activation_is_refused():
    inputs = arrays(0, x=(4, 4), w=(4, 4), b=(4,))
    with pytest.raises(ValueError, match="unknown activation 'swoosh'"):
        TABLE.dense_act_forward(**inputs, activation="swoosh")


@settings(derandomize=True)
@given(n=st.integers(0, 3), s=st.integers(1, 3000), scale=st.sampled_from([1.0, 100.0]), seed=seeds)
def test_silu_and_relu_are_as_accurate_as_the_page(n, s, scale, seed):
    x = scale * np.random.default_rng(seed).normal(size=(n, s))
    for name in ("silu", "relu"):
        assert_as_accurate(name, {"x": x.astype(np.float32)}, {})


def test_what_is_not_a_number_stays_so():
    x = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    np.testing.assert_array_equal(TABLE.relu_forward(x)[0], [np.nan, np.inf, 0, 0])
    np.testing.assert_array_equal(np.isnan(TABLE.silu_forward(x)[0]), [True, False, False, False])


def test_a_sum_of_many_rows_is_cut_into_groups_that_leave_none_out(monkeypatch):
    monkeypatch.setattr(matrices, "GROUP", 3)
    for n in (1, 2, 7, 8, 65):
        assert_as_accurate("dense", arrays(n, x=(n, 16), w=(16, 32), b=(32,)), {})


@pytest.mark.parametrize("name", ["shift", "concat"])
@settings(derandomize=True)
@given(n=st.integers(0, 3), s=st.integers(1, 40), c=channels, e=channels, seed=seeds)
def test_joins_are_as_accurate_as_the_page(name, n, s, c, e, seed):
    other = {"v": (n, c)} if name == "shift" else {"z": (n, s, e)}
    assert_as_accurate(name, arrays(seed, x=(n, s, c), **other), {})


@settings(derandomize=True)
@given(n=st.integers(0, 3), s=st.integers(1, 3000), seed=seeds)
def test_a_sum_has_the_bits_of_the_page(n, s, seed):
    inputs = arrays(seed, x=(n, s), z=(n, s))
    assert same_bits(TABLE.add(**inputs), ops.add(**inputs))


# Threads and memory.

CASES = {
    "conv2d": (filters((3, 3), 32, 64, 6, 16, 16, 0), {"padding": 1}),
    "upsample_conv2d": (filters((3, 3), 32, 48, 5, 8, 8, 0), {"padding": 1}),
    "conv2d, stride 2": (filters((3, 3), 32, 64, 7, 16, 16, 0), {"padding": 1, "stride": 2}),
    "dense": (arrays(0, x=(20_000, 32), w=(32, 48), b=(48,)), {}),
    "shift": (arrays(0, x=(7, 40, 40, 32), v=(7, 32)), {}),
}


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
@pytest.mark.parametrize("case", CASES)
def test_the_number_of_threads_changes_no_bit(case):
    inputs, static = CASES[case]
    before, results = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(run(TABLE, case.split(",")[0], inputs, static, np.float32))
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(results[0][what], results[1][what]) for what in results[0])


def test_a_second_pass_takes_no_memory_from_the_system():
    inputs, static = CASES["conv2d"]
    memory = numba_cpu.arrays.memory
    run(TABLE, "conv2d", inputs, static, np.float32)
    taken = memory.lent + memory.kept
    for _ in range(3):
        run(TABLE, "conv2d", inputs, static, np.float32)
    assert memory.lent + memory.kept == taken


def test_the_sigmoid_is_right_to_three_units_in_the_last_place():
    x = np.linspace(-86, 86, 1_000_001, dtype=np.float32)
    _, cache = TABLE.silu_forward(x)
    gold = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert (np.abs(cache.sigmoid - gold) / np.spacing(gold.astype(np.float32))).max() < 3


def test_a_gradient_of_another_shape_goes_to_the_page_which_refuses_it():
    inputs = filters((3, 3), 16, 16, 1, 16, 16, 0)
    for name in ("conv2d", "upsample_conv2d"):
        _, cache = getattr(TABLE, f"{name}_forward")(**inputs, padding=1)
        with pytest.raises(ValueError, match=r"mismatch|shape"):
            getattr(TABLE, f"{name}_backward")(np.ones((1, 8, 8, 16), np.float32), cache)


def test_a_bias_that_the_page_broadcasts_goes_to_the_page():
    inputs = arrays(0, x=(1, 8, 8, 16), w=(3, 3, 32, 16), b=(1,))
    page, _ = ops.conv_transpose2d_forward(**inputs, padding=1)
    assert same_bits(TABLE.conv_transpose2d_forward(**inputs, padding=1)[0], page)


def test_a_division_by_nothing_is_what_numpy_makes_of_it():
    x = np.ones((8, 64, 16), np.float32)
    with np.errstate(all="ignore"):
        y, _ = TABLE.group_norm_forward(x, x[0, 0], x[0, 0], groups=4, eps=0.0)
    assert np.isnan(y).all()
