"""Sums over samples on the device, whatever their sizes, who adds, and what else there is."""

import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen.noise import Noise
from refgen.ops.likelihood import BernoulliNLLCache, SquaredErrorCache
from refgen_kernels import overlay
from refgen_kernels.cupy_cuda import coupling, gaussian, likelihood, source
from refgen_kernels.device import sums
from refgen_kernels.device.machine import REACH
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import HOST, arranged, few
from tests.kernels.judging import assert_as_accurate, same_bits

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
OPS = {
    name: getattr(module, name)
    for module in (gaussian, likelihood, coupling)
    for name in dir(module)
    if name in vars(ops)
}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))
STREAM = Noise(3).at("sums").stream
EACH = (0, 1, 2, 3, 4, 5, 8, 15, 31, 32, 33, 64, 100, 301, 511, 512, 513, 784, 1500, 2047, 2048)
LONG = (2049, 3000, 4100, 6145)
each = st.sampled_from(EACH + LONG)
few_each = st.sampled_from((1, 2, 3, 7, 32, 45, 130, 513, 1030, 2048, 2049, 4103))
orders = st.sampled_from(["forward", "reverse", "random"])
blocks = st.sampled_from([7, 32, 64, 128])


@contextmanager
def shared_by(block, order, *, busy=1024, seed=0):
    """Choose the sizes of all blocks, how many blocks are enough, and who runs first."""
    before = sums.THREADS, sums.BUSY
    sums.THREADS, sums.BUSY = block, busy
    try:
        with arranged(block, order, seed):
            yield
    finally:
        sums.THREADS, sums.BUSY = before


def arrays(name, shape, offset=0.0, spread=1.0, seed=0):
    """Return the inputs of an op, hard where its name says what is hard."""
    rng = np.random.default_rng((math.prod(shape), seed))

    def normal(by=spread, at=offset):
        return (at + by * rng.normal(size=shape)).astype("f")

    return {
        "reparameterize": lambda: {"mu": normal(), "logvar": normal(10, 0), "noise": normal(1, 0)},
        "reparameterize_kl": lambda: {
            "mu": normal(),
            "logvar": np.clip(normal(10, 0), -30, 30),
            "noise": normal(1, 0),
        },
        "bernoulli_nll": lambda: {"x": rng.uniform(size=shape).astype("f"), "logits": normal()},
        "squared_error": lambda: {"x": normal(), "target": normal(1)},
        "affine_coupling": lambda: {
            "x": normal(),
            "shift": normal(1, 0),
            "log_scale": normal(1, 0),
        },
    }[name]()


NAMES = ("reparameterize", "reparameterize_kl", "bernoulli_nll", "squared_error", "affine_coupling")
SUMMED = NAMES[1:]


def summed(name, given):
    """Return the sums of an op, (N,)."""
    results = getattr(TABLE, f"{name}_forward")(**given)
    return next(y for y in results if isinstance(y, np.ndarray) and y.ndim == 1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=few(80), deadline=None, derandomize=True)
@given(
    n=st.integers(0, 5),
    d=each,
    hard=st.sampled_from([(0.0, 1.0), (1.0, 1e-3), (30.0, 1.0), (-30.0, 20.0), (1000.0, 1.0)]),
    block=blocks,
    order=orders,
    seed=st.integers(0, 9),
)
def test_a_twin_is_as_accurate_as_the_page(name, n, d, hard, block, order, seed):
    with shared_by(block, order, seed=seed):
        assert_as_accurate(name, arrays(name, (n, d), *hard, seed), {}, table=TABLE)


@settings(max_examples=few(50), deadline=None, derandomize=True)
@given(
    n=st.integers(0, 5),
    d=each,
    start=st.sampled_from([0, 1, 3, 4, 37, 64, 100, 2**32 - 5, 2**38 - 70, 2**60]),
    block=blocks,
    order=orders,
)
def test_what_is_drawn_has_the_noise_of_the_page(n, d, start, block, order):
    """Blocks of 64 normals are cut wherever samples and pieces of samples begin."""
    given = arrays("reparameterize_kl", (n, d))
    given["noise"] = ops.normals(STREAM, start, n * d).reshape(n, d)
    with shared_by(block, order):
        z, kl, cache = TABLE.reparameterize_kl_forward(**given)
        drawn = TABLE.reparameterize_kl_drawn(given["mu"], given["logvar"], STREAM, start)
    assert same_bits(drawn[0], z)
    assert same_bits(drawn[1], kl)
    assert all(same_bits(a, b) for a, b in zip(drawn[2], cache, strict=True))


# Sums.


