"""The Numba twins: the reference's bits or its accuracy, on any CPU, any number of threads."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import noise, ops
from refgen.noise import Noise
from refgen.ops.catalog import CATALOG
from refgen_kernels import available, numba_cpu, overlay, which
from refgen_kernels.numba_cpu import arrays
from tests.strategies import draw_like

STREAM = Noise(5).at("twin").stream
STARTS = (0, 1, 17, 63, 64, 4095, 2**32 - 3, 4 * 2**32 - 70, 2**40 + 5, 2**62 - 10**6 - 1)
EPS = np.finfo(np.float32).eps

EXACT = ("noising", "step", "solver", "adam")  # pages without transcendental functions and sums
PAGES = (*EXACT, "gaussian", "likelihood", "coupling")  # whose shapes are made of N, S and D
hot_ops = [op for op in CATALOG if op.page in PAGES and op.forward in numba_cpu.__all__]
each_hot_op = pytest.mark.parametrize("op", hot_ops, ids=lambda op: op.name)
LOGARITHMS = ("logvar", "log_scale")  # an offset of 1000 would only overflow
exact_ops = [op for op in hot_ops if op.page in EXACT]
each_exact_op = pytest.mark.parametrize("op", exact_ops, ids=lambda op: op.name)

samples = st.sampled_from([0, 1, 2, 5, 70])
entries = st.sampled_from([0, 1, 2, 15, 16, 17, 63, 64, 65, 255, 784, 4097])
offsets = st.sampled_from([0.0, 1.0, 30.0, 1000.0])
starts = st.one_of(st.sampled_from(STARTS[:-1]), st.integers(0, 2**50))
seeds = st.integers(0, 2**32 - 1)
logs = st.sampled_from([None, -30.0, 30.0])  # None: whatever the catalogue draws


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


# Bits of the noise.


@pytest.mark.tiny
@pytest.mark.parametrize("start", STARTS)
def test_normals_have_the_bits_of_the_reference(start):
    for count in (0, 1, 2, 63, 64, 65, 1000):
        twin, page = numba_cpu.normals(STREAM, start, count), ops.normals(STREAM, start, count)
        assert same_bits(twin, page)


@pytest.mark.parametrize("start", [0, 2**40 + 5])
def test_a_million_normals_have_the_bits_of_the_reference(start):
    twin, page = numba_cpu.normals(STREAM, start, 10**6), ops.normals(STREAM, start, 10**6)
    assert same_bits(twin, page)


@pytest.mark.slow
def test_a_hundred_million_normals_have_the_bits_of_the_reference():
    piece = 10**6 + 7
    for start in range(2**31 - 3, 2**31 - 3 + 10**8, piece):
        page = ops.normals(STREAM, start, piece)
        assert same_bits(numba_cpu.normals(STREAM, start, piece), page), start


@given(start=starts, count=st.integers(0, 40_000), seed=seeds)
def test_every_slice_of_the_noise_is_the_slice_of_the_whole(start, count, seed):
    stream = Noise(seed).at("slice", seed).stream
    twin = numba_cpu.normals(stream, start, count)
    cut = count // 3
    assert same_bits(twin[:cut], numba_cpu.normals(stream, start, cut))
    assert same_bits(twin[cut:], ops.normals(stream, start + cut, count - cut))


def test_draws_beyond_the_kernels_reach_come_from_the_page():
    assert same_bits(numba_cpu.normals(STREAM, 2**63, 100), ops.normals(STREAM, 2**63, 100))


# Accuracy.


def draw_call(op, n, d, offset, seed):
    rng = np.random.default_rng(seed)
    drawn = op.arrays({"N": n, "S": (d,), "D": d}, rng)
    return {
        name: (a + (0 if name in op.draw or name in LOGARITHMS else offset)).astype(np.float32)
        for name, a in drawn.items()
    }, rng


def outputs(table, op, given_arrays, static, dtype, seed):
    """Return everything op computes, caches included, and what its backward makes of it."""
    inputs = {name: a.astype(dtype) for name, a in given_arrays.items()}
    result = getattr(table, op.forward)(**inputs, **static)
    if not op.wrt:
        return list(result)
    *ys, cache = result
    rng = np.random.default_rng(seed)
    dys = [draw_like(rng, y).astype(np.float32).astype(dtype) for y in ys]
    grads = getattr(table, f"{op.name}_backward")(*dys, cache)
    kept = [c for c in cache if isinstance(c, np.ndarray)]
    return [*ys, *kept, *(grads if isinstance(grads, tuple) else (grads,))]


@each_hot_op
@settings(max_examples=60)
@given(n=samples, d=entries, offset=offsets, log=logs, seed=seeds)
def test_a_twin_is_as_accurate_as_the_reference(op, n, d, offset, log, seed):
    """Judge both float32 results by the float64 one; a twin may err four times as much."""
    call, _ = draw_call(op, n, d, offset, seed)
    for name in call.keys() & LOGARITHMS if log is not None else ():
        call[name] = np.full_like(call[name], log)  # a variance next to none, or huge
    table = overlay(numba_cpu)
    gold = outputs(ops, op, call, op.keywords({}), np.float64, seed)
    page = outputs(ops, op, call, op.keywords({}), np.float32, seed)
    twin = outputs(table, op, call, op.keywords({}), np.float32, seed)
    for g, p, t in zip(gold, page, twin, strict=True):
        assert (t.shape, t.dtype) == (p.shape, p.dtype)
        floor = 8 * EPS * max(1.0, np.abs(g).max(initial=0.0))
        error, allowed = (np.abs(a - g).max(initial=0.0) for a in (t, p))
        assert error <= 4 * allowed + floor


@each_exact_op
@given(n=samples, d=entries, offset=offsets, seed=seeds)
def test_twins_without_transcendental_functions_have_the_bits_of_the_page(op, n, d, offset, seed):
    call, _ = draw_call(op, n, d, offset, seed)
    twin = getattr(numba_cpu, op.forward)(**call, **op.keywords({}))
    page = getattr(ops, op.forward)(**call, **op.keywords({}))
    last = None if not op.wrt else -1
    assert all(same_bits(t, p) for t, p in zip(twin[:last], page[:last], strict=True))


DDPM = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2}
ANSWERS = ("x", "noise_hat", "noise_hat_null")
DRAWN = {
    "noising_drawn": (("data", "a", "b"), {}),
    "reparameterize_kl_drawn": (("mu", "logvar"), {}),
    "ddpm_step_drawn": (ANSWERS[:2], DDPM),
    "ddim_step_drawn": (ANSWERS[:2], DDIM),
    "guided_ddpm_step_drawn": (ANSWERS, {"guidance": 2.5, **DDPM}),
    "guided_ddim_step_drawn": (ANSWERS, {"guidance": 2.5, **DDIM}),
    "langevin_step_drawn": (("x", "score"), {"step": 0.1}),
}


def test_every_op_that_draws_is_tested_here():
    assert {name for name in numba_cpu.__all__ if name.endswith("_drawn")} == DRAWN.keys()


def draw_inputs(names, n, d, seed):
    rng = np.random.default_rng(seed)
    shapes = {"a": (n,), "b": (n,)}
    return [rng.normal(size=shapes.get(name, (n, d))).astype(np.float32) for name in names]


@pytest.mark.parametrize("name", DRAWN)
@given(n=samples, d=entries, start=starts, seed=seeds)
def test_drawing_inside_is_drawing_outside(name, n, d, start, seed):
    """`<op>_drawn` is `<op>_forward` on the same normals, wherever samples and blocks begin."""
    names, static = DRAWN[name]
    inputs = draw_inputs(names, n, d, seed)
    drawn = getattr(numba_cpu, name)(*inputs, STREAM, start, **static)
    z = ops.normals(STREAM, start, n * d).reshape(n, d)
    if name == "noising_drawn":
        assert same_bits(drawn[1], z)
        assert same_bits(drawn[0], ops.noising_forward(inputs[0], z, *inputs[1:])[0])
    elif name == "reparameterize_kl_drawn":
        forward = numba_cpu.reparameterize_kl_forward(*inputs, z)
        pairs = zip((*drawn[:2], *drawn[2]), (*forward[:2], *forward[2]), strict=True)
        assert all(same_bits(a, b) for a, b in pairs)
    else:
        forward = getattr(ops, name.replace("drawn", "forward"))
        assert same_bits(drawn, forward(*inputs, z, **static)[0])


def test_at_sigma_zero_a_step_adds_nothing():
    x, noise_hat = draw_inputs(("x", "noise_hat"), 3, 100, 0)
    static = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.0}
    twin = numba_cpu.ddpm_step_drawn(x, noise_hat, STREAM, **static)
    np.testing.assert_array_equal(twin, ops.ddpm_step_drawn(x, noise_hat, STREAM, **static))


@pytest.mark.tiny
def test_the_exponential_is_right_to_two_units_in_the_last_place():
    logvar = np.linspace(-210, 180, 2_000_003, dtype=np.float32)[None]
    zero = np.zeros_like(logvar)
    _, cache = numba_cpu.reparameterize_forward(zero, logvar, zero)
    exact = np.exp(0.5 * logvar.astype(np.float64))
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    finite = np.isfinite(nearest)
    assert (np.isinf(cache.std) == ~finite).all()
    error = np.abs(cache.std[finite] - exact[finite]) / np.spacing(nearest[finite])
    assert error.max() < 2


def test_the_exponential_keeps_what_is_not_a_number():
    logvar = np.array([[np.nan, np.inf, -np.inf, 0.0]], np.float32)
    zero = np.zeros_like(logvar)
    with np.errstate(invalid="ignore"):
        _, cache = numba_cpu.reparameterize_forward(zero, logvar, zero)
    np.testing.assert_array_equal(cache.std, [[np.nan, np.inf, 0.0, 1.0]])


def test_the_price_of_the_prior_is_exactly_zero():
    mu = np.zeros((3, 77), np.float32)
    _, kl, _ = numba_cpu.reparameterize_kl_drawn(mu, mu, STREAM)
    np.testing.assert_array_equal(kl, 0.0)


# Threads, and what callers hand in.


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_the_number_of_threads_changes_no_bit():
    mu, logvar = draw_inputs(("mu", "logvar"), 37, 5003, 1)
    before, results = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            z, kl, cache = numba_cpu.reparameterize_kl_drawn(mu, logvar, STREAM, 3)
            results.append((z, kl, *cache, numba_cpu.normals(STREAM, 5, 300_001)))
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(x, y) for x, y in zip(*results, strict=True))


@each_hot_op
def test_a_twin_reads_any_layout_and_writes_to_no_input(op):
    call, _ = draw_call(op, 6, 20, 0.0, 0)
    odd = {}
    for name, a in call.items():
        wide = np.zeros((2 * a.shape[0], *a.shape[1:]), np.float32)
        wide[::2] = a
        odd[name] = wide[::2]
        odd[name].setflags(write=False)
    plain = getattr(numba_cpu, op.forward)(**call, **op.keywords({}))
    strided = getattr(numba_cpu, op.forward)(**odd, **op.keywords({}))
    last = None if not op.wrt else -1
    assert all(same_bits(x, y) for x, y in zip(plain[:last], strided[:last], strict=True))


@each_hot_op
def test_float64_goes_to_the_page(op):
    call, _ = draw_call(op, 3, 20, 0.0, 0)
    wide = {name: a.astype(np.float64) for name, a in call.items()}
    twin = getattr(numba_cpu, op.forward)(**wide, **op.keywords({}))
    page = getattr(ops, op.forward)(**wide, **op.keywords({}))
    last = None if not op.wrt else -1
    assert all(same_bits(x, y) for x, y in zip(twin[:last], page[:last], strict=True))


def test_what_the_page_refuses_the_twin_refuses():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="sigma"):
        numba_cpu.ddim_step_drawn(x, x, STREAM, alpha_bar=0.4, alpha_bar_next=0.9, sigma=0.9)
    with pytest.raises(ValueError, match="count from 1"):
        numba_cpu.adam_ema_step(x, x, x, x, x, step=0, lr=0.1, decay=0.9)
    with pytest.raises(ValueError, match="broadcast"):
        numba_cpu.noising_forward(x, np.zeros((2, 4), np.float32), x[:, 0], x[:, 0])


# Memory of results.


@pytest.mark.tiny
def test_memory_is_given_out_again_only_when_nobody_sees_it():
    shape = (123_457,)
    first = arrays.empty(shape)
    address, row = first.ctypes.data, first[5:9]
    assert address % arrays.ALIGNMENT == 0
    del first
    second = arrays.empty(shape)  # a view of the first is alive
    assert second.ctypes.data != address
    row[:] = 1.0
    second[:] = 2.0
    np.testing.assert_array_equal(row, 1.0)
    del row
    assert arrays.empty(shape).ctypes.data == address


@pytest.mark.tiny
def test_memory_is_not_hoarded():
    pieces = [arrays.empty((arrays.KEPT // 40 + i,)) for i in range(15)]
    assert arrays.memory.lent >= sum(piece.nbytes for piece in pieces)
    del pieces
    assert arrays.memory.kept <= arrays.KEPT


@pytest.mark.tiny
def test_what_is_lent_is_counted_and_comes_back():
    before = arrays.memory.lent
    held = arrays.empty((10**6,))
    assert arrays.memory.lent - before == 4 * 10**6
    assert arrays.memory.peak >= arrays.memory.lent
    del held
    assert arrays.memory.lent == before


# The table.


@pytest.mark.tiny
def test_an_overlay_says_what_will_run():
    modules = which(overlay(numba_cpu))
    assert modules["noising_drawn"] == "refgen_kernels.numba_cpu.noising"
    assert modules["softplus"] == "refgen.ops.activation"
    assert which(overlay())["normals"] == noise.__name__
    assert set(modules) == set(ops.__all__)


@pytest.mark.tiny
def test_the_last_to_define_an_op_wins():
    assert overlay(numba_cpu, ops).normals is ops.normals
    assert overlay(ops, numba_cpu).normals is numba_cpu.normals


@pytest.mark.tiny
def test_a_backend_says_whether_it_can_run():
    states = available()
    assert states["numpy"] == states["numba"] == "ok"
