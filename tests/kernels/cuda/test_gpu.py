"""What only a CUDA device can show: the kernels as they run there, on both backends.

    python -m pytest -m "gpu and not slow" tests/kernels/cuda/test_gpu.py

The same judgement as without a GPU, by float64; the bits of noise; that the grid decides nothing;
a sampler's loop as a graph; a training step that stays on the device. `-m "gpu and slow"` compares
10⁹ words and 10⁸ normals.
"""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import steps
from benchmarks.cases import Case
from benchmarks.gpu import equality as gpu_equality
from benchmarks.gpu import small as gpu_small
from benchmarks.gpu import steps as gpu_steps
from refgen import ops
from refgen.noise import Noise
from refgen.ops.catalog import CATALOG
from refgen.samplers import sample_ddim
from refgen_kernels import BACKENDS, overlay
from refgen_kernels.device import launcher, machine, status
from tests.kernels.judging import assert_as_accurate, same_bits
from tests.strategies import calls

STATE = status()
NO_DEVICE = "no CUDA device" if STATE != "ok" else ""
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(NO_DEVICE), reason=NO_DEVICE),
    pytest.mark.filterwarnings("ignore:Grid size"),  # Numba's advice on small launches
]
STREAM = Noise(3).at("cuda").stream
UNET = Case("unet", "train_step", {"N": 3, "S": (8, 12, 3), "C": 16})
IMAGE = {"N": 4, "H": 16, "W": 16, "S": (16, 16), "C": 32, "I": 32, "O": 48, "U": 3, "V": 3}
SAMPLE = Case("unet", "sample", {"N": 2, "S": (8, 8, 3), "C": 16})
blocks = st.sampled_from([32, 64, 256])
each_backend = pytest.mark.parametrize("backend", ["cupy", "numba-cuda"])


def module(backend):
    return importlib.import_module(f"refgen_kernels.{BACKENDS[backend]}")


def table(backend):
    return overlay(module(backend))


class Moving:
    """A table that is asked from ordinary memory: arrays go to the device, results come back.

    What a forward keeps for its backward stays there.
    """

    def __init__(self, there):
        self.there = there

    def __getattr__(self, name):
        op = getattr(self.there, name)

        def moved(*args, **kwargs):
            args = [self._sent(a) for a in args]
            result = op(*args, **{k: self._sent(a) for k, a in kwargs.items()})
            if type(result) is tuple:
                return tuple(map(self._brought, result))
            return self._brought(result)

        return moved

    def _sent(self, a):
        return self.there.put(a) if isinstance(a, np.ndarray) else a

    def _brought(self, a):
        return self.there.fetch(a) if isinstance(a, machine().array) else a


def pairs(wanted):
    """Return (backend, op) of every op that has a kernel there."""
    if NO_DEVICE:
        return [("cupy", op) for op in CATALOG if op.twin and wanted(op)]
    found = []
    for backend in ("cupy", "numba-cuda"):
        names = module(backend).__all__
        found += [(backend, op) for op in CATALOG if op.forward in names and wanted(op)]
    return found


def named(x):
    return x if isinstance(x, str) else x.name


differentiated = pytest.mark.parametrize(
    ("backend", "op"), pairs(lambda op: bool(op.wrt)), ids=named
)


