"""Laws of joins: what goes in comes out, and gradients go back to where values came from."""

import numpy as np
import pytest

from refgen import ops

pytestmark = pytest.mark.tiny
RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(2, 2, 3, 4, 5))


def test_a_sum_is_a_sum_and_refuses_to_broadcast():
    np.testing.assert_array_equal(ops.add(X, Z) - Z, (X + Z) - Z)
    with pytest.raises(ValueError, match="one shape"):
        ops.add(X, Z[:1])


def test_a_shift_is_the_same_at_every_pixel_and_another_for_every_example():
    v = RNG.normal(size=(2, 5))
    y, cache = ops.shift_forward(X, v)
    for n, i, j in np.ndindex(2, 3, 4):
        np.testing.assert_array_equal(y[n, i, j], X[n, i, j] + v[n])
    dx, dv = ops.shift_backward(Z, cache)
    np.testing.assert_array_equal(dx, Z)
    for n, c in np.ndindex(2, 5):
        np.testing.assert_allclose(dv[n, c], sum(Z[n, i, j, c] for i, j in np.ndindex(3, 4)))


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 4)])
def test_a_shift_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(2, 5\) for x of shape"):
        ops.shift_forward(X, np.zeros(shape))


def test_what_was_put_in_a_row_is_cut_apart_again():
    z = Z[..., :2]
    y, cache = ops.concat_forward(X, z)
    assert y.shape == (2, 3, 4, 7)
    for given, back in zip((X, z), ops.concat_backward(y, cache), strict=True):
        np.testing.assert_array_equal(back, given)
    with pytest.raises(ValueError, match="all axes but the last"):
        ops.concat_forward(X, Z[:1])
