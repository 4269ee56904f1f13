"""What compilers say without a GPU: a kernel compiles, holds its registers, stays in float32."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from refgen_kernels import cupy_cuda, numba_cuda
from refgen_kernels.cupy_cuda.source import Source
from tests.kernels.cuda import nvrtc

BACKENDS = {"cupy_cuda": cupy_cuda, "numba_cuda": numba_cuda}
SOURCES = nvrtc.sources()
BUDGET = json.loads(nvrtc.BUDGET.read_text())
KERNELS = [(stem, name) for stem, cu in nvrtc.pages(numba_cuda).items() for name in cu.kernels]
needs_nvrtc = pytest.mark.skipif(
    isinstance(nvrtc.library(), str), reason=f"{nvrtc.library()}"[:200]
)


@pytest.mark.tiny
@pytest.mark.parametrize("package", BACKENDS)
def test_a_backend_imports_where_there_is_no_driver(package):
    """Every module of it; and neither CuPy nor a driver is touched by that."""
    code = (
        "import importlib, pkgutil, sys\n"
        f"import refgen_kernels.{package} as p\n"
        "for m in pkgutil.iter_modules(p.__path__):\n"
        "    importlib.import_module(f'{p.__name__}.{m.name}')\n"
        "print('cupy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.tiny
def test_both_backends_have_kernels_of_the_same_names_and_arguments():
    ours, theirs = SOURCES, nvrtc.pages(numba_cuda)
    assert set(ours) == set(theirs)
    for stem, cu in ours.items():
        here = {name: [(p.kind, p.pointer) for p in taken] for name, taken in cu.kernels.items()}
        there = {
            name: [(p.kind, p.pointer) for p in kernel.taken]
            for name, kernel in theirs[stem].kernels.items()
        }
        assert there.keys() <= here.keys(), stem
        assert {name: here[name] for name in there} == there, stem


@needs_nvrtc
@pytest.mark.parametrize("target", nvrtc.TARGETS)
@pytest.mark.parametrize("stem", SOURCES)
def test_a_source_compiles_without_a_spill_and_within_its_registers(stem, target):
    found = nvrtc.compiled(SOURCES[stem].text, target)
    assert found.keys() == SOURCES[stem].kernels.keys()
    for name, use in found.items():
        assert use.spilled == 0, f"{name} spills {use.spilled} bytes"
        allowed = BUDGET[f"{stem}.{name}"][target] + nvrtc.SLACK
        assert use.registers <= allowed, f"{name} takes {use.registers} registers, not {allowed}"


@needs_nvrtc
@pytest.mark.parametrize("stem", SOURCES)
def test_a_source_computes_in_float32_alone(stem):
    assert ".f64" not in nvrtc.ptx(SOURCES[stem].text)


@needs_nvrtc
def test_no_product_and_sum_of_the_noise_are_fused():
    """A fused multiply-add rounds once instead of twice, and the bits would be others."""
    text = nvrtc.ptx(SOURCES["noise"].text)
    assert "mul.rn.f32" in text
    assert "fma" not in text


@needs_nvrtc
def test_a_source_that_does_not_compile_is_refused_with_its_line(tmp_path):
    text = Source("refgen_kernels.cupy_cuda.noising").text.replace("a[n] *", "a[n] * nothing *", 1)
    with pytest.raises(nvrtc.CompileError, match=r'noising\.cu\(\d+\): error: .*"nothing"'):
        nvrtc.compiled(text, "sm_90")


# Numba.


@pytest.fixture(scope="module")
def ninety():
    """Let Numba compile for a device that is not there: it asks the current one for its kind."""
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0), id=0)
    yield (9, 0)
    dispatcher.get_current_device = before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("stem", "name"), KERNELS, ids=lambda part: part)
def test_a_numba_kernel_compiles_to_float32_in_registers(stem, name, ninety, tmp_path):
    from numba import cuda

    kernel = nvrtc.pages(numba_cuda)[stem].kernels[name]
    ptx, _ = cuda.compile_ptx(kernel.function, kernel.signature, cc=ninety)
    assert ".f64" not in ptx, [line for line in ptx.splitlines() if ".f64" in line][:3]
    spilled = ptxas(ptx, tmp_path)
    assert spilled in (None, 0)


def ptxas(text: str, folder: Path) -> int | None:
    """Return how many bytes a kernel spills; None where there is no assembler."""
    roots = [Path(p) / "nvidia/cuda_nvcc/bin" for p in sys.path]
    found = shutil.which("ptxas", path=":".join(map(str, roots))) or shutil.which("ptxas")
    if found is None:
        return None
    file = folder / "kernel.ptx"
    file.write_text(text)
    command = [found, "-v", "-arch=sm_90", "-o", str(folder / "kernel.cubin"), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return sum(int(n) for n in re.findall(r"(\d+) bytes spill", said))
