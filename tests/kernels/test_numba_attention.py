"""Attention on tiles: as accurate as the page, whatever is masked, however many keys there are."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen_kernels.numba_cpu import attention
from tests.kernels.judging import TABLE, assert_as_accurate, run, same_bits

tokens = st.sampled_from([1, 2, 5, 15, 16, 17, 33, 64, 65, 130])
sizes = st.sampled_from([16, 32, 48])
seeds = st.integers(0, 2**31)


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Send arrays of all sizes to the kernel."""
    monkeypatch.setattr(attention, "SHORT", 0)


def arrays(seed, n, queries, keys, heads, d, e, spread=1.0):
    rng = np.random.default_rng(seed)
    shapes = {"q": (n, queries, heads * d), "k": (n, keys, heads * d), "v": (n, keys, heads * e)}
    return {k: (spread * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()}


def some_allowed(seed, queries, keys):
    mask = np.random.default_rng(seed).random((queries, keys)) < 0.4
    mask[np.arange(queries), np.arange(queries) % keys] = True
    return mask


@settings(max_examples=60, deadline=None, derandomize=True)  # of few numbers one may be lucky
@given(
    n=st.integers(0, 2), q=tokens, k=tokens, heads=st.integers(1, 3), d=sizes, e=sizes,
    masked=st.booleans(), spread=st.sampled_from([1.0, 3.0]), seed=seeds,
)  # fmt: skip
def test_attention_is_as_accurate_as_the_page(n, q, k, heads, d, e, masked, spread, seed):
    inputs = arrays(seed, n, q, k, heads, d, e, spread)
    static = {"mask": some_allowed(seed, q, k) if masked else None, "heads": heads}
    assert_as_accurate("attention", inputs, static)


def test_what_a_mask_forbids_counts_for_nothing():
    inputs = arrays(0, 1, 20, 33, 2, 16, 16)
    mask = np.ones((20, 33), bool)
    mask[:, 7] = False
    y, cache = TABLE.attention_forward(**inputs, mask=mask, heads=2)
    _, dk, dv = TABLE.attention_backward(np.ones_like(y), cache)
    assert not dk[:, 7].any()
    assert not dv[:, 7].any()
    inputs["v"][:, 7] = 1e30
    np.testing.assert_array_equal(TABLE.attention_forward(**inputs, mask=mask, heads=2)[0], y)


def test_scores_of_hundreds_do_not_overflow():
    inputs = arrays(0, 1, 16, 16, 1, 16, 16, spread=30.0)
    y, cache = TABLE.attention_forward(**inputs, heads=1)
    page, _ = ops.attention_forward(**inputs, heads=1)
    np.testing.assert_allclose(y, page, atol=1e-3)
    assert all(np.isfinite(g).all() for g in TABLE.attention_backward(y, cache))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_the_number_of_threads_changes_no_bit():
    inputs, before, results = arrays(3, 5, 70, 70, 3, 32, 32), numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(run(TABLE, "attention", inputs, {"heads": 3}, np.float32))
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(results[0][what], results[1][what]) for what in results[0])


def test_heads_that_are_no_vectors_go_to_the_page():
    inputs = arrays(0, 2, 40, 40, 2, 12, 12)
    page, _ = ops.attention_forward(**inputs, heads=2)
    assert same_bits(TABLE.attention_forward(**inputs, heads=2)[0], page)


def test_what_the_page_refuses_the_twin_refuses():
    inputs = arrays(0, 1, 16, 16, 1, 16, 16)
    with pytest.raises(ValueError, match="forbids a query every key"):
        TABLE.attention_forward(**inputs, mask=np.zeros((16, 16), bool), heads=1)
    with pytest.raises(ValueError, match="must agree"):
        TABLE.attention_forward(inputs["q"], inputs["k"][:, :5], inputs["v"], heads=1)


def test_a_score_that_is_not_a_number_is_not_hidden():
    inputs = arrays(0, 1, 20, 40, 1, 16, 16)
    inputs["k"][0, 3] = np.nan
    assert np.isnan(TABLE.attention_forward(**inputs, heads=1)[0]).all()
    mask = np.ones((20, 40), bool)
    mask[:, 3] = False
    assert np.isfinite(TABLE.attention_forward(**inputs, mask=mask, heads=1)[0]).all()


def test_gradients_of_another_shape_go_to_the_page():
    inputs = arrays(0, 1, 20, 40, 1, 16, 16)
    _, cache = TABLE.attention_forward(**inputs, heads=1)
    with pytest.raises(ValueError, match=r"shape|mismatch|reshape"):
        TABLE.attention_backward(np.ones((1, 7, 16), np.float32), cache)
