"""Norms on vectors: as accurate as the page where means are large and groups nearly constant."""

import json
import platform
import re
import types

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import ops
from refgen.ops.catalog import CATALOG
from refgen_kernels import numba_cpu
from refgen_kernels.numba_cpu import build, fused, normalization, writing
from tests.kernels import judging
from tests.kernels.judging import TABLE, assert_as_accurate, run, same_bits
from tests.kernels.test_numba_cpu_build import ABLE
from tests.kernels.test_numba_cpu_build import run as run_script

PAGES = ("normalization", "batch_norm", "fused")
ROWS = {op.name: op for op in CATALOG if op.page in PAGES and op.twin}
GROUPED = ("group_norm", "group_norm_silu", "group_norm_film_silu")
each_op = pytest.mark.parametrize("name", ROWS)
each_fused = pytest.mark.parametrize("name", GROUPED[1:])

batches = st.sampled_from([0, 1, 2, 3])
spaces = st.sampled_from([(1,), (2,), (7,), (4, 4), (5, 3), (13, 9), (2, 3, 4)])
grouping = st.sampled_from([1, 2, 3, 8])
widths = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 32, 130])  # channels of one group
offsets = st.sampled_from([0.0, 30.0, 1000.0, -1000.0])
spreads = st.sampled_from([1.0, 1e-3, 0.0])  # the last two: variance below eps, and none
seeds = st.integers(0, 2**31)


def call(name, n, space, groups, width, *, offset=0.0, spread=1.0, seed=0):
    """Return the inputs and the static keywords of a call."""
    op, dims = ROWS[name], {"N": n, "S": space, "C": groups * width, "G": groups}
    rng = np.random.default_rng(seed)
    inputs = {k: a.astype(np.float32) for k, a in op.arrays(dims, rng).items()}
    inputs["x"] = (offset + spread * inputs["x"]).astype(np.float32)
    return inputs, op.keywords(dims)


def kept(cache):
    """Return the arrays of a cache, those of its parts included."""
    found = []
    for part in cache:
        found += kept(part) if isinstance(part, tuple) else [part]
    return [a for a in found if isinstance(a, np.ndarray)]


def test_every_norm_that_is_worth_a_kernel_is_tested_here():
    assert {*GROUPED, "layer_norm", "batch_norm"} == set(ROWS)


# Accuracy.


@each_op
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    n=batches,
    space=spaces,
    groups=grouping,
    width=widths,
    offset=offsets,
    spread=spreads,
    seed=seeds,
)
def test_a_norm_is_as_accurate_as_the_page(name, n, space, groups, width, offset, spread, seed):
    if name == "batch_norm":
        n += 3  # as in the catalogue: fewer numbers have no variance
    while (offset or spread < 1) and groups * width < 16:
        groups *= 3  # where errors are large, the page may be right by luck in a few numbers
    inputs, static = call(name, n, space, groups, width, offset=offset, spread=spread, seed=seed)
    assert_as_accurate(name, inputs, static)


@each_op
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_large_batch_is_as_accurate_as_the_page(name, offset):
    for space, groups, width in (((32, 32), 8, 8), ((9, 7), 3, 37), ((2,), 1, 1023)):
        inputs, static = call(name, 20, space, groups, width, offset=offset)
        assert_as_accurate(name, inputs, static)


@each_op
@settings(max_examples=20, deadline=None, derandomize=True)
@given(offset=offsets, spread=spreads, width=widths, seed=seeds)
def test_what_is_kept_is_as_accurate_as_what_the_page_keeps(name, offset, spread, width, seed):
    inputs, static = call(name, 3, (5, 3), 2, width, offset=offset, spread=spread, seed=seed)
    wide = {k: a.astype(np.float64) for k, a in inputs.items()}
    gold, page, twin = (
        getattr(table, f"{name}_forward")(**given_, **static)[-1]
        for table, given_ in ((ops, wide), (ops, inputs), (TABLE, inputs))
    )
    assert type(twin) is type(page)
    for g, p, t in zip(*map(kept, (gold, page, twin)), strict=True):
        assert (t.shape, t.dtype) == (p.shape, p.dtype)
        floor = 8 * judging.EPS * max(1.0, float(np.abs(g).max()))
        assert np.abs(t - g).max() <= 4 * np.abs(p - g).max() + floor


