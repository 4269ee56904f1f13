"""A split by lot that is even over the classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.data.committed import stratified

pytestmark = pytest.mark.tiny


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_class_gives_the_same_share_of_itself_rounded(sizes, part, seed):
    """One q serves all: class c gives q n_c, rounded to the nearest."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    count = round(part * len(labels))
    chosen = stratified(labels, rng.random(len(labels)), count)
    assert len(chosen) == count
    assert np.all(np.diff(chosen) > 0)
    given_by = np.bincount(labels[chosen], minlength=len(sizes))
    n = np.array(sizes)
    assert np.max((given_by - 0.5) / n) <= np.min((given_by + 0.5) / n) + 1e-12


def test_the_examples_of_a_class_are_those_of_the_smallest_lots():
    labels, lots = np.array([0, 1, 0, 1, 0, 1]), np.array([0.9, 0.1, 0.2, 0.8, 0.5, 0.3])
    assert stratified(labels, lots, 2).tolist() == [1, 2]
    assert stratified(labels, lots, 4).tolist() == [1, 2, 4, 5]
