"""NVRTC without a GPU: what a text compiles to, and what it takes of a multiprocessor.

python -m tests.kernels.cuda.nvrtc          a table of every kernel
python -m tests.kernels.cuda.nvrtc --write  makes it the budget that tests hold kernels to
"""

import argparse
import ctypes
import importlib
import importlib.util
import json
import pkgutil
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from refgen_kernels.device.machine import OPTIONS

BUDGET = Path(__file__).with_name("registers.json")
TARGETS = ("sm_75", "sm_80", "sm_90")
SLACK = 8  # registers: releases of the compiler differ by some
FOUND = re.compile(
    r"Function properties for (\w+).*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers",
    re.S,
)


class Use(NamedTuple):
    """What one kernel takes."""

    registers: int
    stack: int  # bytes a thread
    spilled: int  # bytes a thread


class CompileError(Exception):
    """What NVRTC said."""


@lru_cache
def library():
    """Return CuPy's binding of NVRTC, or the reason why there is none."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for folder in ("cuda_nvrtc/lib", "cu13/lib"):
            for file in sorted(Path(root, folder).glob("libnvrtc.so.*")):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    try:
        binding = importlib.import_module("cupy_backends.cuda.libs.nvrtc")
        binding.getVersion()
    except (ImportError, RuntimeError) as error:
        return f"no NVRTC: {error}"
    return binding


def compiled(text: str, target: str) -> dict[str, Use]:
    """Return kernel -> what it takes. Raises CompileError with NVRTC's words."""
    nvrtc = library()
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    options = (*OPTIONS, f"--gpu-architecture={target}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise CompileError(nvrtc.getProgramLog(program)) from error
    log = nvrtc.getProgramLog(program)
    return {
        name: Use(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in FOUND.findall(log)
    }


def ptx(text: str, target: str = "compute_80") -> str:
    """Return a text as PTX."""
    nvrtc = library()
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={target}"))
    return nvrtc.getPTX(program).decode()


def pages(package):
    """Return stem -> the kernels of every page of a backend."""
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        page = importlib.import_module(f"{package.__name__}.{module.name}")
        if hasattr(page, "CU"):
            found[module.name] = page.CU
    return found


def sources():
    """Return stem -> Source of every .cu file."""
    return pages(importlib.import_module("refgen_kernels.cupy_cuda"))


def measured(target: str) -> dict[str, dict[str, Use]]:
    """Return stem -> kernel -> what it takes."""
    return {stem: compiled(cu.text, target) for stem, cu in sources().items()}


def main() -> None:
    """Print the table, or make it the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {BUDGET.name}")
    write = parser.parse_args().write
    found = {target: measured(target) for target in TARGETS}
    first = found[TARGETS[0]]
    print(f"{'kernel':44}" + "".join(f"{t:>14}" for t in TARGETS))
    for stem, kernels in first.items():
        for name in kernels:
            uses = [found[t][stem][name] for t in TARGETS]
            cells = (f"{u.registers}" + (f" spill {u.spilled}" if u.spilled else "") for u in uses)
            print(f"{stem + '.' + name:44}" + "".join(f"{c:>14}" for c in cells))
    if write:
        registers = {
            f"{stem}.{name}": {t: found[t][stem][name].registers for t in TARGETS}
            for stem, kernels in first.items()
            for name in kernels
        }
        BUDGET.write_text(json.dumps(registers, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