@differentiated
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data(), block=blocks)
def test_a_kernel_is_as_accurate_as_the_page(backend, op, data, block):
    arrays, static, _ = data.draw(calls(op, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "THREADS", block)
        assert_as_accurate(op.name, arrays, static, table=Moving(table(backend)))


@differentiated
@pytest.mark.parametrize("sizes", [gpu_small.ODD, gpu_small.LARGER], ids=["odd", "larger"])
def test_a_kernel_is_as_accurate_on_many_blocks(backend, op, sizes):
    arrays, static = gpu_small.arguments(ops, op, sizes)
    if op.name == "attention":
        arrays["mask"][:, 0] = True  # every query sees a key
    assert_as_accurate(op.name, arrays, static, table=Moving(table(backend)))


@each_backend
def test_the_update_of_adam_is_that_of_the_page(backend):
    row = next(op for op in CATALOG if op.name == "adam_ema_step")
    if row.forward not in module(backend).__all__:
        pytest.skip("it has no kernel yet")
    arrays = row.arrays({"N": 100_003, "S": ()}, np.random.default_rng(1))
    static = row.keywords({})
    single = {k: a.astype(np.float32) for k, a in arrays.items()}
    wide = {k: a.astype(np.float64) for k, a in single.items()}
    gold, page = (ops.adam_ema_step(*a.values(), **static) for a in (wide, single))
    mine = Moving(table(backend)).adam_ema_step(*single.values(), **static)
    for g, p, m in zip(gold, page, mine, strict=True):
        scale = max(1.0, float(np.abs(g).max()))
        assert np.abs(m - g).max() <= 4 * np.abs(p - g).max() + 8 * np.finfo("f").eps * scale


@pytest.mark.parametrize(("name", "most"), [("tf32", 1e-3), ("bf16", 8e-3)])
def test_tensor_cores_err_by_the_bits_of_their_factors(name, most):
    products = importlib.import_module("refgen_kernels.device.products")
    case = Case("conv2d", "forward", IMAGE, "", {"stride": 1, "padding": 1})
    arrays, there = case.arrays(), table("cupy")
    y, _ = ops.conv2d_forward(*(a.astype(np.float64) for a in arrays.values()), **case.keywords())
    (dy,) = case.gradients([y.shape])
    with products.precision(name):
        mine, cache = there.conv2d_forward(*map(there.put, arrays.values()), **case.keywords())
        grads = there.conv2d_backward(there.put(dy), cache)
    wide = {k: a.astype(np.float64) for k, a in arrays.items()}
    gold = ops.conv2d_backward(
        dy.astype(np.float64), ops.conv2d_forward(*wide.values(), **case.keywords())[1]
    )
    for g, m in zip((y, *gold[:2]), (mine, *grads[:2]), strict=True):
        error = there.fetch(m) - g
        assert 1e-5 < error.std() / g.std() < most  # less precise than fp32, and no worse than said


# Noise.


@each_backend
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    start=st.one_of(st.integers(0, 200), st.integers(0, 2**60)),
    count=st.integers(0, 3000),
    block=blocks,
    most=st.sampled_from([1, 3, 2**16]),
)
def test_noise_has_the_bits_of_the_page_on_any_grid(backend, start, count, block, most):
    there = table(backend)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "THREADS", block)
        patch.setattr(launcher, "BLOCKS", most)
        for name in ("normals", "words"):
            found = there.fetch(getattr(there, name)(STREAM, start, count))
            assert same_bits(found, getattr(ops, name)(STREAM, start, count))


@each_backend
@pytest.mark.parametrize("kind", ["words", "normals"])
def test_a_million_have_the_bits_of_the_page(backend, kind):
    found = gpu_equality.report({backend: table(backend)}, {kind: 10**6}, None)[0]
    assert (found["compared"], found["different"]) == (10**6, 0)


@each_backend
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("words", 10**9), ("normals", 10**8)])
def test_very_many_have_the_bits_of_the_page(backend, kind, count):
    found = gpu_equality.report({backend: table(backend)}, {kind: count}, None)[0]
    assert (found["compared"], found["different"]) == (count, 0)


# The grid decides nothing.


def bits_of(there, op, drawn):
    """Return the results of a drawing op as bytes."""
    arrays, static = gpu_small.arguments(there, op, gpu_small.LARGER)
    given = [a for name, a in arrays.items() if name != "noise"]
    result = getattr(there, drawn)(*given, STREAM, 5, **static)
    results = result if type(result) is tuple else (result,)
    return [there.fetch(a).tobytes() for a in results if isinstance(a, machine().array)]


@each_backend
def test_no_drawing_kernel_knows_its_grid(backend, monkeypatch):
    there, seen = table(backend), 0
    for op in CATALOG:
        drawn = f"{op.name}_drawn"
        if drawn in module(backend).__all__:
            seen += 1
            first = bits_of(there, op, drawn)
            for threads, most in ((64, 2), (128, 1)):
                monkeypatch.setattr(launcher, "THREADS", threads)
                monkeypatch.setattr(launcher, "BLOCKS", most)
                assert bits_of(there, op, drawn) == first, drawn
            monkeypatch.undo()
    assert seen > 0


