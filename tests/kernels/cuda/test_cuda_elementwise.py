"""Steps, Adam, joins and activations: one pass over memory, whatever the sizes and the grid."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen.noise import Noise
from refgen.ops.join import ConcatCache, ShiftCache
from refgen_kernels import overlay
from refgen_kernels.cupy_cuda import activation, adam, join, solver, step
from refgen_kernels.device import join as calls
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import arranged, few
from tests.kernels.judging import EPS, assert_as_accurate, same_bits

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
PAGES = (step, solver, adam, join, activation)
TWINS = {name: f for p in PAGES for name, f in vars(p).items() if name in ops.__all__}
TABLE = overlay(SimpleNamespace(__all__=list(TWINS), **TWINS))
STREAM = Noise(5).at("elementwise").stream

DDPM = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2}
STEPS = {  # name -> its arrays but for the noise, its numbers, what the noise is multiplied by
    "ddpm_step": ("x noise_hat", DDPM, "sigma"),
    "ddim_step": ("x noise_hat", DDIM, "sigma"),
    "guided_ddpm_step": ("x noise_hat noise_hat_null", {"guidance": 2.5, **DDPM}, "sigma"),
    "guided_ddim_step": ("x noise_hat noise_hat_null", {"guidance": 2.5, **DDIM}, "sigma"),
    "langevin_step": ("x score", {"step": 0.1}, "step"),
}
WITHOUT_NOISE = {
    "euler_step": ("x velocity", {"dt": -0.3}),
    "heun_step": ("x velocity velocity_next", {"dt": 0.3}),
}

sizes = st.sampled_from([0, 1, 3, 4, 5, 31, 63, 64, 65, 257, 784])
offsets = st.sampled_from([0.0, 1.0, 30.0, 1000.0])
threads = st.sampled_from([1, 7, 32, 64, 256])
orders = st.sampled_from(["forward", "reverse", "random"])
starts = st.one_of(st.integers(0, 130), st.sampled_from([2**32 - 3, 2**62]))
each_step = pytest.mark.parametrize("name", STEPS)
fast = settings(max_examples=few(25), deadline=None, derandomize=True)
faster = settings(max_examples=few(12), deadline=None, derandomize=True)


def arrays_of(names, shape, offset=0.0, seed=0):
    """Draw float32 arrays by name."""
    rng = np.random.default_rng(seed)
    return {name: (rng.normal(size=shape) + offset).astype("f") for name in names.split()}


def assert_errs_no_more(found, page, gold):
    """Assert the rule of judging.py, of results that are not a forward's or a backward's."""
    assert (found.shape, found.dtype) == (page.shape, page.dtype)
    assert np.array_equal(np.isfinite(found), np.isfinite(page))
    there = np.isfinite(page)
    error, by_page = (np.abs(a[there] - gold[there]).max(initial=0.0) for a in (found, page))
    assert error <= 4 * by_page + 8 * EPS * max(1.0, np.abs(gold[there]).max(initial=0.0))


# Steps.


@pytest.mark.parametrize("name", [*STEPS, *WITHOUT_NOISE])
@faster
@given(n=st.integers(0, 3), size=sizes, offset=offsets, block=threads, order=orders)
def test_a_step_is_as_accurate_as_the_page(name, n, size, offset, block, order):
    names, static = (STEPS | WITHOUT_NOISE)[name][:2]
    names += " noise" if name in STEPS else ""
    with arranged(block, order):
        assert_as_accurate(name, arrays_of(names, (n, size), offset), static, table=TABLE)


@each_step
@faster
@given(size=sizes, start=starts, offset=offsets, block=threads, order=orders)
def test_a_step_draws_the_noise_of_the_page(name, size, start, offset, block, order):
    names, static, _ = STEPS[name]
    arrays = arrays_of(names, (size, 1), offset)
    with arranged(block, order):
        found = getattr(TABLE, f"{name}_drawn")(*arrays.values(), STREAM, start, **static)
    drawn = getattr(ops, f"{name}_drawn")
    wide = [a.astype(float) for a in arrays.values()]
    gold = drawn(*wide, STREAM, start, **static)
    assert_errs_no_more(found, drawn(*arrays.values(), STREAM, start, **static), gold)


@each_step
@faster
@given(size=sizes, start=starts, block=threads)
def test_noise_added_to_nothing_has_the_bits_of_the_page(name, size, start, block):
    names, static, weight = STEPS[name]
    static = static | ({weight: 0.5} if name == "langevin_step" else {"sigma": 0.5})
    arrays = arrays_of(names, (size,))
    with arranged(block, "random"):
        nothing = [0 * a for a in arrays.values()]
        found = getattr(TABLE, f"{name}_drawn")(*nothing, STREAM, start, **static)
    scale = np.float32(1.0 if name == "langevin_step" else 0.5)  # √(2τ), or σ: powers of two
    assert same_bits(found, scale * ops.normals(STREAM, start, size))


@each_step
def test_a_coefficient_of_zero_draws_nothing(name):
    """There is not even a stream to draw from."""
    names, static, weight = STEPS[name]
    arrays = arrays_of(names, (3, 7))
    static = {**static, weight: 0.0}
    found = getattr(TABLE, f"{name}_drawn")(*arrays.values(), None, **static)
    page = getattr(ops, f"{name}_drawn")(*arrays.values(), STREAM, **static)
    np.testing.assert_allclose(found, page, rtol=4 * EPS, atol=4 * EPS)


def test_a_step_takes_views_and_refuses_what_the_page_refuses():
    x = np.arange(24, dtype="f").reshape(6, 4)
    found, _ = TABLE.euler_step_forward(x[::2], x[1::2], dt=1.0)
    np.testing.assert_array_equal(found, x[::2] + x[1::2])
    for ask in (TABLE, ops):
        with pytest.raises(ValueError, match="lower eta"):
            ask.ddim_step_forward(x, x, x, alpha_bar=0.5, alpha_bar_next=0.9, sigma=0.9)
        with pytest.raises(ValueError, match="a step is 0 or more"):
            ask.langevin_step_drawn(x, x, STREAM, step=-1.0)


@pytest.mark.parametrize("name", [*STEPS, *WITHOUT_NOISE])
def test_a_step_of_other_arrays_is_that_of_the_page_bit_for_bit(name):
    """float64, one array of another shape, numbers instead of arrays of some axes."""
    names, static = (STEPS | WITHOUT_NOISE)[name][:2]
    arrays = {k: a.astype(float) for k, a in arrays_of(names + " noise", (3, 5)).items()}
    noise = arrays.pop("noise")
    given = [*arrays.values(), *([noise] if name in STEPS else [])]
    for other in (
        given,
        [given[0][0], *given[1:]],
        [np.float32(a) for a in (given[0], given[1][0])],
    ):
        if len(other) == len(given):
            found, page = (getattr(t, f"{name}_forward")(*other, **static) for t in (TABLE, ops))
            assert same_bits(found[0], page[0])
            assert found[1] == page[1]
    if name in STEPS:
        found, page = (
            getattr(t, f"{name}_drawn")(*arrays.values(), STREAM, 3, **static) for t in (TABLE, ops)
        )
        assert same_bits(found, page)


# Adam.


@settings(max_examples=few(40), deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(0,), (), (1,), (3, 5), (64,), (4, 257)]),
    size=st.sampled_from([1e-30, 1e-20, 1e-4, 1.0, 1e10, 1e20]),
    k=st.sampled_from([1, 2, 1000]),
    eps=st.sampled_from([1e-8, 1e-3]),
    fresh=st.booleans(),
    block=threads,
    order=orders,
)
def test_adam_is_as_accurate_as_the_page(shape, size, k, eps, fresh, block, order):
    """With gradients whose squares are subnormal, nothing, or infinite; and without any."""
    given = arrays_of("p g m v average", shape)
    given["g"] *= np.float32(size)
    given["g"] *= given["p"] > -0.5  # some have none
    given["m"], given["v"] = (0 * given["m"],) * 2 if fresh else (given["m"], given["v"] ** 2)
    static = {"step": k, "lr": 0.01, "eps": eps, "decay": 0.99}
    with arranged(block, order), np.errstate(over="ignore", under="ignore"):
        found = TABLE.adam_ema_step(**given, **static)
        page = ops.adam_ema_step(**given, **static)
    gold = ops.adam_ema_step(**{n: a.astype(float) for n, a in given.items()}, **static)
    for f, p, g in zip(found, page, gold, strict=True):
        assert_errs_no_more(f, p, g)


def test_adam_keeps_what_is_not_a_number():
    given = arrays_of("p g m v average", 9)
    given["v"] **= 2
    given["g"][4] = np.nan
    for after in TABLE.adam_ema_step(**given, step=3, lr=0.1, decay=0.9):
        assert np.array_equal(np.isnan(after), np.arange(9) == 4)


def test_adam_without_gradients_stays_where_it_is():
    p, nothing = np.arange(-4, 5, dtype="f"), np.zeros(9, "f")
    found = TABLE.adam_ema_step(p, nothing, nothing, nothing, p, step=1, lr=0.1, decay=0.5)
    for after, before in zip(found, (p, nothing, nothing, p), strict=True):
        np.testing.assert_array_equal(after, before)
    with pytest.raises(ValueError, match="steps count from 1"):
        TABLE.adam_ema_step(p, p, p, p, p, step=0, lr=0.1, decay=0.5)
    wide, static = p.astype(float), {"step": 1, "lr": 1.0, "decay": 0.5}
    assert TABLE.adam_ema_step(wide, p, p, nothing, p, **static)[0].dtype == np.float64


# Joins.

images = st.tuples(
    st.integers(0, 3),
    st.lists(st.sampled_from([0, 1, 2, 3, 7]), min_size=0, max_size=2),
    st.sampled_from([0, 1, 3, 4, 8, 12, 37, 260]),
)


@fast
@given(image=images, more=st.sampled_from([0, 1, 4, 5, 16]), block=threads, order=orders)
def test_what_moves_numbers_has_the_bits_of_the_page(image, more, block, order):
    n, space, c = image
    x, z = arrays_of("x z", (n, *space, c), seed=c).values()
    w, v = arrays_of("w", (n, *space, more))["w"], arrays_of("v", (n, c))["v"]
    with arranged(block, order):
        assert same_bits(TABLE.add(x, z), x + z)
        y, cache = TABLE.concat_forward(x, w)
        assert same_bits(y, np.concatenate([x, w], axis=-1))
        assert cache == ConcatCache(c)
        parts = TABLE.concat_backward(y, cache)
        assert all(same_bits(a, b) for a, b in zip(parts, (x, w), strict=True))
        assert all(part.flags.c_contiguous for part in parts)
        y, _ = TABLE.shift_forward(x, v)
        assert same_bits(y, ops.shift_forward(x, v)[0])


@settings(max_examples=few(50), deadline=None, derandomize=True)
@given(
    n=st.integers(0, 3),
    space=st.sampled_from([(0,), (1,), (5,), (3, 4), (40,), (19, 23)]),
    c=st.sampled_from([0, 1, 3, 4, 5, 16, 37, 64, 300, 1028]),
    offset=offsets,
    block=st.sampled_from([1, 4, 33, 64, 256]),
    in_a_row=st.sampled_from([2, 3, 32]),
    order=orders,
)
@example(n=2, space=(19, 23), c=8, offset=1.0, block=256, in_a_row=2, order="reverse")
def test_a_sum_over_pixels_is_as_accurate_as_the_page(n, space, c, offset, block, in_a_row, order):
    dy = arrays_of("dy", (n, *space, c), offset)["dy"]
    with pytest.MonkeyPatch.context() as patch, arranged(block, order):
        patch.setattr(calls, "THREADS", block)
        patch.setattr(calls, "IN_A_ROW", in_a_row)
        dx, dv = TABLE.shift_backward(dy, ShiftCache())
    assert dx is dy
    axes = tuple(range(1, dy.ndim - 1))
    assert_errs_no_more(dv, np.sum(dy, axis=axes), np.sum(dy, axis=axes, dtype=float))


def test_the_sum_over_a_samples_pixels_does_not_depend_on_the_other_samples():
    dy = arrays_of("dy", (5, 30, 21, 12), 1.0)["dy"]
    _, dv = TABLE.shift_backward(dy, ShiftCache())
    for i in range(5):
        assert same_bits(TABLE.shift_backward(dy[i : i + 1], ShiftCache())[1], dv[i : i + 1])


def test_long_sums_do_not_lose_what_is_small():
    """A million numbers near 1: each thread adds few, and what threads have is added in a tree."""
    pixels = 1000 * few(1000)
    dy = np.full((1, pixels, 3), 1.1, "f")
    _, dv = TABLE.shift_backward(dy, ShiftCache())
    np.testing.assert_allclose(dv, float(dy[0, 0, 0]) * pixels, rtol=1e-6)


def test_joins_refuse_what_the_page_refuses_and_take_what_it_takes():
    x = np.ones((2, 3, 4), "f")
    for table in (TABLE, ops):
        with pytest.raises(ValueError, match="add: both must have one shape"):
            table.add(x, x[:, :1])
        with pytest.raises(ValueError, match="shift: v is one number"):
            table.shift_forward(x, x[0])
        with pytest.raises(ValueError, match="concat: all axes but the last"):
            table.concat_forward(x, x[:1])
    wide = x.astype(float)
    assert TABLE.add(wide, wide).dtype == np.float64
    assert TABLE.shift_forward(wide, wide[:, 0])[0].dtype == np.float64
    assert TABLE.shift_backward(wide, ShiftCache())[1].dtype == np.float64
    assert TABLE.concat_forward(wide, x)[0].dtype == np.float64
    assert TABLE.concat_backward(wide, ConcatCache(1))[0].dtype == np.float64
    flat = np.ones((3, 4), "f")  # no pixels to sum over
    assert same_bits(TABLE.shift_backward(flat, ShiftCache())[1], flat)


# Activations.


@pytest.mark.parametrize("name", ["silu", "relu"])
@faster
@given(
    size=sizes,
    offset=st.sampled_from([0.0, -30.0, 1000.0]),
    scale=st.sampled_from([1.0, 30.0]),
    block=threads,
    order=orders,
)
def test_an_activation_is_as_accurate_as_the_page(name, size, offset, scale, block, order):
    x = arrays_of("x", (1, size))["x"] * np.float32(scale) + np.float32(offset)
    with arranged(block, order):
        assert_as_accurate(name, {"x": x}, {}, table=TABLE)


def test_activations_at_the_ends_are_those_of_the_page():
    x = np.array([np.nan, -np.inf, -200, -0.0, 0.0, 1e-40, 200, 3e38, np.nan], "f")
    dy = np.linspace(1, 2, 9, dtype="f")
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        for name in ("silu", "relu"):
            found, page = (getattr(t, f"{name}_forward")(x) for t in (TABLE, ops))
            np.testing.assert_allclose(found[0], page[0], rtol=4 * EPS)
            back = [getattr(t, f"{name}_backward")(dy, page[1]) for t in (TABLE, ops)]
            np.testing.assert_allclose(*back, rtol=4 * EPS)
            dx = getattr(TABLE, f"{name}_backward")(np.full(9, np.nan, "f"), page[1])
            assert np.isnan(dx[6:8]).all()  # a gradient that is not a number gets through
    y, cache = TABLE.silu_forward(np.full(5, np.inf, "f"))
    assert (y == np.inf).all()
    assert (cache.sigmoid == 1).all()


def test_small_values_of_the_sigmoid_keep_their_digits():
    x = np.linspace(-87, 88, 4001, dtype="f")
    _, cache = TABLE.silu_forward(x)
    exact = ops.sigmoid(x.astype(float))
    assert (np.abs(cache.sigmoid - exact) / exact).max() < 1e-6


def test_activations_of_float64_go_to_the_page():
    x = np.linspace(-2, 2, 5)
    for name in ("silu", "relu"):
        y, cache = getattr(TABLE, f"{name}_forward")(x)
        assert same_bits(y, getattr(ops, f"{name}_forward")(x)[0])
        dx = getattr(TABLE, f"{name}_backward")(x, cache)
        assert same_bits(dx, getattr(ops, f"{name}_backward")(x, cache))
