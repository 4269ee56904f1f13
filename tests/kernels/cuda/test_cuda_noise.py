"""Noise on the device: the bits of the page, whatever the grid; and noising with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen.noise import Noise
from refgen_kernels import cupy_cuda, overlay
from refgen_kernels.device import noise as calls
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import arranged, few
from tests.kernels.judging import assert_as_accurate, same_bits

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
TABLE = overlay(cupy_cuda)
STREAM = Noise(3).at("cuda").stream
threads = st.sampled_from([1, 7, 32, 64, 256])
orders = st.sampled_from(["forward", "reverse", "random"])
starts = st.one_of(st.integers(0, 200), st.sampled_from([2**32 - 3, 2**38 - 70, 2**62]))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=few(40), deadline=None, derandomize=True)
@given(start=starts, count=st.integers(0, 900), block=threads, order=orders, seed=seeds)
def test_normals_and_words_have_the_bits_of_the_page_on_any_grid(start, count, block, order, seed):
    stream = Noise(seed).at("any", count).stream
    with arranged(block, order, seed % 97):
        for name in ("normals", "words"):
            found = getattr(cupy_cuda, name)(stream, start, count)
            assert same_bits(found, getattr(ops, name)(stream, start, count))


def test_a_long_draw_is_cut_where_an_int_would_end(monkeypatch):
    monkeypatch.setattr(calls, "REACH", 128)
    found = cupy_cuda.normals(STREAM, 5, 700)
    assert same_bits(found, ops.normals(STREAM, 5, 700))


def test_a_million_normals_have_the_bits_of_the_page():
    count = few(1000) * 1000
    assert same_bits(cupy_cuda.normals(STREAM, 7, count), ops.normals(STREAM, 7, count))


@settings(max_examples=few(30), deadline=None, derandomize=True)
@given(
    n=st.integers(0, 6),
    d=st.sampled_from([0, 1, 2, 3, 4, 15, 16, 64, 65, 301]),
    offset=st.sampled_from([0.0, 30.0, 1000.0]),
    start=st.integers(0, 130),
    block=threads,
    order=orders,
)
def test_noising_is_that_of_the_page(n, d, offset, start, block, order):
    rng = np.random.default_rng(d)
    data = (rng.normal(size=(n, d)) + offset).astype("f")
    noise, (a, b) = rng.normal(size=(n, d)).astype("f"), rng.normal(size=(2, n)).astype("f")
    with arranged(block, order):
        arrays = {"data": data, "noise": noise, "a": a, "b": b}
        assert_as_accurate("noising", arrays, {}, table=TABLE)
        x, drawn = TABLE.noising_drawn(data, a, b, STREAM, start)
    page, page_drawn = ops.noising_drawn(data, a, b, STREAM, start)
    assert same_bits(drawn, page_drawn)
    np.testing.assert_allclose(x, page, rtol=1e-6, atol=1e-6)


def test_views_are_copied_before_kernels_see_them():
    data, a = np.ones((6, 8), "f"), np.ones(3, "f")
    every_other = np.arange(48, dtype="f").reshape(6, 8)[::2]
    x, _ = TABLE.noising_forward(every_other, data[::2], a, 0 * a)
    np.testing.assert_array_equal(x, every_other)
    shifted = np.arange(25, dtype="f")[1:].reshape(3, 8)  # four bytes past a multiple of 16
    x, _ = TABLE.noising_forward(shifted, data[:3], a, 0 * a)
    np.testing.assert_array_equal(x, shifted)


def test_what_is_not_float32_goes_to_the_page():
    data, a = np.ones((2, 3)), np.ones(2)
    assert TABLE.noising_forward(data, data, a, a)[0].dtype == np.float64


def test_wrong_arguments_of_a_kernel_are_refused():
    """A GPU would take eight bytes for four in silence."""
    cu, x = cupy_cuda.noising.CU, np.ones(4, "f")
    with pytest.raises(TypeError, match="argument 5 is int32"):
        cu.each("mix", 4, x, x, x, x, x, 1.5, 4)
    with pytest.raises(
        TypeError, match=r"argument 0 is float32 here, not numpy\.ndarray of float64"
    ):
        cu.each("mix", 4, np.ones(4), x, x, x, x, 1, 4)
    with pytest.raises(TypeError, match="argument 6 is int32; 2147483648 is not"):
        cu.each("mix", 4, x, x, x, x, x, 1, 2**31)
    with pytest.raises(TypeError, match="takes 7 arguments, not 6"):
        cu.each("mix", 4, x, x, x, x, x, 1)
