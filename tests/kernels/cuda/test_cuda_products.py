"""Convolutions and dense layers on a device: as accurate as the page, however they are cut."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen_kernels import overlay
from refgen_kernels.cupy_cuda import conv, dense, dense_act, products, upsample_conv
from refgen_kernels.device import products as plans
from refgen_kernels.device.products import precision
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import HOST, few
from tests.kernels.judging import assert_as_accurate, run, same_bits

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
OPS = {
    name: getattr(module, name)
    for module in (conv, upsample_conv, dense, dense_act)
    for name in dir(module)
    if name in vars(ops)
}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))
channels = st.sampled_from([1, 3, 4, 8, 17, 20, 64, 68])
image = st.integers(1, 9)
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
seeds = st.integers(0, 2**31)


@contextmanager
def cut(side=64, parts=False, order="forward", seed=0):
    """Choose the tile, whether the depth is cut whatever that costs, and who runs first."""
    names = ("LAUNCH", "ADDING", "SHORTEST", "ROWS")
    before = [getattr(plans, name) for name in names]
    sides = products.Variants.sides
    products.Variants.sides = (side,) if side == 64 else (side, 64)
    if side == 128:
        plans.SMALL, small = 1e9, plans.SMALL
    for name, value in zip(names, (0, 0, 1, 3) if parts else (10**9, 1, 8, 64), strict=True):
        setattr(plans, name, value)
    HOST.order, HOST.seed = order, seed
    try:
        yield
    finally:
        if side == 128:
            plans.SMALL = small
        products.Variants.sides = sides
        for name, value in zip(names, before, strict=True):
            setattr(plans, name, value)
        HOST.order, HOST.seed = "forward", 0


cuts = st.builds(
    dict,
    side=st.sampled_from([128, 64]),
    parts=st.booleans(),
    order=st.sampled_from(["forward", "reverse", "random"]),
    seed=seeds,
)


def arrays(seed, offset=0.0, **shapes):
    rng = np.random.default_rng(seed)
    return {name: (offset + rng.normal(size=s)).astype(np.float32) for name, s in shapes.items()}


def filters(kernel, c, o, n, h, w, seed=0, offset=0.0):
    return arrays(seed, offset, x=(n, h, w, c), w=(*kernel, c, o), b=(o,))


# Against the page.


@settings(max_examples=few(60), deadline=None, derandomize=True)
@given(
    how=cuts,
    kernel=kernels,
    stride=pairs,
    padding=paddings,
    n=st.integers(0, 3),
    h=image,
    w=image,
    c=channels,
    o=channels,
    offset=st.sampled_from([0, 0, 1, 30, 1000]),
    seed=seeds,
)
def test_a_convolution_is_as_accurate_as_the_page(
    how, kernel, stride, padding, n, h, w, c, o, offset, seed
):
    h, w = (max(size, k - 2 * p) for size, k, p in zip((h, w), kernel, padding, strict=True))
    inputs = filters(kernel, c, o, n, h, w, seed, offset)
    with cut(**how):
        static = {"stride": stride, "padding": padding}
        assert_as_accurate("conv2d", inputs, static, table=TABLE)


@settings(max_examples=few(40), deadline=None, derandomize=True)
@given(
    how=cuts,
    kernel=kernels,
    stride=pairs,
    n=st.integers(0, 3),
    h=image,
    w=image,
    c=channels,
    o=channels,
    offset=st.sampled_from([0, 0, 1, 30, 1000]),
    seed=seeds,
)
def test_a_transposed_convolution_is_as_accurate_as_the_page(
    how, kernel, stride, n, h, w, c, o, offset, seed
):
    padding = tuple((k - 1) // 2 for k in kernel)
    inputs = arrays(seed, offset, x=(n, h, w, c), w=(*kernel, o, c), b=(o,))
    static = {"stride": stride, "padding": padding, "output_padding": (stride[0] - 1, 0)}
    with cut(**how):
        assert_as_accurate("conv_transpose2d", inputs, static, table=TABLE)


@settings(max_examples=few(40), deadline=None, derandomize=True)
@given(
    how=cuts,
    kernel=kernels,
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    n=st.integers(0, 3),
    h=image,
    w=image,
    c=channels,
    o=channels,
    seed=seeds,
)
def test_an_enlarged_image_is_convolved_without_being_made(
    how, kernel, padding, n, h, w, c, o, seed
):
    """Paddings beyond the filter included: windows that see nothing but the frame."""
    h, w = (max(s, (k + 1) // 2 - p) for s, k, p in zip((h, w), kernel, padding, strict=True))
    inputs = filters(kernel, c, o, n, h, w, seed)
    with cut(**how):
        assert_as_accurate("upsample_conv2d", inputs, {"padding": padding}, table=TABLE)


@settings(max_examples=few(60), deadline=None, derandomize=True)
@given(
    how=cuts,
    s=st.lists(st.integers(0, 12), max_size=2),
    i=st.integers(1, 140),
    o=st.integers(1, 140),
    name=st.sampled_from(["dense", "silu", "relu", "gelu"]),
    seed=seeds,
)
def test_a_dense_layer_is_as_accurate_as_the_page(how, s, i, o, name, seed):
    inputs = arrays(seed, x=(*s, i), w=(i, o), b=(o,))
    static = {} if name == "dense" else {"activation": name}
    with cut(**how):
        assert_as_accurate("dense_act" if static else "dense", inputs, static, table=TABLE)


@pytest.mark.parametrize("side", [128, 64])
def test_a_product_of_many_tiles_is_as_accurate_as_the_page(side):
    with cut(side):
        inputs = filters((3, 3), 24, 264, 2, 13, 11)
        assert_as_accurate("conv2d", inputs, {"padding": 1}, table=TABLE)
        assert_as_accurate(
            "dense", arrays(1, x=(300, 130), w=(130, 260), b=(260,)), {}, table=TABLE
        )


# What is promised beside the numbers.


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16"])
def test_the_order_of_threads_and_blocks_changes_no_bit(name, parts):
    inputs, results = filters((3, 2), 16, 24, 2, 9, 7), []
    for order in ("forward", "reverse", "random"):
        with cut(64, parts, order), precision(name):
            results.append(run(TABLE, "conv2d", inputs, {"stride": 2, "padding": 1}, np.float32))
    for other in results[1:]:
        assert all(same_bits(results[0][what], other[what]) for what in other)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "upsample_conv2d"])
def test_an_image_of_a_batch_has_the_bits_it_has_alone(name):
    inputs = filters((3, 3), 8, 8, 3, 6, 5)
    forward = getattr(TABLE, f"{name}_forward")
    together, _ = forward(**inputs, padding=1)
    alone = [forward(**inputs | {"x": inputs["x"][n : n + 1]}, padding=1)[0] for n in range(3)]
    assert same_bits(np.concatenate(alone), together)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "upsample_conv2d"])
@pytest.mark.parametrize("math", ["fp32", "tf32", "bf16"])
def test_what_is_not_a_number_stays_so_where_a_window_sees_it(name, math):
    inputs = filters((3, 3), 8, 8, 2, 6, 5)
    inputs["x"][1, 2, 3, 4] = np.nan
    static = {"padding": 1} if name == "upsample_conv2d" else {"padding": 1, "stride": 2}
    with precision(math):
        found = run(TABLE, name, inputs, static, np.float32)
    wanted = run(ops, name, inputs, static, np.float32)
    for what in wanted:
        assert np.array_equal(np.isnan(found[what]), np.isnan(wanted[what])), what


def test_a_long_sum_keeps_its_small_terms():
    """Of 2²⁰ numbers one is so large that a running sum in float32 would lose the others."""
    dy = np.full((2**19, 2), 1e-3, np.float32)
    dy[5] = 1e5
    db = plans.add_rows(products.CU, dy, 2)
    assert np.abs(db / dy.astype(np.float64).sum(0) - 1).max() < 3e-6
    assert abs(np.cumsum(dy[:, 0])[-1] / dy[:, 0].astype(np.float64).sum() - 1) > 1e-4


# Precision.

BOUNDS = {"tf32": (3.5e-4, 2.5e-3), "bf16": (2.8e-3, 2e-2)}  # of the std: root mean square, largest


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("side", [128, 64])
def test_a_precision_errs_as_much_as_it_says(name, side):
    for op, static in (
        ("conv2d", {"padding": 1, "stride": 2}),
        ("conv_transpose2d", {"padding": 1, "stride": 2}),
        ("upsample_conv2d", {"padding": 1}),
    ):
        inputs = filters((3, 3), 24, 40, 3, 9, 8)
        if op == "conv_transpose2d":
            inputs["w"] = np.ascontiguousarray(np.swapaxes(inputs["w"], 2, 3))
        gold = run(ops, op, inputs, static, np.float64)
        with cut(side), precision(name):
            found = run(TABLE, op, inputs, static, np.float32)
        for what, g in gold.items():
            error, std = np.abs(found[what] - g), g.std()
            assert np.sqrt(np.mean(error**2)) <= BOUNDS[name][0] * std, what
            assert error.max() <= BOUNDS[name][1] * std, what
            if what != "gradient 2":  # db, which no product makes
                assert np.sqrt(np.mean(error**2)) > 0.2 * BOUNDS[name][0] * std, what


def test_exact_operands_give_exact_products_in_every_precision():
    """Small integers are numbers of tf32 and of bf16, and their sums are exact."""
    rng = np.random.default_rng(0)
    inputs = {
        k: rng.integers(-8, 9, s).astype("f") for k, s in (("x", (2, 9, 9, 16)), ("b", (24,)))
    }
    inputs["w"] = rng.integers(-8, 9, (3, 3, 16, 24)).astype("f")
    gold, _ = ops.conv2d_forward(**inputs, padding=1)
    for name in plans.PRECISIONS:
        with precision(name):
            assert same_bits(TABLE.conv2d_forward(**inputs, padding=1)[0], gold), name


# What goes to the page.


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_groups_and_float64_go_to_the_page(name):
    inputs = filters((3, 3), 4, 8, 2, 8, 8)
    inputs["x"] = arrays(0, x=(2, 8, 8, 8))["x"]
    found, wanted = (getattr(t, f"{name}_forward")(**inputs, groups=2)[0] for t in (TABLE, ops))
    assert same_bits(found, wanted)
    wide = {k: a.astype(np.float64) for k, a in filters((3, 3), 8, 8, 2, 8, 8).items()}
    found, wanted = (getattr(t, f"{name}_forward")(**wide, stride=2)[0] for t in (TABLE, ops))
    assert same_bits(found, wanted)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "upsample_conv2d"])
def test_what_the_page_refuses_the_twin_refuses(name):
    inputs = filters((3, 3), 16, 16, 1, 8, 8)
    forward = getattr(TABLE, f"{name}_forward")
    for change in ({"x": inputs["x"][..., :15]}, {"w": inputs["w"][:, :, :15, :15]}):
        with pytest.raises(ValueError, match=r"last axis|filter"):
            forward(**inputs | change)
    with pytest.raises(ValueError, match="padding"):
        forward(**inputs, padding=-1)
    _, cache = forward(**inputs, padding=1)
    with pytest.raises(ValueError, match=r"mismatch|shape"):
        getattr(TABLE, f"{name}_backward")(np.ones((1, 3, 3, 16), np.float32), cache)


def test_an_unknown_activation_is_refused():
    inputs = arrays(0, x=(4, 4), w=(4, 4), b=(4,))
    with pytest.raises(ValueError, match="unknown activation 'swoosh'"):
        TABLE.dense_act_forward(**inputs, activation="swoosh")
