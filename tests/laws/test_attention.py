"""Laws of attention: who looks at whom, how much of each is taken, and what a mask forbids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.layers import CrossAttention, SelfAttention, TransformerBlock
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)


def drawn(layer, seed=0):
    """Draw parameters of a layer, moved away from the zeros that it starts with."""
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), layer.init(Noise(seed)))


def qkv(seed=0, tokens=5, features=6):
    return np.random.default_rng(seed).normal(size=(3, 2, tokens, features))


def test_a_softmax_is_a_distribution_that_ignores_a_common_shift():
    x = np.random.default_rng(0).normal(size=(3, 4, 5)) * 10
    y, _ = ops.softmax_forward(x)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-15)
    np.testing.assert_allclose(np.log(y[..., 0] / y[..., 1]), x[..., 0] - x[..., 1], atol=1e-13)
    np.testing.assert_allclose(ops.softmax_forward(x + 1e4)[0], y, rtol=1e-10)


def test_a_softmax_of_nearly_the_largest_floats_is_finite():
    x = np.array([8e307, -8e307, 8e307])
    y, cache = ops.softmax_forward(x)
    assert y.tolist() == [0.5, 0, 0.5]
    assert ops.softmax_backward(np.array([1.0, 5.0, 3.0]), cache).tolist() == [-0.5, 0, 0.5]


@given(seed=seeds)
def test_attention_is_the_mean_of_values_that_its_formula_says(seed):
    """One query at a time, in plain numbers, without the page's axes."""
    q, k, v = qkv(seed, tokens=3, features=4)
    y, _ = ops.attention_forward(q, k, v, heads=1)
    for n in range(2):
        for i in range(3):
            e = [np.exp(sum(q[n, i] * k[n, j]) / 2) for j in range(3)]  # √4 = 2
            expected = sum(w * v[n, j] for j, w in enumerate(e)) / sum(e)
            np.testing.assert_allclose(y[n, i], expected, rtol=1e-12, atol=1e-14)


@given(seed=seeds, order=st.permutations(range(5)))
def test_attention_moves_with_its_tokens(seed, order):
    """Shuffled queries give shuffled answers; shuffled keys, with their values, change nothing."""
    q, k, v = qkv(seed)
    y, _ = ops.attention_forward(q, k, v, heads=2)
    of_queries, _ = ops.attention_forward(q[:, order], k, v, heads=2)
    of_keys, _ = ops.attention_forward(q, k[:, order], v[:, order], heads=2)
    np.testing.assert_allclose(of_queries, y[:, order], atol=1e-14)
    np.testing.assert_allclose(of_keys, y, atol=1e-14)
    assert np.abs(ops.attention_forward(q, k[:, ::-1], v, heads=2)[0] - y).max() > 1e-6


def test_a_query_that_fits_one_key_far_better_takes_its_value():
    k, v = np.eye(4)[None], np.random.default_rng(0).normal(size=(1, 4, 4))
    wanted = [2, 0, 3, 3]
    y, _ = ops.attention_forward(1e4 * np.eye(4)[None, wanted], k, v, heads=1)
    assert np.array_equal(y, v[:, wanted])


def test_a_query_that_fits_all_keys_alike_takes_their_mean():
    _, k, v = qkv()
    y, _ = ops.attention_forward(np.zeros_like(k), k, v, heads=2)
    np.testing.assert_allclose(y, np.broadcast_to(v.mean(axis=1, keepdims=True), y.shape))


def test_heads_attend_on_their_own():
    """Two heads are two calls, each on its half of the features."""
    q, k, v = qkv()
    y, cache = ops.attention_forward(q, k, v, heads=2)
    dy = np.random.default_rng(1).normal(size=y.shape)
    grads = ops.attention_backward(dy, cache)
    for half in (np.s_[..., :3], np.s_[..., 3:]):
        alone, cache = ops.attention_forward(q[half], k[half], v[half], heads=1)
        assert np.array_equal(alone, y[half])
        for g, whole in zip(ops.attention_backward(dy[half], cache), grads, strict=True):
            assert np.array_equal(g, whole[half])


def test_a_key_behind_the_mask_has_no_influence_and_no_gradient():
    q, k, v = qkv()
    mask = np.ones((5, 5), bool)
    mask[:, 3] = False
    y, cache = ops.attention_forward(q, k, v, mask, heads=2)
    k[:, 3], v[:, 3] = 1e6, -1e6
    assert np.array_equal(ops.attention_forward(q, k, v, mask, heads=2)[0], y)
    _, dk, dv = ops.attention_backward(np.ones_like(y), cache)
    assert not dk[:, 3].any()
    assert not dv[:, 3].any()
    rest = [0, 1, 2, 4]
    without, _ = ops.attention_forward(q, k[:, rest], v[:, rest], heads=2)
    np.testing.assert_allclose(y, without, atol=1e-15)


def test_a_mask_says_who_looks_and_not_who_is_looked_at():
    """Rows are queries: under a lower triangle the first token sees itself alone."""
    q, k, v = qkv()
    y, _ = ops.attention_forward(q, k, v, np.tri(5, dtype=bool), heads=2)
    assert np.array_equal(y[:, 0], v[:, 0])
    full, _ = ops.attention_forward(q, k, v, heads=2)
    np.testing.assert_allclose(y[:, 4], full[:, 4], atol=1e-15)


