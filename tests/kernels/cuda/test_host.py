"""The runner of .cu files itself: it runs right kernels rightly, and finds what is wrong."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.cuda import host
from tests.kernels.cuda.host import CompileError, HostModule, LaunchError, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
FOLDER = Path(__file__).with_name("host")
EXAMPLE = FOLDER / "example.cu"
SNIPPETS = FOLDER / "snippets.cu"
each_order = pytest.mark.parametrize("order", host.ORDERS)
f32, i32, u32 = np.float32, np.int32, np.uint32


def source(path):
    """Return a text that knows its lines."""
    return f'#line 1 "{path.name}"\n{path.read_text()}'


@cache
def compiled(path):
    """Return the kernels of a file."""
    return HostModule(source(path))


def kernel(name, path=EXAMPLE, order="forward", seed=0):
    """Return a kernel whose threads run in an order."""
    module = compiled(path)
    module.order, module.seed = order, seed
    return module.get_function(name)


def line(bug, path=EXAMPLE):
    """Return the number of the line that a comment marks."""
    lines = path.read_text().splitlines()
    marked = [n for n, one in enumerate(lines, 1) if one.endswith(f"// BUG {bug}")]
    assert len(marked) == 1
    return marked[0]


# ---- right kernels


@each_order
def test_sums_over_blocks_are_right_in_every_order(order):
    x = np.random.default_rng(0).integers(-50, 50, size=(7, 333)).astype(f32)
    y = np.full(7, np.nan, f32)
    kernel("row_sums", order=order)((7,), (128,), (x, y, i32(333)))
    np.testing.assert_array_equal(y, x.sum(axis=1))


@each_order
@pytest.mark.parametrize("threads", [1, 31, 64, 1000])
def test_dynamic_shared_memory_passes_values_on(order, threads):
    x, y = np.arange(threads, dtype=f32), np.full(threads, np.nan, f32)
    kernel("rotate", order=order)((1,), (threads,), (x, y, i32(3)), shared_mem=4 * threads)
    np.testing.assert_array_equal(y, np.roll(x, -3))


@each_order
def test_atomics_count(order):
    x, counts = np.random.default_rng(1).integers(0, 10, 1000).astype(i32), np.zeros(10, i32)
    kernel("histogram", order=order)((3,), (50,), (x, counts, i32(1000), i32(10)), shared_mem=40)
    np.testing.assert_array_equal(counts, np.bincount(x, minlength=10))


def test_other_atomics():
    f, i, u = np.zeros(1, f32), np.zeros(34, i32), np.full(2, 99, u32)
    u[1] = 0
    kernel("atomics", SNIPPETS)((1,), (32,), (f, i, u))
    assert (f[0], i[0], i[1], u[1]) == (16, 31, -31, 32)
    assert sorted([*i[2:], u[0]]) == [*range(32), 99]


def test_threads_run_in_the_order_asked_for():
    def visited(order, seed=0):
        found = np.full(2 * 2 * 3 * 24, -1, i32)
        kernel("visit", SNIPPETS, order, seed)((2, 2, 3), (4, 3, 2), (np.zeros(1, i32), found))
        return found.tolist()

    forward = list(range(288))
    assert visited("forward") == forward
    assert visited("reverse") == forward[::-1]
    assert visited("random", 1) == visited("random", 1) != visited("random", 2)
    assert sorted(visited("random", 1)) == forward


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="backward"):
        compiled(EXAMPLE).order = "backward"


# ---- warps


@each_order
@pytest.mark.parametrize("width", [32, 16, 8])
def test_shuffles_read_the_lane_they_name(order, width):
    x, y = np.arange(100, 132, dtype=i32), np.zeros((4, 32), i32)
    kernel("shuffles", SNIPPETS, order)((1,), (32,), (x, y, i32(width)))
    lanes = np.arange(32)
    start, inside = lanes // width * width, lanes % width
    np.testing.assert_array_equal(y[0], x[start + 5])
    np.testing.assert_array_equal(y[1], x[np.where(inside >= 3, lanes - 3, lanes)])
    np.testing.assert_array_equal(y[2], x[np.where(inside + 3 < width, lanes + 3, lanes)])
    np.testing.assert_array_equal(y[3], x[lanes ^ 3])


def test_lanes_that_are_absent_send_nan():
    y = np.zeros(40, f32)
    kernel("absent", SNIPPETS)((1,), (40,), (y,))
    assert not np.isnan(y[:32]).any()
    assert np.isnan(y[32:]).all()


@each_order
def test_parts_of_a_warp_may_exchange_by_themselves(order):
    y = np.zeros(32, i32)
    kernel("halves", SNIPPETS, order)((1,), (32,), (y,))
    np.testing.assert_array_equal(y, [16] * 16 + [2] * 16)


@each_order
def test_votes_are_counted(order):
    x, y = np.zeros(64, i32), np.zeros((64, 6), u32)
    x[[0, 3, 31]] = 1
    x[32:] = 2
    kernel("votes", SNIPPETS, order)((1,), (64,), (x, y))
    first, second = [0x80000009, 1, 0, 35, 1, 0], [0xFFFFFFFF, 1, 1, 35, 1, 0]
    np.testing.assert_array_equal(y, [first] * 32 + [second] * 32)


@pytest.mark.parametrize("order", ["forward", "random"])
def test_a_warp_multiplies_tf32_matrices(order):
    rng = np.random.default_rng(2)
    a, b, d = (rng.normal(size=shape).astype(f32) for shape in [(16, 8), (8, 8), (16, 8)])
    exact = d + in_tf32(a).astype(float) @ in_tf32(b)
    kernel("product_tf32", order=order)((1,), (32,), (a, b, d))
    np.testing.assert_allclose(d, exact, rtol=0, atol=4e-6)


@pytest.mark.parametrize("order", ["forward", "random"])
def test_a_warp_multiplies_bf16_matrices(order):
    rng = np.random.default_rng(3)
    a, b, d = (rng.normal(size=shape).astype(f32) for shape in [(16, 16), (16, 8), (16, 8)])
    a16, b16 = ((m.view(u32) >> 16).astype(np.uint16) for m in (a, b))
    a, b = ((m.astype(u32) << 16).view(f32) for m in (a16, b16))
    exact = d + a.astype(float) @ b
    kernel("product_bf16", order=order)((1,), (32,), (a16, b16, d))
    np.testing.assert_allclose(d, exact, rtol=0, atol=8e-6)


def in_tf32(a):
    """Return what the hardware sees of a float."""
    return (a.view(u32) & u32(0xFFFFE000)).view(f32)


def test_a_product_needs_a_whole_warp():
    a, b, d = np.zeros((16, 8), f32), np.zeros((8, 8), f32), np.zeros((16, 8), f32)
    with pytest.raises(LaunchError, match="needs all 32 lanes"):
        kernel("product_tf32")((1,), (20,), (a, b, d))


# ---- what is wrong within a block


def test_shared_memory_begins_as_nan():
    x, y = np.zeros(64, f32), np.zeros(64, f32)
    kernel("rotate")((1,), (64,), (x, y, i32(1)), shared_mem=256)  # leaves zeros behind
    kernel("unwritten")((1,), (64,), (x, y, i32(64)), shared_mem=256)
    assert np.isnan(y).all()


def test_shared_memory_in_a_template_begins_as_nan_too():
    x, y = np.ones(128, f32), np.zeros(1, f32)
    kernel("row_sums")((1,), (128,), (x, y, i32(128)))
    assert y[0] == 128
    kernel("row_sums")((1,), (64,), (x, y, i32(128)))  # the third and fourth warp are missing
    assert np.isnan(y[0])


@each_order
def test_a_barrier_that_some_threads_miss_is_reported(order):
    x, y = np.zeros(64, f32), np.zeros(64, f32)
    with pytest.raises(LaunchError) as raised:
        kernel("divergent", order=order)((2, 3), (64,), (x, y, i32(64)))
    error, at = raised.value, {"forward": (0, 0, 0), "reverse": (1, 2, 0)}
    expected = f"16 of 64 threads waiting at the barrier of line {line('divergent')} of example.cu"
    assert (error.kernel, error.what) == ("divergent", f"{expected}, 48 exited")
    assert order == "random" or error.block == at[order]
    assert str(error).endswith(f"exited, block ({','.join(map(str, error.block))})")
    kernel("row_sums", order=order)((1,), (128,), (x + 1, y, i32(64)))  # the module lives on
    assert y[0] == 64


def test_threads_at_different_barriers_are_reported():
    x, y = np.zeros(64, f32), np.zeros(64, f32)
    with pytest.raises(LaunchError, match="at the barrier of line") as raised:
        kernel("two_barriers")((1,), (64,), (x, y, i32(64)))
    here = line("two_barriers")
    assert f"line {here} of example.cu" in raised.value.what
    assert f"line {here + 2} of example.cu" in raised.value.what


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "lanes_exit",
            "3 of 32 threads waiting at the warp function of line HERE of snippets.cu, 29",
        ),
        ("wrong_mask", "masks ffffffff at line HERE of snippets.cu and 0001ffff at line HERE"),
        ("outside_mask", "lane 8 is not in its own mask 000000ff at line"),
        ("lines", "31 of 32 threads waiting at the barrier of line 100 of other.cuh, 1 exited"),
    ],
)
def test_warps_that_do_not_meet_are_reported(name, message):
    if "HERE" in message:
        message = message.replace("HERE", str(line(name, SNIPPETS)))
    with pytest.raises(LaunchError, match=message):
        kernel(name, SNIPPETS)((1,), (32,), (np.zeros(32, i32),))


def test_a_trap_names_its_block():
    with pytest.raises(LaunchError, match=r"__trap\(\) at line .*, block \(1,2,0\)") as raised:
        kernel("trap", SNIPPETS, "reverse")((2, 3), (4,), ())
    assert raised.value.block == (1, 2, 0)


# ---- what is wrong with a launch

GOOD = (np.zeros(1, f32), np.zeros(1, i32), np.uint64(1), i32(2), f32(3), np.bool_(True), None)


def test_scalars_and_null_pointers_arrive():
    b = np.zeros(1, i32)
    kernel("types", SNIPPETS)((1,), (1,), (None, b, *GOOD[2:]))
    kernel("types", SNIPPETS)((1,), (1,), (np.intp(0), np.uint64(0), *GOOD[2:]))
    assert b[0] == 1 + 2 + 3 + 1 + 1


@pytest.mark.parametrize(
    ("place", "given", "message"),
    [
        (0, np.zeros(1), r"argument 0 is const float32\* here, not array of float64"),
        (0, [0.0], r"argument 0 is const float32\* here, not list"),
        (0, np.int64(8), "argument 0 is .* not int64"),
        (1, np.broadcast_to(i32(0), 1), r"argument 1 is int32\* here, not a read-only array"),
        (2, 1, "argument 2 is uint64 here, not int"),
        (3, 2, "argument 3 is int32 here, not int"),
        (3, u32(2), "argument 3 is int32 here, not uint32"),
        (4, 3.0, "argument 4 is float32 here, not float"),
        (4, np.zeros(1, f32), "argument 4 is float32 here, not array of float32"),
        (5, i32(1), "argument 5 is bool here, not int32"),
    ],
)
def test_arguments_of_another_type_are_refused(place, given, message):
    arguments = [*GOOD[:place], given, *GOOD[place + 1 :]]
    with pytest.raises(TypeError, match=message):
        kernel("types", SNIPPETS)((1,), (1,), arguments)


def test_arguments_of_another_number_are_refused():
    with pytest.raises(TypeError, match="types takes 7 arguments, 6 given"):
        kernel("types", SNIPPETS)((1,), (1,), GOOD[:6])


@pytest.mark.parametrize(
    ("name", "grid", "block", "shared", "message"),
    [
        ("rotate", (1,), (1025,), 0, r"block cannot be \(1025,\)"),
        ("rotate", (1,), (32, 32, 2), 0, "2048 threads in a block, where 1024 may be"),
        ("row_sums", (1,), (160,), 0, "160 threads in a block, where 128 may be"),
        ("rotate", (0,), (32,), 0, r"grid cannot be \(0,\)"),
        ("rotate", (1, 65536), (32,), 0, "grid cannot be"),
        ("rotate", (1, 1, 1, 1), (32,), 0, "grid cannot be"),
        ("rotate", (1,), (32,), (48 << 10) + 1, "49153 bytes of shared memory, where 49152 may"),
    ],
)
def test_launches_that_no_gpu_can_start_are_refused(name, grid, block, shared, message):
    x, y = np.zeros(2048, f32), np.zeros(2048, f32)
    with pytest.raises(LaunchError, match=message) as raised:
        kernel(name)(grid, block, (x, y, i32(1)), shared_mem=shared)
    assert raised.value.block is None


def test_more_shared_memory_may_be_asked_for():
    module = HostModule(source(EXAMPLE))
    rotate, x, y = module.get_function("rotate"), np.arange(8, dtype=f32), np.zeros(8, f32)
    rotate.max_dynamic_shared_size_bytes = 100 << 10
    module.get_function("rotate")((1,), (8,), (x, y, i32(1)), shared_mem=100 << 10)
    np.testing.assert_array_equal(y, np.roll(x, -1))


def test_bounds_may_be_expressions():
    assert compiled(SNIPPETS).get_function("types").max_threads == 64


# ---- the language


def test_functions_of_one_thread_are_those_of_the_gpu():
    x, y, u = np.array([1 + 2**-12], f32), np.zeros(11, f32), np.zeros(15, u32)
    kernel("numbers", SNIPPETS)((1,), (1,), (x, y, u))
    once, twice = f32(2**-11 + 2**-24), f32(2**-11)
    third_and_root = f32(1) / f32(3) + np.sqrt(f32(2))
    turned = [1, 0, 0, f32(np.sqrt(0.5)), 0.5 + 1 + 1, 2.0**32, -3]
    np.testing.assert_array_equal(y, [once, twice, twice, third_and_root, *turned])
    bits = [0xD2511F52, 0x3F800000, 7, 0, 0x7FFFFFFF, 2, 8, 31, 4, 5, 0xFFFFFFFF]
    assert u.tolist() == [*bits, 16 + 16 + 16 + 12, 0x3F802000, 0xC0003F80, 33]


def test_a_mistake_in_a_text_is_reported_with_its_line():
    with pytest.raises(CompileError, match=r"broken\.cu:7:\d+: error: .*undeclared_name"):
        HostModule('#line 6 "broken.cu"\n\nint f() { return undeclared_name; }')


def test_an_unknown_kernel_is_a_key_error():
    with pytest.raises(KeyError, match="no kernel 'rotated', but row_sums, rotate, double_fours"):
        compiled(EXAMPLE).get_function("rotated")


def test_a_text_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = 'extern "C" __global__ void set(int* y) { *y = VALUE; }'
    first, y = HostModule(text, ("-DVALUE=1",)), np.zeros(1, i32)
    monkeypatch.setattr(host, "_compile", None)
    HostModule(text, ("-DVALUE=1",)).get_function("set")((1,), (1,), (y,))
    assert y[0] == 1
    assert len(list((tmp_path / "refgen-host").iterdir())) == 1
    with pytest.raises(TypeError):  # another flag is another library
        HostModule(text, ("-DVALUE=2",))
    assert list(first.kernels) == ["set"]
