"""Pictures made smaller and larger, and what an enlargement is measured by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.data.resize import bicubic, kernel, reduce
from refgen.metrics.psnr import psnr
from tests.duck import Duck

pytestmark = pytest.mark.tiny


def places(size, factor=1):
    """Return where the pixels of an axis stand, in coarse pixels."""
    return (np.arange(size * factor) + 0.5) / factor - 0.5


def picture(f, factor=1, size=8):
    """Return f at the places of (size factor)² pixels, one picture of one channel."""
    u = places(size, factor)
    return f(u[:, None], u[None, :])[None, :, :, None]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_quadratics_are_enlarged_exactly_away_from_the_rim(factor):
    """What Keys chose a = −½ for: with −¾ or −1, or places without the half, this fails."""

    def f(y, x):
        return 1 + 2 * x - y + 0.3 * x * x - 0.2 * x * y + 0.1 * y * y

    found, inside = bicubic(picture(f), factor), slice(2 * factor, -2 * factor)
    exact = picture(f, factor)
    np.testing.assert_allclose(found[:, inside, inside], exact[:, inside, inside], atol=1e-11)


def test_the_error_of_an_enlargement_falls_with_the_cube_of_the_pixels_distance():
    sizes, errors = [16, 32, 64, 128], []
    for size in sizes:

        def f(y, x, size=size):
            return np.sin(7 * x / size) * np.cos(5 * y / size)

        middle = slice(size // 2, -size // 2)
        found, exact = bicubic(picture(f, 1, size), 2), picture(f, 2, size)
        errors.append(np.abs(found - exact)[:, middle, middle].max())
    assert check.order_of_convergence(sizes, errors) == pytest.approx(3, abs=0.1)


@given(seed=st.integers(0, 2**31), factor=st.sampled_from([2, 3]))
def test_bicubic_is_the_sum_over_four_by_four_pixels_that_is_printed(seed, factor):
    x = np.random.default_rng(seed).normal(size=(1, 5, 4, 2))
    found = bicubic(x, factor)
    assert found.shape == (1, 5 * factor, 4 * factor, 2)
    for i, u in enumerate(places(5, factor)):
        for j, v in enumerate(places(4, factor)):
            total = 0
            for h in range(int(np.floor(u)) - 1, int(np.floor(u)) + 3):
                for w in range(int(np.floor(v)) - 1, int(np.floor(v)) + 3):
                    pixel = x[0, np.clip(h, 0, 4), np.clip(w, 0, 3)]
                    total = total + float(kernel(u - h) * kernel(v - w)) * pixel
            np.testing.assert_allclose(found[0, i, j], total, atol=1e-12)


def test_pillow_enlarges_alike_away_from_the_rim():
    image = pytest.importorskip("PIL.Image")
    x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    theirs = np.asarray(image.fromarray(x).resize((16, 16), image.Resampling.BICUBIC))
    ours = bicubic(x[None, :, :, None], 2)[0, :, :, 0]
    np.testing.assert_allclose(ours[4:-4, 4:-4], theirs[4:-4, 4:-4], atol=1e-5)


@given(seed=st.integers(0, 2**31))
def test_a_plain_grey_stays_so_and_a_mirror_image_is_enlarged_to_one(seed):
    x = np.random.default_rng(seed).normal(size=(2, 4, 6, 1))
    np.testing.assert_allclose(bicubic(0 * x + 0.3, 2), 0.3, atol=1e-14)
    np.testing.assert_allclose(bicubic(x[:, ::-1], 2), bicubic(x, 2)[:, ::-1], atol=1e-13)
    turned = np.swapaxes(x, 1, 2)
    np.testing.assert_allclose(bicubic(turned, 2), np.swapaxes(bicubic(x, 2), 1, 2), atol=1e-13)


def test_factor_1_changes_nothing_and_means_are_kept_by_reduction():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    np.testing.assert_allclose(bicubic(x, 1), x, atol=1e-15)
    small = reduce(x, 2)
    assert small.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(small.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-13)


def test_an_enlargement_stays_in_its_type_and_where_its_picture_lies():
    x = np.ones((1, 4, 4, 1), np.float32)
    assert bicubic(x, 2).dtype == np.float32
    assert isinstance(bicubic(Duck(x), 2), Duck)


@pytest.mark.parametrize(("shape", "factor"), [((4, 4, 1), 2), ((1, 4, 4, 1), 0)])
def test_what_cannot_be_enlarged_is_refused(shape, factor):
    with pytest.raises(ValueError, match="enlarged 1 or more times"):
        bicubic(np.zeros(shape), factor)


@given(seed=st.integers(0, 2**31))
def test_psnr_falls_by_3_decibels_where_the_squared_error_doubles(seed):
    """And by 6.02 where the error does, and not at all where the range doubles with it."""
    rng = np.random.default_rng(seed)
    truth, error = rng.normal(size=(3, 4, 4, 1)), rng.normal(size=(3, 4, 4, 1))
    one = psnr(truth + error, truth)
    np.testing.assert_allclose(one - psnr(truth + np.sqrt(2) * error, truth), 10 * np.log10(2))
    np.testing.assert_allclose(one - psnr(truth + 2 * error, truth), 20 * np.log10(2))
    np.testing.assert_allclose(one, psnr(2 * truth + 2 * error, 2 * truth, span=4.0))
    assert one.shape == (3,)


def test_a_draw_costs_3_decibels_of_the_mean_of_draws():
    """Truth and draw alike from N(m, s²): the draw errs by 2 s², the mean by s²."""
    rng = np.random.default_rng(0)
    truth, draw = rng.normal(size=(2, 1, 200_000))
    cost = psnr(np.zeros_like(truth), truth) - psnr(draw, truth)
    assert float(cost[0]) == pytest.approx(3.01, abs=0.03)


def test_a_perfect_enlargement_is_infinitely_good_and_other_shapes_are_refused():
    assert psnr(np.ones((1, 2)), np.ones((1, 2)))[0] == np.inf
    with pytest.raises(ValueError, match="one by one"):
        psnr(np.ones((1, 2)), np.ones((1, 3)))
