"""The formulas that the GPU's benchmark gives PyTorch, on CPU tensors beside the pages."""

import doctest
import importlib
import time

import pytest

from benchmarks.cases import Case
from benchmarks.gpu import data as gpu_data
from benchmarks.gpu import limits as gpu_limits
from benchmarks.gpu.contender import Loaded
from benchmarks.gpu.device import Host
from refgen import ops
from tests.benchmarks.gpu import BACK, NOISING, NORMALS, clock

# PyTorch, on the CPU: the same formulas.


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is a baseline here")
    threads, grads = torch.get_num_threads(), torch.is_grad_enabled()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    yield torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grads)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


IMAGE = {"N": 2, "H": 4, "W": 5, "S": (4, 5), "C": 4, "U": 3, "V": 3, "I": 4, "O": 4, "G": 2}
CONV, GROUPS = {"stride": 1, "padding": 1}, {"groups": 2}
THEIRS = [
    NOISING,
    NORMALS,
    BACK,
    Case("noising", "forward", {"N": 2, "S": (3,)}),
    Case("reparameterize_kl", "drawn", {"N": 3, "D": 4}),
    Case("adam_ema_step", "", {"N": 6, "S": ()}),
    Case("group_norm_silu", "backward", IMAGE, "", GROUPS),
    *(Case("conv2d", call, IMAGE, "3x3", CONV) for call in ("forward", "dgrad", "wgrad")),
    Case(
        "attention",
        "both",
        {"N": 2, "L": 3, "M": 3, "D": 4, "E": 4, "H": 2},
        "",
        {"heads": 2},
        ("mask",),
    ),
    Case("unet", "train_step", {"N": 2, "S": (8, 8, 3), "C": 16}),
    Case("unet", "sample", {"N": 2, "S": (4, 4, 3), "C": 16}),
    Case("vae", "train_step", {"N": 3, "S": (784,)}),
]


WAYS = [(case, last) for case in THEIRS for last in (False, True) if case.images or not last]


@pytest.mark.parametrize(("case", "last"), WAYS, ids=lambda x: getattr(x, "name", str(x)))
def test_pytorch_computes_what_the_pages_say(case, last, torch):
    from benchmarks.gpu.torch import Torch

    way = Torch(Host(2**12), last=last, where="cpu")
    data = gpu_data.draw(case)
    loaded = way.load(case, data)
    found, noise = loaded.evidence()
    parts = gpu_data.expect(case, data, noise)
    said = gpu_data.verdict(gpu_data.judged(case), found, noise, parts, twin=False)
    assert said.right, said
    for call in loaded.calls:
        call()
    assert isinstance(loaded, Loaded)


def test_pytorch_is_told_which_arithmetic_to_use(torch):
    from benchmarks.gpu.torch import Torch

    for precision, allowed in (("tf32", True), ("fp32", False)):
        Torch(Host(2**12), precision=precision, where="cpu")
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    case = Case("dense", "forward", {"N": 3, "S": (), "I": 4, "O": 2})
    data = gpu_data.draw(case)
    found, _ = Torch(Host(2**12), precision="bf16", where="cpu").load(case, data).evidence()
    parts = gpu_data.expect(case, data)
    assert not gpu_data.verdict(case, found, None, parts, twin=False).right
    assert gpu_data.verdict(case, found, None, parts, twin=False, precision="bf16").right


def test_limits_of_products_are_measured_by_pytorch(torch):
    from benchmarks.gpu.torch import Torch

    way = Torch(Host(2**12), where="cpu")
    found = gpu_limits.limits(clock(), way, side=8)
    assert set(found) == {f"matmul_{name}_flops" for name in ("fp32", "tf32", "bf16")}


@pytest.mark.parametrize(
    "name", ["gpu.budget", "gpu.files", "gpu.report", "gpu.stages", "gpu.tables"]
)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert doctest.testmod(module).failed == 0


def test_steps_on_a_device_send_nothing_back():
    from benchmarks.gpu import steps as gpu_steps

    case = Case("unet", "sample", {"N": 2, "S": (4, 4, 3), "C": 16})
    began = time.perf_counter()
    (mine,) = gpu_steps.evidence(ops, case)
    assert mine.shape == (2, 4, 4, 3)
    assert time.perf_counter() - began < 60