@each_fused
def test_the_mean_is_taken_off_before_anything_is_multiplied(name, monkeypatch):
    """Folded into the shift, it leaves rounding errors of a constant group: the test sees them."""
    inputs, static = call(name, 2, (4, 4), 2, 8, offset=1000.0, spread=0.0)

    def folded(x, gain, lift, groups, eps):
        _, mean, rstd = honest(x, gain, lift, groups, eps)
        m, r = (np.repeat(a, 8, axis=1)[:, None, None] for a in (mean, rstd))
        g, b = gain[:, None, None] * r, lift[:, None, None]
        h = x * g + (b - g * m)
        return h / (1 + np.exp(-h)), mean, rstd

    honest = fused._normalized
    assert_as_accurate(name, inputs, static)
    monkeypatch.setattr(fused, "_normalized", folded)
    with pytest.raises(AssertionError, match="y0"):
        assert_as_accurate(name, inputs, static)


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("term", ["level", "stretch"])
def test_little_of_what_should_be_taken_out_of_a_gradient_is_seen(name, term, monkeypatch):
    """P takes two directions out of dx, the mean and x̂: a ten-thousandth of either is too much."""
    inputs, static = call(name, 2, (5, 3), 2, 8, offset=3.0)
    backward = getattr(TABLE, f"{name}_backward")
    direction = np.ones_like(inputs["x"])
    if term == "stretch":
        direction = ops.group_norm_forward(
            inputs["x"], *(f(16).astype(np.float32) for f in (np.ones, np.zeros)), **static
        )[0]

    def with_a_rest(dy, cache):
        dx, *rest = backward(dy, cache)
        return dx + 1e-4 * direction, *rest

    table = types.SimpleNamespace(**vars(TABLE))
    setattr(table, f"{name}_backward", with_a_rest)
    monkeypatch.setattr(judging, "TABLE", table)
    with pytest.raises(AssertionError, match="gradient 0"):
        assert_as_accurate(name, inputs, static)


# What the kernels do, whoever runs them.


@each_op
def test_the_number_of_threads_changes_no_bit(name):
    inputs, static = call(name, 5, (13, 9), 3, 24, offset=30.0)
    before, results = numba.get_num_threads(), []
    if before < 2:
        pytest.skip("one thread only")
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(run(TABLE, name, inputs, static, np.float32))
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(results[0][what], results[1][what]) for what in results[0])