@pytest.mark.parametrize("size", [4, 64, 1024])
def test_scores_of_independent_features_have_variance_one_whatever_their_number(size):
    """q·k has variance D, so a softmax of q·k alone would saturate as heads grow.

    With one key at k and one at 0 the weight is σ(q·k/√D), whose logit is the score.
    """
    q, k = np.random.default_rng(0).normal(size=(2, 4000, 1, size))
    keys, values = np.concatenate([k, 0 * k], axis=1), np.eye(2)[None].repeat(4000, axis=0)
    weights, _ = ops.attention_forward(q, keys, values, heads=1)
    score = np.log(weights[:, 0, 0] / weights[:, 0, 1])
    error = np.std(score**2) / np.sqrt(4000)
    assert abs(np.var(score) - 1) < 5 * error


@pytest.mark.parametrize(
    ("shapes", "mask", "heads", "said"),
    [
        (((2, 3, 4),) * 3, None, 3, "multiple of 3"),
        (((2, 3, 4),) * 3, None, 0, "multiple of 1"),
        (((2, 3, 4), (2, 3, 2), (2, 3, 4)), None, 1, "agree in batch and features"),
        (((2, 3, 4), (2, 3, 4), (2, 5, 4)), None, 1, "k and v in batch and tokens"),
        (((3, 4),) * 3, None, 1, "q is"),
        (((2, 3, 4),) * 3, np.ones((2, 3), bool), 1, r"\(queries, keys\) = \(3, 3\)"),
        (((2, 3, 4),) * 3, np.tri(3, k=-1, dtype=bool), 1, "forbids a query every key"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shapes, mask, heads, said):
    with pytest.raises(ValueError, match=said):
        ops.attention_forward(*map(np.ones, shapes), mask, heads=heads)


SELF, CROSS, BLOCK = SelfAttention(4, 2, 2), CrossAttention(4, 3, 2, 2), TransformerBlock(4, 2)
TOKENS = np.random.default_rng(5).normal(size=(2, 5, 3))
LAYERS = [
    pytest.param(SELF, (2, 3, 2, 4), (), id="self"),
    pytest.param(CROSS, (2, 3, 2, 4), (TOKENS,), id="cross"),
    pytest.param(BLOCK, (2, 6, 4), (), id="block"),
    pytest.param(BLOCK, (2, 6, 4), (np.tri(6, dtype=bool),), id="causal block"),
]
each_layer = pytest.mark.parametrize(("layer", "shape", "given_too"), LAYERS)


@each_layer
@settings(max_examples=20)
@given(seed=seeds)
def test_the_backward_of_an_attention_layer_is_its_adjoint(layer, shape, given_too, seed):
    rng, params = np.random.default_rng(seed), drawn(layer, seed)
    names, moving = list(tree.flatten(params)), [rng.normal(size=shape)]
    still = given_too
    if layer is CROSS:
        moving, still = [*moving, *given_too], ()
    y, cache = layer.forward(params, *moving, *still)
    dy = rng.normal(size=y.shape)
    *dinputs, grads = layer.backward(dy, cache)

    def output(*moved):
        inputs, leaves = moved[: len(moving)], moved[len(moving) :]
        changed = tree.unflatten(dict(zip(names, leaves, strict=True)))
        return layer.forward(changed, *inputs, *still)[0]

    xs = [*moving, *tree.leaves(params)]
    tangents = [rng.normal(size=a.shape) for a in xs]
    along = check.complex_step(output, xs, tangents)
    assert list(tree.flatten(grads)) == names
    assert list(map(np.shape, tree.leaves(grads))) == list(map(np.shape, tree.leaves(params)))
    assert check.adjoint_gap(tangents, [*dinputs, *tree.leaves(grads)], [dy], [along]) < 1e-12


@each_layer
def test_a_fresh_attention_layer_is_the_identity(layer, shape, given_too):
    x = np.random.default_rng(0).normal(size=shape)
    params = layer.init(Noise(0))
    y, cache = layer.forward(params, x, *given_too)
    assert np.array_equal(y, x)
    *_, grads = layer.backward(x, cache)
    last = "out" if "out" in params else "merge"
    assert np.abs(grads[last]["w"]).max() > 1e-3  # and leaves it at the first step


@pytest.mark.parametrize("layer", [SELF, BLOCK], ids=["self", "block"])
def test_tokens_that_are_shuffled_are_answered_shuffled(layer):
    x, order = np.random.default_rng(0).normal(size=(2, 6, 4)), [3, 0, 5, 1, 4, 2]
    params = drawn(layer)
    y = layer.forward(params, x)[0]
    np.testing.assert_allclose(layer.forward(params, x[:, order])[0], y[:, order], atol=1e-13)
    assert np.abs(y - x).max() > 0.1


def test_an_image_is_attended_to_as_its_row_of_pixels():
    x, params = np.random.default_rng(0).normal(size=(2, 3, 2, 4)), drawn(SELF)
    y, row = SELF.forward(params, x)[0], SELF.forward(params, x.reshape(2, 6, 4))[0]
    assert np.array_equal(y.reshape(2, 6, 4), row)


def test_tokens_are_a_set_to_the_image_that_looks_at_them():
    x, params = np.random.default_rng(0).normal(size=(2, 3, 2, 4)), drawn(CROSS)
    y = CROSS.forward(params, x, TOKENS)[0]
    again = CROSS.forward(params, x, TOKENS[:, ::-1])[0]
    np.testing.assert_allclose(again, y, atol=1e-13)
    assert np.abs(CROSS.forward(params, x, 0 * TOKENS)[0] - y).max() > 1e-3


def test_heads_that_do_not_divide_the_features_are_refused():
    for call in (
        lambda: SelfAttention(6, 4, 2),
        lambda: CrossAttention(6, 3, 4, 2),
        lambda: TransformerBlock(6, 4),
    ):
        with pytest.raises(ValueError, match="multiple of 4"):
            call()
