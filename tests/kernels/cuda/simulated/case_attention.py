"""Attention, thread after thread, in tiles of eight."""

from contextlib import contextmanager

import numpy as np

from refgen_kernels.device import attention as calls
from refgen_kernels.numba_cuda import attention as kernels
from tests.kernels.judging import assert_as_accurate


@contextmanager
def lowered(threads):
    """Make tiles and blocks small enough for a simulator."""
    before = calls.TILE, kernels.TILE, kernels.DEPTH, dict(calls.THREADS)
    calls.TILE = kernels.TILE = 8
    kernels.DEPTH = 4
    calls.THREADS.update(dict.fromkeys(calls.THREADS, threads))
    try:
        yield
    finally:
        calls.TILE, kernels.TILE, kernels.DEPTH = before[:3]
        calls.THREADS.update(before[3])


def drawn(n, queries, keys, heads, d, e):
    """Draw q, k and v."""
    rng = np.random.default_rng(0)
    shapes = {"q": (n, queries, heads * d), "k": (n, keys, heads * d), "v": (n, keys, heads * e)}
    return {k: (3 * rng.normal(size=s)).astype("f") for k, s in shapes.items()}


def case_one_step_beyond_a_tile(table):
    """Two tiles of keys, and features beyond what is in memory at a time."""
    with lowered(4):
        assert_as_accurate("attention", drawn(1, 2, 9, 1, 5, 3), {"heads": 1}, table=table)


def case_two_heads_of_two_examples(table):
    """Heads lie side by side."""
    with lowered(4):
        assert_as_accurate("attention", drawn(2, 2, 3, 2, 1, 2), {"heads": 2}, table=table)


def case_tiles_of_queries_under_a_causal_mask(table):
    """Tile 0 of the queries sees nothing of tile 1 of the keys."""
    with lowered(3):
        inputs, mask = drawn(1, 10, 10, 1, 2, 1), np.tri(10, dtype=bool)
        assert_as_accurate("attention", inputs, {"heads": 1, "mask": mask}, table=table)


def case_nobody_asks(table):
    """Without queries, dk and dv are zeros and not what memory held."""
    with lowered(4):
        assert_as_accurate("attention", drawn(1, 0, 3, 1, 2, 2), {"heads": 1}, table=table)


def case_large_scores_and_what_is_not_a_number(table):
    """Scores of thousands do not overflow; NaN stays in its row, and a mask hides it."""
    with lowered(4):
        inputs = drawn(1, 2, 9, 1, 4, 2)
        inputs["q"][0, :, 0], inputs["k"][0, :, 0] = 4, 1000
        y, _ = table.attention_forward(**inputs, heads=1)
        assert np.isfinite(y).all()
        inputs["q"][0, 1, 2] = np.nan
        y, _ = table.attention_forward(**inputs, heads=1)
        assert np.isfinite(y[0, 0]).all()
        assert np.isnan(y[0, 1]).all()
        inputs["q"][0, 1, 2], inputs["k"][0, 8] = 0, np.nan
        assert np.isnan(table.attention_forward(**inputs, heads=1)[0]).all()
        mask = np.arange(18).reshape(2, 9) % 9 < 8
        assert np.isfinite(table.attention_forward(**inputs, mask=mask, heads=1)[0]).all()