@pytest.mark.parametrize("name", SUMMED)
@settings(max_examples=few(20), deadline=None, derandomize=True)
@given(n=st.integers(2, 7), d=few_each, order=orders, busy=st.sampled_from([1, 3, 1024]))
def test_a_sum_depends_on_its_own_sample_alone(name, n, d, order, busy):
    """Not on its neighbours, its place among them, who runs first, or how many blocks there are."""
    given = arrays(name, (n, d))
    whole = summed(name, given)
    with shared_by(sums.THREADS, order, busy=busy):
        assert same_bits(summed(name, given), whole)
        for i in (0, n // 2, n - 1):
            alone = summed(name, {k: a[i : i + 1] for k, a in given.items()})
            assert alone[0].tobytes() == whole[i].tobytes()


@pytest.mark.parametrize("name", SUMMED)
@pytest.mark.parametrize("d", [3, 40, 700, 2051])
def test_nan_stays_in_its_sample(name, d):
    given = arrays(name, (3, d))
    before = summed(name, given)
    summing = {"affine_coupling": ["log_scale"], "reparameterize_kl": ["mu", "logvar"]}
    for key in summing.get(name, given):
        spoilt = {k: a.copy() for k, a in given.items()}
        spoilt[key][1, d // 2] = np.nan
        found = summed(name, spoilt)
        assert np.isnan(found[1])
        assert same_bits(found[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("shape", [(4, 0), (0, 3), (0, 0), (3, 0, 2)])
def test_a_sum_over_nothing_is_zero(shape):
    x = np.empty(shape, "f")
    assert same_bits(TABLE.squared_error_forward(x, x)[0], np.zeros(shape[0], "f"))
    if len(shape) == 2:
        assert same_bits(TABLE.affine_coupling_forward(x, x, x)[1], np.zeros(shape[0], "f"))
        assert same_bits(TABLE.reparameterize_kl_drawn(x, x, STREAM)[1], np.zeros(shape[0], "f"))


@pytest.mark.parametrize("shape", [(3,), (2, 5, 7), (3, 1, 2, 4)])
def test_a_squared_error_sums_over_every_axis_but_the_first(shape):
    x = np.arange(math.prod(shape), dtype="f").reshape(shape)
    given = {"x": x, "target": np.ones_like(x)}
    assert_as_accurate("squared_error", given, {}, table=TABLE)


def test_long_sums_do_not_lose_what_is_small():
    """Numbers near 1, one after another: in one float32 they would stop at 2^24, and err before."""
    x = np.full((1, 100_003 if few(1000) < 1000 else 1_000_003), 1.1, "f")
    loss, _ = TABLE.squared_error_forward(x, np.zeros_like(x))
    assert loss[0] == pytest.approx(float(x[0, 0]) ** 2 * x.size, rel=2e-7)


@pytest.mark.parametrize("piece", [2048, 5056])
def test_a_piece_may_be_several_tiles(piece):
    """As it is of samples beyond four million elements."""
    x = np.random.default_rng(1).normal(size=(2, 10_001)).astype("f")
    pieces = -(-10_001 // piece)
    shares = HOST.empty((2 * pieces,), np.float32)
    args = x, np.zeros_like(x), shares, 2, 10_001, 1, pieces, piece
    likelihood.CU.launch("add_squares", (2 * pieces,), (sums.THREADS,), *args)
    exact = [
        float(np.sum(sample[at : at + piece].astype(float) ** 2))
        for sample in x
        for at in range(0, 10_001, piece)
    ]
    np.testing.assert_allclose(shares, exact, rtol=1e-6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(samples=st.integers(1, 2**20), each=st.integers(1, 5000) | st.integers(1, REACH))
def test_parts_cover_every_sample_once(samples, each):
    p = sums.parts_of(samples, each)
    assert (p.samples, p.each) == (samples, each)
    if p.pieces == 1:
        assert p.together * each <= sums.TILE
        assert (p.blocks - 1) * p.together < samples <= p.blocks * p.together
    else:
        assert p.together == 1
        assert p.piece % 64 == 0
        assert (p.pieces - 1) * p.piece < each <= p.pieces * p.piece
        assert p.pieces <= sums.TILE  # so the shares are added by one more launch
        assert p.blocks == samples * p.pieces
    alone = sums.parts_of(1, each)
    assert (alone.pieces, alone.piece) == (p.pieces, p.piece)


BLOCK_SUMS = """
extern "C" __global__ void all_sums(const float* x, float* once, float* twice, float* thrice) {
  const float one = x[threadIdx.x];
  once[threadIdx.x] = block_sum(one);
  twice[threadIdx.x] = block_sum(2.0f * one);
  const float2 both = block_sum(make_float2(one, 2.0f * one));
  thrice[threadIdx.x] = both.x + both.y;
}
"""


@pytest.mark.parametrize("threads", [1, 3, 31, 32, 96, 1024])
@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_every_thread_of_a_block_gets_its_sum(threads, order):
    text = source.expand(source.Path(source.__file__).with_name("reduce.cuh")) + BLOCK_SUMS
    x = np.arange(threads, dtype="f") - 7
    found = np.empty((3, threads), "f")
    with arranged(threads, order):
        HOST.module(text).get_function("all_sums")((1,), (threads,), (x, *found))
    np.testing.assert_array_equal(found, np.outer([1, 2, 3], np.full(threads, x.sum())))


# What only these ops promise.


def test_the_price_and_the_slope_of_a_certain_logit_keep_their_digits():
    """softplus(a) = exp(a) far below 0: 1 + exp(a) would round to 1 there, and the price to 0."""
    logits = np.linspace(-80, 80, 4001, dtype="f")[:, None]
    nll, cache = TABLE.bernoulli_nll_forward(0 * logits, logits)
    exact = np.logaddexp(0.0, logits[:, 0].astype(float))
    np.testing.assert_allclose(nll, exact, rtol=6e-7)
    _, dlogits = TABLE.bernoulli_nll_backward(np.ones(4001, "f"), cache)
    np.testing.assert_allclose(dlogits, ops.sigmoid(logits.astype(float)), rtol=6e-7)


def test_a_certain_logit_asks_for_no_more_and_infinity_for_no_less():
    logits = np.array([[-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf, np.nan]], "f")
    cache = BernoulliNLLCache(np.zeros_like(logits), logits)
    _, dlogits = TABLE.bernoulli_nll_backward(np.ones(1, "f"), cache)
    np.testing.assert_array_equal(dlogits, [[0, 0, 0.5, 0.5, 1, 1, np.nan]])


@settings(max_examples=few(20), deadline=None, derandomize=True)
@given(n=st.integers(1, 6), d=few_each, block=blocks)
def test_the_gradient_of_a_squared_error_has_the_bits_of_the_page(n, d, block):
    """Four neighbours may belong to four samples."""
    given = arrays("squared_error", (n, d))
    dloss = np.arange(1, n + 1, dtype="f")
    cache = SquaredErrorCache(**given)
    with shared_by(block, "forward"):
        twin = TABLE.squared_error_backward(dloss, cache)
    page = ops.squared_error_backward(dloss, cache)
    assert all(same_bits(a, b) for a, b in zip(twin, page, strict=True))


@settings(max_examples=few(20), deadline=None, derandomize=True)
@given(n=st.integers(0, 4), d=each, block=blocks)
def test_a_coupling_is_undone_as_accurately_as_by_the_page(n, d, block):
    given = arrays("affine_coupling", (n, d)).values()
    gold = ops.affine_coupling_inverse(*(a.astype(float) for a in given))
    with shared_by(block, "forward"):
        twin = TABLE.affine_coupling_inverse(*given)
    error, by_page = (
        np.abs(a - gold).max(initial=0.0) for a in (twin, ops.affine_coupling_inverse(*given))
    )
    eps = np.finfo(np.float32).eps
    assert twin.dtype == np.float32
    assert error <= 4 * by_page + 8 * eps * max(1.0, np.abs(gold).max(initial=0.0))


def test_what_is_not_float32_goes_to_the_page():
    x = np.ones((2, 3))
    for name in SUMMED:
        given = {k: a.astype(float) for k, a in arrays(name, (2, 3)).items()}
        *ys, cache = getattr(TABLE, f"{name}_forward")(**given)
        assert all(y.dtype == np.float64 for y in ys)
        gradients = getattr(TABLE, f"{name}_backward")(*(np.ones_like(y) for y in ys), cache)
        assert all(g.dtype == np.float64 for g in gradients)
    assert TABLE.reparameterize_forward(x, x, x)[0].dtype == np.float64
    assert TABLE.reparameterize_kl_drawn(x, x, STREAM)[0].dtype == np.float64
    assert TABLE.affine_coupling_inverse(x, x, x).dtype == np.float64
    cache = SquaredErrorCache(x.astype("f"), x.astype("f"))
    with pytest.raises(ValueError, match="broadcast"):  # in the page's own words
        TABLE.squared_error_backward(np.ones(5, "f"), cache)


def test_views_are_copied_before_kernels_see_them():
    x = np.arange(60, dtype="f").reshape(6, 10)
    loss, cache = TABLE.squared_error_forward(x[::2, 1:], x[1::2, :-1])
    np.testing.assert_array_equal(loss, np.full(3, 9 * 81.0))
    dx, _ = TABLE.squared_error_backward(np.ones(6, "f")[::2], cache)
    np.testing.assert_array_equal(dx, np.full((3, 9), -18.0))