@each_backend
def test_the_same_call_gives_the_same_bits(backend):
    there = table(backend)
    names = list(module(backend).__all__)
    for op in CATALOG:
        if op.forward in names and op.wrt:
            arrays, static = gpu_small.arguments(there, op, gpu_small.LARGER)
            runs = [_gradients(there, op, arrays, static) for _ in range(3)]
            assert runs[0] == runs[1] == runs[2], op.name


def _gradients(there, op, arrays, static):
    *ys, cache = getattr(there, op.forward)(**arrays, **static)
    dys = [there.put(np.linspace(-1, 1, y.size, dtype=np.float32).reshape(y.shape)) for y in ys]
    found = getattr(there, f"{op.name}_backward")(*dys, cache)
    grads = found if isinstance(found, tuple) else (found,)
    return [there.fetch(a).tobytes() for a in (*ys, *grads)]


# Whole steps.


@each_backend
@pytest.mark.parametrize("case", [UNET, SAMPLE], ids=lambda case: case.call)
def test_a_whole_step_on_the_device_is_that_of_numpy_to_rounding(backend, case):
    gold = steps.evidence(ops, case, np.float64)
    for g, mine in zip(gold, gpu_steps.evidence(table(backend), case), strict=True):
        assert isinstance(mine, np.ndarray)
        allowed = 1e-4 * g.std() if case.call == "sample" else 2e-5 * np.abs(g).max()
        assert np.abs(mine - g).max() <= allowed


def linear_walk(there, count, eta):
    """Return a sampler's loop with a network of one line, and the array that it begins with."""
    start = there.put(Noise(5).at("start").normal((4, 8, 8, 3), dtype=np.float32))
    times = np.linspace(steps.SCHEDULE.T, 0, count + 1).round().astype(int)

    def loop():
        return sample_ddim(
            lambda x, t: 0.1 * x,
            start,
            steps.SCHEDULE,
            Noise(6),
            times=[int(t) for t in times],
            eta=eta,
            ops=there,
        )

    return loop, start


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_sampler_is_captured_as_a_graph_and_replayed_from_other_starts(eta):
    from refgen_kernels.cupy_cuda.graph import capture

    there = table("cupy")
    loop, start = linear_walk(there, 10, eta)
    replay = capture(loop)
    for _ in range(2):
        assert there.fetch(replay()).tobytes() == there.fetch(loop()).tobytes()
    start[...] = -0.5 * start
    assert there.fetch(replay()).tobytes() == there.fetch(loop()).tobytes()


def test_the_network_of_a_sampler_is_captured_with_it():
    from refgen import tree
    from refgen_kernels.cupy_cuda.graph import capture

    there = table("cupy")
    walk = gpu_steps.sampler(there, SAMPLE, tree.map(there.put, steps.params_of(SAMPLE)))
    replay = capture(walk)
    assert there.fetch(replay()).tobytes() == there.fetch(walk()).tobytes()


def test_a_loop_that_looks_at_its_numbers_cannot_be_captured():
    from refgen_kernels.cupy_cuda.graph import capture

    there = table("cupy")
    x = there.put(np.ones(5, np.float32))
    with pytest.raises(RuntimeError, match="cannot be captured"):
        capture(lambda: x * float(there.fetch(x).sum()))


def test_arrays_of_another_type_or_place_go_to_the_page_which_answers():
    there = table("cupy")
    wide = there.put(np.ones((2, 3)))
    factors = there.put(np.ones(2))
    x, _ = there.noising_forward(wide, wide, factors, factors)
    assert there.fetch(x).dtype == np.float64
    with pytest.raises(TypeError):
        there.noising_forward(wide, np.ones((2, 3)), factors, factors)


def test_launches_that_no_capture_sees_are_noticed():
    from refgen_kernels.cupy_cuda.graph import capture

    there = table("numba-cuda")
    x = there.put(np.ones((4, 8), np.float32))
    a = there.put(np.ones(4, np.float32))
    with pytest.raises(RuntimeError):
        capture(lambda: there.noising_drawn(x, a, a, STREAM)[0])
