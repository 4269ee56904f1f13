"""Attention in tiles: as accurate as the page, whatever is masked and however long the rows."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen_kernels import overlay
from refgen_kernels.cupy_cuda import attention
from refgen_kernels.device import use
from tests.duck import Duck, undress
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import Ducks, arranged, few
from tests.kernels.judging import EPS, assert_as_accurate, run, same_bits

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
TWINS = {name: getattr(attention, name) for name in ("attention_forward", "attention_backward")}
TABLE = overlay(SimpleNamespace(__all__=list(TWINS), **TWINS))

tokens = st.sampled_from([1, 2, 5, 31, 63, 64, 65, 130])
sizes = st.sampled_from([1, 3, 4, 16, 30, 32, 33, 64, 100, 128])  # both sides of every kernel's end
orders = st.sampled_from(["forward", "reverse", "random"])
seeds = st.integers(0, 2**31)


def arrays(seed, n, queries, keys, heads, d, e, spread=1.0):
    """Draw q, k and v."""
    rng = np.random.default_rng(seed)
    shapes = {"q": (n, queries, heads * d), "k": (n, keys, heads * d), "v": (n, keys, heads * e)}
    return {k: (spread * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()}


def some_allowed(seed, queries, keys, share=0.4):
    """Draw a mask that lets every query see one key at least."""
    mask = np.random.default_rng(seed).random((queries, keys)) < share
    mask[np.arange(queries), np.arange(queries) % keys] = True
    return mask


@settings(max_examples=few(40), deadline=None, derandomize=True)
@given(
    n=st.integers(0, 2), q=tokens, k=tokens, heads=st.integers(1, 3), d=sizes, e=sizes,
    share=st.sampled_from([None, 0.4, 0.02]), spread=st.sampled_from([0.1, 1.0, 3.0]),
    order=orders, seed=seeds,
)  # fmt: skip
@example(2, 65, 66, 2, 6, 7, 0.4, 1.0, "reverse", 0)  # one step beyond a tile, no fours
@example(1, 70, 130, 1, 4, 4, 0.02, 1.0, "forward", 0)  # rows that see nothing of a tile
@example(1, 0, 5, 2, 4, 4, None, 1.0, "forward", 0)  # nobody asks: dk and dv are zeros
def test_attention_is_as_accurate_as_the_page(n, q, k, heads, d, e, share, spread, order, seed):
    inputs = arrays(seed, n, q, k, heads, d, e, spread)
    static = {"mask": None if share is None else some_allowed(seed, q, k, share), "heads": heads}
    with arranged(64, order, seed):
        assert_as_accurate("attention", inputs, static, table=TABLE)


@pytest.mark.parametrize("offset", [0.0, 30.0, 1000.0])
def test_scores_of_a_thousand_neither_overflow_nor_lose_more_than_on_the_page(offset):
    """Every score moves by about the offset; differences of some hundreds stay."""
    inputs = arrays(0, 1, 70, 70, 1, 16, 8, spread=10.0)
    inputs["q"][..., 0], inputs["k"][..., 0] = 4.0, offset
    assert_as_accurate("attention", inputs, {"heads": 1}, table=TABLE)


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_of_one_key_everything_is_taken_and_nothing_is_learned(spread):
    """The weight is e^0 = 1 to the last bit, in backward as in forward, however large the score."""
    inputs = arrays(1, 2, 70, 1, 2, 20, 5, spread)
    inputs["k"] += 100.0
    y, cache = TABLE.attention_forward(**inputs, heads=2)
    dq, dk, _ = TABLE.attention_backward(np.ones_like(y), cache)
    assert same_bits(y, np.repeat(inputs["v"], 70, axis=1))
    assert np.abs(cache.total).max() > 100
    assert not dq.any()
    assert not dk.any()


@pytest.mark.parametrize("keys", [4000, 4001])
def test_long_rows_lose_no_more_than_short_ones(keys):
    """Weights of 1/M: what is added up one by one would lose a digit of y, and of dv."""
    inputs = {"q": np.zeros((1, 2, 4)), "k": np.zeros((1, keys, 4)), "v": np.ones((1, keys, 4))}
    inputs = {name: a.astype(np.float32) for name, a in inputs.items()}
    y, cache = TABLE.attention_forward(**inputs, heads=1)
    assert np.abs(y - 1).max() <= 8 * EPS
    assert np.abs(cache.total - np.log(keys)).max() <= 8 * EPS * np.log(keys)
    turned = {"q": inputs["k"], "k": inputs["q"][:, :1], "v": inputs["v"][:, :1]}
    y, cache = TABLE.attention_forward(**turned, heads=1)
    _, _, dv = TABLE.attention_backward(np.full_like(y, 0.1), cache)
    assert np.abs(dv / keys - np.float64(np.float32(0.1))).max() <= 8 * EPS


def test_the_future_is_left_out_and_does_not_count():
    length = 150  # three tiles, of which causal masks leave out one above the diagonal and more
    inputs, mask = arrays(2, 1, length, length, 2, 16, 16), np.tri(length, dtype=bool)
    assert_as_accurate("attention", inputs, {"mask": mask, "heads": 2}, table=TABLE)
    y, _ = TABLE.attention_forward(**inputs, mask=mask, heads=2)
    inputs["k"][:, 70:], inputs["v"][:, 70:] = 1e4, -1e4
    later, _ = TABLE.attention_forward(**inputs, mask=mask, heads=2)
    assert same_bits(y[:, :70], later[:, :70])
    assert (y[:, 70:] != later[:, 70:]).all()


def test_what_a_mask_forbids_counts_for_nothing():
    inputs = arrays(0, 1, 20, 133, 2, 16, 16)
    mask = np.ones((20, 133), bool)
    mask[:, 7] = False
    y, cache = TABLE.attention_forward(**inputs, mask=mask, heads=2)
    _, dk, dv = TABLE.attention_backward(np.ones_like(y), cache)
    assert not dk[:, 7].any()
    assert not dv[:, 7].any()
    inputs["v"][:, 7] = 1e30
    np.testing.assert_array_equal(TABLE.attention_forward(**inputs, mask=mask, heads=2)[0], y)


@settings(max_examples=few(8), deadline=None, derandomize=True)
@given(order=orders, seed=seeds, masked=st.booleans())
def test_an_answer_depends_on_its_own_head_alone_and_not_on_who_runs_first(order, seed, masked):
    inputs = arrays(seed, 3, 66, 70, 2, 12, 20)
    mask = some_allowed(seed, 66, 70) if masked else None
    whole = run(TABLE, "attention", inputs, {"heads": 2, "mask": mask}, np.float32)
    with arranged(64, order, seed):
        again = run(TABLE, "attention", inputs, {"heads": 2, "mask": mask}, np.float32)
    assert all(same_bits(whole[what], again[what]) for what in whole)
    for n, head in ((0, 1), (2, 0)):
        own = {k: a[n : n + 1, :, a.shape[2] // 2 * head :] for k, a in inputs.items()}
        own = {k: a[..., : inputs[k].shape[2] // 2] for k, a in own.items()}  # views, not copies
        y, _ = TABLE.attention_forward(**own, mask=mask, heads=1)
        assert same_bits(y, np.ascontiguousarray(whole["y0"][n : n + 1, :, 20 * head :][..., :20]))


def test_what_is_not_a_number_comes_out_in_the_rows_it_belongs_to():
    inputs = arrays(0, 2, 70, 100, 1, 16, 16)
    inputs["q"][0, 3, 5] = np.nan
    y, cache = TABLE.attention_forward(**inputs, heads=1)
    assert np.isnan(y[0, 3]).all()
    assert np.isnan(cache.total[0, 0, 3])
    assert np.isfinite(np.delete(y[0], 3, axis=0)).all()
    assert np.isfinite(y[1]).all()
    dq, dk, dv = TABLE.attention_backward(np.ones_like(y), cache)
    assert np.isnan(dq[0, 3]).all()
    assert np.isfinite(np.delete(dq[0], 3, axis=0)).all()
    assert np.isnan(dk[0]).all()
    assert np.isnan(dv[0]).all()
    assert all(np.isfinite(g[1]).all() for g in (dq, dk, dv))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_a_number_is_not_hidden_but_by_the_mask(value):
    inputs = arrays(0, 1, 20, 100, 1, 16, 16)
    inputs["q"] = np.abs(inputs["q"])
    inputs["k"][0, 80] = value
    assert np.isnan(TABLE.attention_forward(**inputs, heads=1)[0]).all()
    mask = np.ones((20, 100), bool)
    mask[:, 80] = False
    assert np.isfinite(TABLE.attention_forward(**inputs, mask=mask, heads=1)[0]).all()


@pytest.mark.parametrize(
    ("d", "e", "dtype"), [(130, 8, "f"), (8, 129, "f"), (8, 8, "d")], ids=["D", "E", "float64"]
)
def test_what_no_kernel_is_for_goes_to_the_page(d, e, dtype):
    inputs = {k: a.astype(dtype) for k, a in arrays(0, 1, 5, 6, 1, d, e).items()}
    twin = run(TABLE, "attention", inputs, {"heads": 1}, np.dtype(dtype))
    page = run(ops, "attention", inputs, {"heads": 1}, np.dtype(dtype))
    assert all(same_bits(twin[what], page[what]) for what in page)


def test_what_the_page_refuses_the_twin_refuses():
    inputs = arrays(0, 1, 16, 16, 2, 16, 16)
    q, k, v = inputs.values()
    forbids = np.ones((16, 16), bool)
    forbids[3] = False
    for words, args, heads in (
        ("forbids a query every key", (q, k, v, forbids), 2),
        ("the mask is", (q, k, v, forbids[:5]), 2),
        ("must agree", (q, k[:, :5], v), 2),
        ("must agree", (q, np.concatenate([k, k]), v), 2),
        ("cannot be cut", (q, k, v), 3),
        ("cannot be cut", (q, k, v), 0),
        ("zero-size array", (q, k[:, :0], v[:, :0]), 2),
    ):
        with pytest.raises(ValueError, match=words):
            TABLE.attention_forward(*args, heads=heads)
    _, cache = TABLE.attention_forward(**inputs, heads=2)
    with pytest.raises(ValueError, match=r"shape|mismatch|reshape"):
        TABLE.attention_backward(np.ones((1, 7, 32), np.float32), cache)


def test_a_mask_leaves_the_device_once_and_nothing_else_does():
    with use(Ducks()) as machine:
        q, k, v = (Duck(a) for a in arrays(0, 1, 16, 16, 2, 16, 16).values())
        mask, other = Duck(some_allowed(0, 16, 16)), Duck(some_allowed(1, 16, 16))
        for given, brought in ((None, 0), (mask, 1), (mask, 1), (other, 2), (mask, 2)):
            y, cache = TABLE.attention_forward(q, k, v, given, heads=2)
            TABLE.attention_backward(y, cache)
            assert machine.brought == brought
        with pytest.raises(ValueError, match="the mask is"):
            TABLE.attention_forward(q, k[:, :5], v[:, :5], mask, heads=2)
    page, _ = ops.attention_forward(*map(undress, (q, k, v, mask)), heads=2)
    np.testing.assert_allclose(undress(y), page, atol=1e-5)
