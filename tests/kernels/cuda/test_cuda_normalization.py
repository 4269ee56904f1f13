"""Norms on the device: bundles kept whole or in part, parts, rows, whoever runs first."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen_kernels import overlay
from refgen_kernels.cupy_cuda import batch_norm, fused, normalization
from refgen_kernels.device import moments, use
from refgen_kernels.device import normalization as page
from refgen_kernels.device.machine import PLAIN, Asking
from tests.duck import Duck
from tests.kernels.cuda.host import MAX_SHARED, compiler
from tests.kernels.cuda.machines import HOST, SANITIZE, Ducks, arranged, few
from tests.kernels.judging import EPS, assert_as_accurate, run, same_bits
from tests.kernels.test_numba_normalization import GROUPED, call, kept

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
MODULES = (fused, normalization, batch_norm)
OPS = {name: getattr(m, name) for m in MODULES for name in dir(m) if name in vars(ops)}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))
NAMES = (*GROUPED, "layer_norm", "batch_norm")
each_op = pytest.mark.parametrize("name", NAMES)
each_grouped = pytest.mark.parametrize("name", GROUPED)

batches = st.sampled_from([1, 2, 3])
spaces = st.sampled_from([(1,), (2,), (7,), (4, 4), (5, 3), (13, 9), (2, 3, 4), (33,)])
grouping = st.sampled_from([1, 2, 3, 8])
widths = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17, 32, 130])  # channels of one group
offsets = st.sampled_from([0.0, 30.0, 1000.0, -1000.0])
spreads = st.sampled_from([1.0, 1e-3, 0.0])  # the last two: variance below eps, and none
seeds = st.integers(0, 2**31)
orders = st.sampled_from(["forward", "reverse", "random"])
threads = st.sampled_from([8, 32, 64, 256])  # of a block, where a page may choose
only_numbers = pytest.mark.skipif(SANITIZE != "", reason="sanitizers see smaller sizes elsewhere")
WHOLE, PARTS = (MAX_SHARED, 2), (MAX_SHARED, 0)
ways = st.sampled_from([WHOLE, (1100, 10**6), (2500, 10**6), (6000, 10**6), PARTS])


@contextmanager
def done_by(block=32, way=WHOLE, order="forward", seed=0, **constants):
    """Choose sizes of blocks, their shared memory, how much larger a bundle may be, an order."""
    chosen = {"LEAST": block, "THREADS": block, "BEYOND": way[1]} | constants
    before = {name: getattr(moments, name) for name in chosen}
    HOST.shared = way[0]
    vars(moments).update(chosen)
    try:
        with arranged(block, order, seed):
            yield
    finally:
        vars(moments).update(before)
        del HOST.shared


@contextmanager
def launches(of):
    """Collect the names of the kernels of a module that are started."""
    names, launch = [], of.CU.launch

    def spy(name, *args, **kwargs):
        names.append(name)
        launch(name, *args, **kwargs)

    of.CU.launch = spy
    try:
        yield names
    finally:
        del of.CU.launch


# Accuracy.


@each_op
@settings(max_examples=few(150), deadline=None, derandomize=True)
@given(
    n=batches,
    space=spaces,
    groups=grouping,
    width=widths,
    offset=offsets,
    spread=spreads,
    block=threads,
    way=ways,
    order=orders,
    seed=seeds,
)
def test_a_norm_is_as_accurate_as_the_page(
    name, n, space, groups, width, offset, spread, block, way, order, seed
):
    if name == "batch_norm":
        n += 3  # as in the catalogue: fewer numbers have no variance
    while (offset or spread < 1) and groups * width < 16:
        groups *= 3  # where errors are large, the page may be right by luck in a few numbers
    inputs, static = call(name, n, space, groups, width, offset=offset, spread=spread, seed=seed)
    with done_by(block, way, order, seed):
        assert_as_accurate(name, inputs, static, table=TABLE)


@each_op
@only_numbers
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_large_batch_is_as_accurate_as_the_page(name, offset):
    for n, space, groups, width in ((2, (32, 32), 2, 16), (1, (70, 60), 2, 32), (5, (2,), 1, 1023)):
        inputs, static = call(name, n, space, groups, width, offset=offset)
        assert_as_accurate(name, inputs, static, table=TABLE)


@each_grouped
@pytest.mark.parametrize("way", [WHOLE, (2500, 10**6), PARTS], ids=["whole", "some", "parts"])
def test_a_group_may_have_more_columns_than_there_are_threads(name, way):
    for width in (300, 1028):
        inputs, static = call(name, 1, (2,), 1, width)
        with done_by(8, way):
            assert_as_accurate(name, inputs, static, table=TABLE)


@pytest.mark.parametrize("channels", [1024, 2052, 2050, 8192, 8200, 16400])
def test_a_row_may_be_longer_than_what_threads_keep(channels):
    inputs, _ = call("layer_norm", 3, (1,), 1, channels, offset=30)
    assert_as_accurate("layer_norm", inputs, {}, table=TABLE)


@pytest.mark.parametrize("channels", [3, 8, 70, 300])
def test_rows_are_taken_in_turns(channels, monkeypatch):
    monkeypatch.setattr(page, "SHARES", 3)
    inputs, _ = call("layer_norm", 130, (1,), 1, channels)
    assert_as_accurate("layer_norm", inputs, {}, table=TABLE)


@each_op
def test_many_examples_are_added_up_in_runs(name):
    inputs, static = call(name, 23, (2,), 2, 5)
    for way in (WHOLE, PARTS):
        with done_by(way=way, RUN=3):
            assert_as_accurate(name, inputs, static, table=TABLE)


@each_op
@settings(max_examples=few(20), deadline=None, derandomize=True)
@given(offset=offsets, spread=spreads, width=widths, way=ways, seed=seeds)
def test_what_is_kept_is_as_accurate_as_what_the_page_keeps(name, offset, spread, width, way, seed):
    inputs, static = call(name, 3, (5, 3), 2, width, offset=offset, spread=spread, seed=seed)
    wide = {k: a.astype(np.float64) for k, a in inputs.items()}
    with done_by(way=way):
        gold, page_, twin = (
            getattr(table, f"{name}_forward")(**given_, **static)[-1]
            for table, given_ in ((ops, wide), (ops, inputs), (TABLE, inputs))
        )
    assert type(twin) is type(page_)
    for g, p, t in zip(*map(kept, (gold, page_, twin)), strict=True):
        assert (t.shape, t.dtype) == (p.shape, p.dtype)
        floor = 8 * EPS * max(1.0, float(np.abs(g).max()))
        assert np.abs(t - g).max() <= 4 * np.abs(p - g).max() + floor


# Who does what.


def test_a_norm_with_a_large_mean_and_few_digits_left_loses_none():
    """Where the page is far off: x - c is exact, so what is left is a norm of small numbers."""
    x = np.random.default_rng(0).integers(-8, 9, (2, 64, 16)).astype("f") / 2**10
    far, ones, zeros = x + np.float32(2**13), np.ones(16, "f"), np.zeros(16, "f")
    for way in (WHOLE, (2500, 10**6), PARTS):
        with done_by(way=way):
            near_y, far_y = (
                TABLE.group_norm_forward(a, ones, zeros, groups=2)[0] for a in (x, far)
            )
        np.testing.assert_allclose(far_y, near_y, atol=2e-5)


@each_grouped
def test_a_bundle_is_one_launch_and_parts_are_three(name):
    inputs, static = call(name, 2, (9, 9), 2, 8)
    of = fused if "silu" in name else normalization
    for way, forward, backward in ((WHOLE, 1, 1), ((2500, 10**6), 1, 1), (PARTS, 3, 3)):
        with done_by(way=way), launches(of) as names:
            y, cache = getattr(TABLE, f"{name}_forward")(**inputs, **static)
            assert len(names) == forward
            getattr(TABLE, f"{name}_backward")(y, cache)
        assert len(names) == forward + backward + 1  # and what examples have is added


def test_bundles_fill_sectors_and_keep_what_fits():
    def way(room, *sizes, arrays=1):
        cu = SimpleNamespace(room=lambda: room)
        return moments.bundles(cu, moments.Sizes(*sizes), arrays=arrays, room=4, most=1024)

    ample = way(MAX_SHARED, 64, 1024, 128, 32)  # groups of four channels: four make 64 bytes
    assert (ample.groups, ample.held, ample.blocks, ample.threads) == (4, 1024, 64 * 8, 512)
    assert 2 * (ample.shared + 1024) < MAX_SHARED  # two blocks at a time, or three
    twice = way(MAX_SHARED, 64, 1024, 128, 32, arrays=2)
    assert (twice.groups, twice.held) == (2, 1024)  # 32 bytes, so two blocks at a time remain
    short = way(64 << 10, 64, 1024, 128, 8)  # sm_75 has 64 KB: 960 rows stay and 64 are read again
    assert 900 < short.held < 1024
    assert short.shared + moments.STATIC <= 64 << 10
    assert way(64 << 10, 64, 4096, 128, 8) is None
    assert way(MAX_SHARED, 65536, 1, 256, 8).groups == 8  # small ones: some at a time


def test_parts_of_an_example_do_not_depend_on_its_batch():
    for places in (1, 15, 16, 17, 1000, 65536, 10**8):
        for channels in (1, 3, 64, 513, 4096):
            one = moments.parts_of(moments.Sizes(1, places, channels, 1))
            assert one == moments.parts_of(moments.Sizes(99, places, channels, 1))
            assert (one.each - 1) * one.rows < places <= one.each * one.rows
            assert one.each <= moments.BUSY


@each_op
@only_numbers
@pytest.mark.parametrize("way", [WHOLE, (2500, 10**6), PARTS], ids=["whole", "some", "parts"])
def test_bits_depend_on_no_order(name, way):
    inputs, static = call(name, 3, (13, 9), 3, 8, offset=30.0)
    found = []
    for order, seed in (("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)):
        with done_by(way=way, order=order, seed=seed):
            found.append(run(TABLE, name, inputs, static, np.float32))
    assert all(same_bits(found[0][what], other[what]) for other in found for what in found[0])


@pytest.mark.parametrize("name", [*GROUPED, "layer_norm"])
@pytest.mark.parametrize("way", [WHOLE, (2500, 10**6), PARTS], ids=["whole", "some", "parts"])
def test_an_example_is_the_same_in_any_batch(name, way):
    inputs, static = call(name, 4, (9, 8), 2, 12)
    alone = {k: a[2:3] if len(a) == 4 else a for k, a in inputs.items()}
    with done_by(way=way):
        forward, backward = (getattr(TABLE, f"{name}_{kind}") for kind in ("forward", "backward"))
        found = []
        for given_ in (inputs, alone):
            y, cache = forward(**given_, **static)
            found.append((y, backward(given_["x"] + y, cache)[0]))
    for together, own in zip(*found, strict=True):
        assert same_bits(together[2:3], own)


@each_op
@pytest.mark.parametrize("way", [WHOLE, PARTS], ids=["whole", "parts"])
def test_nan_stays_in_its_group_and_is_not_swallowed(name, way):
    inputs, static = call(name, 3, (5, 3), 2, 8)
    for bad in (np.nan, np.inf):
        inputs["x"][1, 2, 1, 3] = bad
        with done_by(way=way), np.errstate(invalid="ignore"):
            y, *_, cache = getattr(TABLE, f"{name}_forward")(**inputs, **static)
            expected = np.isnan(getattr(ops, f"{name}_forward")(**inputs, **static)[0])
            np.testing.assert_array_equal(np.isnan(y), expected)
            assert expected.any()
            assert not expected.all()
            given_ = (np.ones_like(y), *(np.ones(16, "f"),) * (2 if name == "batch_norm" else 0))
            dx, dgamma, *_ = getattr(TABLE, f"{name}_backward")(*given_, cache)
        np.testing.assert_array_equal(np.isnan(dx), expected)
        assert np.isnan(dgamma).any()


@each_op
@pytest.mark.parametrize("way", [WHOLE, PARTS], ids=["whole", "parts"])
def test_no_variance_and_no_eps_give_what_the_page_gives(name, way):
    inputs, static = call(name, 3, (5, 3), 2, 8)
    inputs["x"][1] = 0.0  # of some groups, and of no channel of the batch
    inputs["x"][..., 3] = 0.0 if name == "batch_norm" else inputs["x"][..., 3]
    with done_by(way=way), np.errstate(all="ignore"):
        found, page_ = (
            getattr(table, f"{name}_forward")(**inputs, **static, eps=0.0) for table in (TABLE, ops)
        )
    assert np.isnan(page_[0]).any()
    for one, other in zip((found[0], *kept(found[-1])), (page_[0], *kept(page_[-1])), strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))


# What arrays are taken.


@each_op
def test_a_norm_reads_any_layout_and_writes_to_no_input(name):
    inputs, static = call(name, 6, (5,), 2, 10)
    odd = {}
    for what, a in inputs.items():
        wide = np.zeros((2 * a.shape[0], *a.shape[1:]), np.float32)
        wide[::2] = a
        odd[what] = wide[::2]
        odd[what].setflags(write=False)
    plain, strided = (run(TABLE, name, given_, static, np.float32) for given_ in (inputs, odd))
    assert all(same_bits(plain[what], strided[what]) for what in plain)


@each_op
def test_what_no_kernel_is_for_goes_to_the_page(name):
    of = {"layer_norm": normalization, "batch_norm": batch_norm, "group_norm": normalization}
    inputs, static = call(name, 3, (5,), 2, 8)
    flat = {k: a[:, 0] if k == "x" else a for k, a in inputs.items()}
    empty = {k: a[:0] if len(a) == 3 else a for k, a in inputs.items()}
    with launches(of.get(name, fused)) as names:
        twin, page_ = (run(table, name, inputs, static, np.float64) for table in (TABLE, ops))
        assert all(same_bits(twin[what], page_[what]) for what in page_)
        if name != "batch_norm":  # which has no mean over nothing
            assert_as_accurate(name, empty, static, table=TABLE)
        assert names == []
        if name != "batch_norm":
            assert_as_accurate(name, flat, static, table=TABLE)  # one place only
            assert names


@each_op
def test_what_the_page_refuses_the_twin_refuses(name):
    inputs, static = call(name, 2, (5,), 2, 3)
    forward = getattr(TABLE, f"{name}_forward")
    with pytest.raises(ValueError, match="gamma is one number for each channel"):
        forward(**{**inputs, "gamma": inputs["gamma"][:1]}, **static)
    if static:
        with pytest.raises(ValueError, match="multiple of 4"):
            forward(**inputs, groups=4)
    if "scale" in inputs:
        with pytest.raises(ValueError, match="scale is one number for each example"):
            forward(**{**inputs, "scale": inputs["scale"][:, :1]}, **static)


@each_op
def test_nothing_leaves_the_device(name):
    inputs, static = call(name, 2, (5, 3), 2, 8)
    ducks = Ducks()
    with use(ducks):
        given_ = {k: Duck(a) for k, a in inputs.items()}
        *ys, cache = getattr(TABLE, f"{name}_forward")(**given_, **static)
        grads = getattr(TABLE, f"{name}_backward")(*ys, cache)
    assert (ducks.sent, ducks.brought) == (0, 0)
    assert all(isinstance(a, Duck) for a in (*ys, *grads))


# Shared memory.


def test_more_shared_memory_than_plain_is_asked_for_once():
    class Kernel:
        max_dynamic_shared_size_bytes = None

        def __init__(self):
            self.launches = []

        def __call__(self, grid, block, args, *, shared_mem=0):
            self.launches.append((shared_mem, self.max_dynamic_shared_size_bytes))

    kernel = Kernel()
    launch = Asking(SimpleNamespace(get_function=lambda name: kernel)).get_function("k")
    for size in (0, PLAIN, PLAIN + 1, 7, 100_000, 60_000):
        launch((1,), (1,), (), shared_mem=size)
    asked = [None, None, PLAIN + 1, PLAIN + 1, 100_000, 100_000]
    assert [was for _, was in kernel.launches] == asked