@each_op
@pytest.mark.parametrize("channels", [40, 64])
def test_results_beyond_the_caches_are_the_same(name, channels, monkeypatch):
    inputs, static = call(name, 4, (32, 33), 8, channels // 8)
    near = run(TABLE, name, inputs, static, np.float32)
    monkeypatch.setattr(writing, "CACHES", 0)
    past = run(TABLE, name, inputs, static, np.float32)
    assert all(same_bits(near[what], past[what]) for what in near)


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
def test_gradients_of_any_layout_are_read(name):
    inputs, static = call(name, 4, (5,), 2, 10)
    *ys, cache = getattr(TABLE, f"{name}_forward")(**inputs, **static)
    flipped = [np.asfortranarray(y) for y in ys]
    backward = getattr(TABLE, f"{name}_backward")
    pairs = zip(backward(*ys, cache), backward(*flipped, cache), strict=True)
    assert all(same_bits(a, b) for a, b in pairs)


@each_op
def test_float64_goes_to_the_page(name):
    inputs, static = call(name, 3, (5,), 2, 8)
    twin, page = (run(table, name, inputs, static, np.float64) for table in (TABLE, ops))
    assert all(same_bits(twin[what], page[what]) for what in page)


@each_op
def test_what_the_page_refuses_the_twin_refuses(name):
    inputs, static = call(name, 2, (5,), 2, 3)
    forward = getattr(numba_cpu, f"{name}_forward")
    with pytest.raises(ValueError, match="gamma is one number for each channel"):
        forward(**{**inputs, "gamma": inputs["gamma"][:1]}, **static)
    if static:
        with pytest.raises(ValueError, match="multiple of 4"):
            forward(**inputs, groups=4)
    if "scale" in inputs:
        with pytest.raises(ValueError, match="scale is one number for each example"):
            forward(**{**inputs, "scale": inputs["scale"][:, :1]}, **static)


@each_fused
@pytest.mark.parametrize("table", [ops, numba_cpu], ids=["page", "twin"])
def test_a_fused_norm_keeps_nothing_as_large_as_x_but_x(name, table):
    inputs, static = call(name, 2, (16, 16), 2, 8)
    _, cache = getattr(table, f"{name}_forward")(**inputs, **static)
    assert cache.x is inputs["x"]
    assert sum(a.size for a in kept(cache)) < 1.1 * cache.x.size


def test_tangents_take_the_cache_of_the_twin():
    inputs, static = call("group_norm_silu", 2, (4, 4), 2, 8)
    moved = {what: a[::-1].copy() for what, a in inputs.items()}
    by_page, by_twin = (
        ops.group_norm_silu_tangent(
            *moved.values(), t.group_norm_silu_forward(**inputs, **static)[1]
        )
        for t in (ops, numba_cpu)
    )
    np.testing.assert_allclose(by_twin, by_page, rtol=1e-5, atol=1e-5)


def test_infinite_activations_are_infinite():
    """X silu'(x) has a limit on either side; nothing overflows on the way."""
    x = np.array([[[-1.0], [1.0]]], np.float32)
    gamma, beta = np.full(1, 1e30, np.float32), np.zeros(1, np.float32)
    y, cache = numba_cpu.group_norm_silu_forward(x, gamma, beta, groups=1)
    np.testing.assert_allclose(y[0, :, 0], [0, 1e30], rtol=1e-4, atol=1e25)
    assert np.isfinite(numba_cpu.group_norm_silu_backward(np.ones_like(x), cache)[0]).all()


def test_an_example_is_the_same_in_any_batch():
    """Alone it is done by the serial kernel, with others by the parallel one."""
    for name in (*GROUPED, "layer_norm"):
        inputs, static = call(name, 4, (20, 20), 2, 12)
        alone = {k: a[2:3] if len(a) == 4 else a for k, a in inputs.items()}
        assert alone["x"].size < build.SERIAL < inputs["x"].size
        forward = getattr(numba_cpu, f"{name}_forward")
        together, single = (forward(**given_, **static)[0] for given_ in (inputs, alone))
        assert same_bits(together[2:3], single), name


def test_parts_of_a_layer_norm_cover_every_row():
    for rows in (1, 63, 64, 65, 200):
        inputs, _ = call("layer_norm", rows, (1,), 1, 5)
        assert rows <= normalization.PARTS or rows % normalization.PARTS
        assert_as_accurate("layer_norm", inputs, {})


# On every kind of CPU.

SCRIPT = """
import json
from refgen_kernels.numba_cpu import build, fused
from tests.kernels.judging import assert_as_accurate
from tests.kernels.test_numba_normalization import ROWS, call

for name in ROWS:
    for offset, spread, width in ((0, 1, 8), (1000, 1, 9), (1000, 1e-3, 16)):
        inputs, static = call(name, 4, (7, 5), 4, width, offset=offset, spread=spread)
        assert_as_accurate(name, inputs, static)
kernels = {"forward": fused._forward, "backward": fused._backward}
code = {name: "".join(k.serial.inspect_asm().values()) for name, k in kernels.items()}
print(json.dumps({"target": build.TARGET, "code": code}))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 registers")
@pytest.mark.parametrize("target", ABLE)
def test_every_kind_of_cpu_is_as_accurate_and_computes_in_its_widest_registers(target, tmp_path):
    done = run_script(SCRIPT, tmp_path, REFGEN_TARGET=target)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["target"] == target
    for name, code in found["code"].items():
        product = "mulps" if target == "plain" else r"fmadd\d+ps"
        assert re.search(rf"\bv?{product}\s.*%{build.LANES[target]}", code), name
        assert not re.search(r"\b(?:expf?|fmaf?)\b@?", code), f"{name} calls a library"
