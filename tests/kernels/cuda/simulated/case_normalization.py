"""Norms, thread after thread: bundles that are kept and those that are not, parts, rows."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from refgen import ops
from refgen_kernels import overlay
from refgen_kernels.device import moments
from refgen_kernels.device import normalization as page
from refgen_kernels.numba_cuda import batch_norm, build, fused, normalization
from tests.kernels.judging import assert_as_accurate
from tests.kernels.test_numba_normalization import call

MODULES = (fused, normalization, batch_norm)
OPS = {name: getattr(m, name) for m in MODULES for name in dir(m) if name in vars(ops)}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))


@contextmanager
def small(room=48 << 10, beyond=1000, threads=4, **constants):
    """Make blocks small, with so much shared memory; beyond=0 cuts examples into parts."""
    before = {m: dict(vars(m)) for m in (moments, page, build)}
    vars(moments).update({"LEAST": threads, "THREADS": threads, "BEYOND": beyond, **constants})
    page.ROWS, page.SHARES, build.PLAIN = 2 * threads, 2, moments.STATIC + room
    try:
        yield
    finally:
        for module, names in before.items():
            vars(module).update(names)


def judge(name, n, space, groups, width, offset=0.0):
    """Judge an op and its backward."""
    inputs, static = call(name, n, space, groups, width, offset=offset)
    assert_as_accurate(name, inputs, static, table=TABLE)


def case_bundles_that_are_kept(table):
    """Take some groups in a block, one after another."""
    with small():
        judge("group_norm_silu", 1, (3,), 3, 4)
        judge("group_norm", 2, (5,), 1, 5, offset=30.0)


def case_bundles_that_are_kept_in_part(table):
    """Read the rest again."""
    with small(room=60):
        sizes = moments.Sizes(2, 5, 6, 2)
        assert moments.bundles(fused.CU, sizes, arrays=1, room=4, most=1024).held == 1
        judge("group_norm_silu", 2, (5,), 2, 3)
    with small(room=360):
        assert moments.bundles(fused.CU, sizes, arrays=2, room=32, most=512).held == 2
        judge("group_norm_film_silu", 2, (5,), 2, 3)
        judge("group_norm", 1, (7,), 1, 4)


def case_parts(table):
    """Launch three times, over parts that are cut unevenly."""
    with small(beyond=0, LONG=2, LOADS=1):
        judge("group_norm_film_silu", 1, (5,), 2, 3)
        judge("group_norm", 1, (3,), 2, 4)
        judge("batch_norm", 3, (3,), 1, 5, offset=30.0)


def case_rows(table):
    """Take rows in turns, by teams of threads."""
    with small():
        judge("layer_norm", 5, (1,), 1, 3, offset=30.0)
        judge("layer_norm", 2, (1,), 1, 17)


def case_shares_are_added_in_runs(table):
    """Add two examples at a time."""
    with small(RUN=2):
        judge("group_norm", 3, (2,), 1, 5)


def case_nan_comes_out(table):
    """See it in its own group alone."""
    inputs, static = call("group_norm_silu", 2, (3,), 2, 3)
    inputs["x"][1, 2, 4] = np.nan
    with small():
        y, cache = TABLE.group_norm_silu_forward(**inputs, **static)
        dx, dgamma, _ = TABLE.group_norm_silu_backward(np.ones_like(y), cache)
    expected = np.zeros(y.shape, bool)
    expected[1, :, 3:] = True
    np.testing.assert_array_equal(np.isnan(y), expected)
    np.testing.assert_array_equal(np.isnan(dx), expected)
    np.testing.assert_array_equal(np.isnan(dgamma), expected[1, 0])
