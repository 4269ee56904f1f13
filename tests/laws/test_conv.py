"""Laws of the convolutions and of the changes of resolution."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import ops
from refgen.layers import Conv2d, ConvTranspose2d, Double, Halve
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
small = st.integers(1, 3)


def summed_out(x, w, b, s, p, groups):
    """Return the convolution as (CV.1) says it, one number at a time."""
    n, height, width, _ = x.shape
    u, v, per_group, outputs = w.shape
    size = ((height + 2 * p - u) // s + 1, (width + 2 * p - v) // s + 1)
    y = np.zeros((n, *size, outputs)) + b
    for k, i, j, o in np.ndindex(*y.shape):
        first = o // (outputs // groups) * per_group  # the first channel of the group of o
        for du, dv, c in itertools.product(range(u), range(v), range(per_group)):
            row, column = s * i + du - p, s * j + dv - p
            if 0 <= row < height and 0 <= column < width:
                y[k, i, j, o] += x[k, row, column, first + c] * w[du, dv, c, o]
    return y


@given(u=small, v=small, s=small, p=st.integers(0, 2), g=st.integers(1, 2), seed=st.integers(0, 99))
def test_a_convolution_is_the_sum_that_defines_it(u, v, s, p, g, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, max(u, 4), max(v, 5), 2 * g))
    w, b = rng.normal(size=(u, v, 2, 3 * g)), rng.normal(size=3 * g)
    y, _ = ops.conv2d_forward(x, w, b, stride=s, padding=p, groups=g)
    np.testing.assert_allclose(y, summed_out(x, w, b, s, p, g), atol=1e-13)


@given(
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    extra=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    g=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_the_transposed_convolution_is_the_adjoint(kernel, stride, padding, extra, g, seed):
    """⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩, for every size that a stride may forget rows of."""
    rng = np.random.default_rng(seed)
    image = [max(k - 2 * p, 1) + e for k, p, e in zip(kernel, padding, extra, strict=True)]
    x, w = rng.normal(size=(2, *image, 2 * g)), rng.normal(size=(*kernel, 2, 3 * g))
    how = {"stride": stride, "padding": padding, "groups": g}
    conv, _ = ops.conv2d_forward(x, w, np.zeros(3 * g), **how)
    y = rng.normal(size=conv.shape)
    reached = [
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(conv.shape[1:3], stride, kernel, padding, strict=True)
    ]
    more = tuple(n - r for n, r in zip(image, reached, strict=True))
    back, _ = ops.conv_transpose2d_forward(y, w, np.zeros(2 * g), output_padding=more, **how)
    assert back.shape == x.shape
    assert np.sum(conv * y) == pytest.approx(np.sum(x * back), rel=1e-12, abs=1e-12)


def test_a_filter_of_one_pixel_is_a_dense_layer():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 6)), rng.normal(size=6)
    conv, _ = ops.conv2d_forward(x, w[None, None], b)
    np.testing.assert_allclose(conv, ops.dense_forward(x, w, b)[0], atol=1e-14)


def test_a_convolution_moves_with_its_image():
    rng = np.random.default_rng(1)
    x, w = np.zeros((1, 9, 9, 2)), rng.normal(size=(3, 3, 2, 2))
    x[:, 3:6, 3:6] = rng.normal(size=(1, 3, 3, 2))
    y, _ = ops.conv2d_forward(x, w, np.zeros(2), padding=1)
    moved, _ = ops.conv2d_forward(np.roll(x, (1, 2), (1, 2)), w, np.zeros(2), padding=1)
    np.testing.assert_allclose(moved, np.roll(y, (1, 2), (1, 2)), atol=1e-14)


def test_a_convolution_shows_its_filter_turned_and_a_transposed_one_as_it_is():
    w = np.random.default_rng(2).normal(size=(3, 3, 1, 1))
    dot = np.zeros((1, 3, 3, 1))
    dot[0, 1, 1, 0] = 1
    y, _ = ops.conv2d_forward(dot, w, np.zeros(1), padding=1)
    np.testing.assert_allclose(y[0, ..., 0], w[::-1, ::-1, 0, 0])
    back, _ = ops.conv_transpose2d_forward(dot, w, np.zeros(1), padding=1)
    np.testing.assert_allclose(back[0, ..., 0], w[:, :, 0, 0])


def test_groups_do_not_see_each_other():
    rng = np.random.default_rng(3)
    x, w, b = rng.normal(size=(1, 4, 4, 4)), rng.normal(size=(3, 3, 2, 6)), rng.normal(size=6)
    y, _ = ops.conv2d_forward(x, w, b, groups=2)
    for half in range(2):
        cut, filters = slice(2 * half, 2 * half + 2), slice(3 * half, 3 * half + 3)
        alone, _ = ops.conv2d_forward(x[..., cut], w[..., filters], b[filters])
        np.testing.assert_allclose(y[..., filters], alone, atol=1e-14)


@given(factor=st.integers(1, 3), seed=st.integers(0, 99))
def test_what_is_taken_apart_can_be_put_together(factor, seed):
    x = np.random.default_rng(seed).normal(size=(2, 2 * factor, 3 * factor, 2))
    deep, _ = ops.space_to_depth_forward(x, block=factor)
    assert np.array_equal(ops.depth_to_space_forward(deep, block=factor)[0], x)
    tokens, _ = ops.patchify_forward(x, patch=factor)
    assert np.array_equal(tokens.reshape(deep.shape), deep)
    whole, _ = ops.unpatchify_forward(tokens, patch=factor, height=2 * factor, width=3 * factor)
    assert np.array_equal(whole, x)
    # A patch is a square of neighbours, row by row.
    assert np.array_equal(tokens[:, 1], x[:, :factor, factor : 2 * factor].reshape(2, -1))


@given(padding=st.integers(0, 2), seed=st.integers(0, 2**31))
def test_an_enlarged_image_is_read_at_half_its_places(padding, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(1, 3, 4, 2)), rng.normal(size=(3, 3, 2, 5))
    y, _ = ops.upsample_conv2d_forward(x, w, np.zeros(5), padding=padding)
    assert y.shape == (1, 4 + 2 * padding, 6 + 2 * padding, 5)
    for i, j in np.ndindex(y.shape[1:3]):
        places = [(i + u - padding, j + v - padding, u, v) for u in range(3) for v in range(3)]
        inside = [p for p in places if 0 <= p[0] < 6 and 0 <= p[1] < 8]
        expected = sum(x[0, a // 2, e // 2] @ w[u, v] for a, e, u, v in inside)
        np.testing.assert_allclose(y[0, i, j], expected, atol=1e-12)


def test_an_enlarged_image_gives_each_pixel_the_sum_over_its_copies():
    x, w = np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1))
    y, cache = ops.upsample_conv2d_forward(x, w, np.zeros(1))
    dx, dw, db = ops.upsample_conv2d_backward(np.arange(16.0).reshape(y.shape), cache)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[10, 18], [42, 50]])
    assert dw.item() == db.item() == 120


def test_averaging_undoes_repeating_and_keeps_the_mean():
    x = np.random.default_rng(4).normal(size=(2, 3, 2, 4))
    larger, _ = ops.nearest_upsample_forward(x, factor=3)
    np.testing.assert_allclose(ops.average_downsample_forward(larger, factor=3)[0], x, atol=1e-15)
    assert np.array_equal(larger[:, 4, 5], x[:, 1, 1])
    noise = np.random.default_rng(5).normal(size=(2, 4, 6, 3))
    smaller, _ = ops.average_downsample_forward(noise, factor=2)
    np.testing.assert_allclose(smaller.mean((1, 2)), noise.mean((1, 2)), atol=1e-15)
    assert smaller[0, 1, 2, 0] == pytest.approx(noise[0, 2:4, 4:6, 0].mean(), rel=1e-14)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 5), (2, 8, 6, 5)),
        (Conv2d(3, 5, kernel=1), (2, 8, 6, 5)),
        (Conv2d(3, 5, kernel=5, padding=0), (2, 4, 2, 5)),
        (Halve(3), (2, 4, 3, 3)),
        (Double(3), (2, 16, 12, 3)),
        (ConvTranspose2d(3, 5), (2, 16, 12, 5)),
    ],
    ids=str,
)
def test_layers_give_the_sizes_that_they_claim(layer, shape):
    x = np.ones((2, 8, 6, 3))
    y, cache = layer.forward(layer.init(Noise(0)), x)
    assert y.shape == shape
    dx, grads = layer.backward(y, cache)
    assert dx.shape == x.shape
    assert set(grads) == {"w", "b"}


@pytest.mark.parametrize("layer", [Conv2d(64, 64), ConvTranspose2d(64, 64)], ids=str)
def test_a_fresh_convolution_keeps_the_variance(layer):
    x = Noise(0).normal((4, 12, 12, 64))
    y, _ = layer.forward(layer.init(Noise(1)), x)
    assert y[:, 4:-4, 4:-4].var() == pytest.approx(1, abs=0.1)  # away from the frame of zeros


IMAGE = np.zeros((1, 5, 6, 4))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ops.average_downsample_forward(IMAGE, factor=2), "height 5.*multiple of 2"),
        (lambda: ops.patchify_forward(IMAGE, patch=5), "width 6.*multiple of 5"),
        (lambda: ops.depth_to_space_forward(IMAGE, block=3), "multiple of 9"),
        (lambda: ops.depth_to_space_forward(np.zeros((1, 2, 2, 6)), block=2), "multiple of 4"),
        (lambda: ops.depth_to_space_forward(np.zeros((2, 4)), block=2), r"x is \(N, H, W, C\)"),
        (
            lambda: ops.unpatchify_forward(np.zeros((1, 4, 6)), patch=2, height=4, width=4),
            "multiple of 4",
        ),
        (
            lambda: ops.unpatchify_forward(np.zeros((1, 5, 4)), patch=2, height=4, width=4),
            r"takes \(N, 4, C\)",
        ),
        (
            lambda: ops.unpatchify_forward(np.zeros((1, 4, 4)), patch=2, height=5, width=4),
            "multiples of 2",
        ),
        (
            lambda: ops.conv2d_forward(IMAGE, np.zeros((7, 3, 4, 2)), np.zeros(2)),
            "height 7 does not fit.*at least 7",
        ),
        (
            lambda: ops.conv2d_forward(IMAGE, np.zeros((3, 3, 2, 3)), np.zeros(3), groups=2),
            "3 filters cannot be cut into 2 groups.*multiple of 2",
        ),
        (
            lambda: ops.conv2d_forward(IMAGE, np.zeros((3, 3, 3, 2)), np.zeros(2)),
            r"last axis of x must fit a filter of shape \(3, 3, 3, 2\)",
        ),
        (
            lambda: ops.conv2d_forward(IMAGE, np.zeros((3, 3, 4, 2)), np.zeros(2), stride=0),
            "stride and groups are at least 1",
        ),
        (
            lambda: ops.conv_transpose2d_forward(
                IMAGE, np.zeros((3, 3, 2, 4)), np.zeros(2), stride=2, output_padding=2
            ),
            "output_padding.*below the stride",
        ),
        (lambda: Halve(4).forward(Halve(4).init(Noise(0)), IMAGE), "height 5 cannot be halved"),
        (
            lambda: Halve(4).forward(Halve(4).init(Noise(0)), np.zeros((1, 6, 5, 4))),
            "width 5 cannot be halved",
        ),
        (lambda: Conv2d(4, 4, kernel=2), "even kernel, 2"),
        (lambda: Conv2d(4, 6, groups=4), "outputs that are a multiple of 4, not 6"),
        (lambda: Conv2d(3, 4).forward({}, IMAGE), r"takes \(N, H, W, 3\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_what_would(call, said):
    with pytest.raises(ValueError, match=said):
        call()
