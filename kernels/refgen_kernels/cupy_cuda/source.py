"""A .cu file: its text, what its kernels take, and how they are started.

The text is put together here and not by the compiler: each `#include "x.cuh"` is replaced by that
file, once, under a #line that keeps names and numbers of lines. So whoever compiles it, CuPy on a
GPU or g++ in the tests, gets one text, and a cache of compiled texts misses no edit of a header.
"""

import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refgen.typing import Array
from refgen_kernels.device.launcher import Grid, Launcher, number
from refgen_kernels.device.machine import Function, Machine, Module, machine

INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(([^)]*)\)'
)
TYPES: dict[str, type] = {
    "float": np.float32,
    "int": np.int32,
    "unsigned": np.uint32,
    "bool": np.bool_,
    "long long": np.int64,
    "unsigned long long": np.uint64,
}
NOTHING = np.uint64(0)  # as a pointer: no array


class Parameter(NamedTuple):
    """What a kernel takes at one place."""

    kind: type
    pointer: bool


def expand(path: Path, seen: set[str] | None = None) -> str:
    """Return the text of a file with what it includes from its own folder."""
    seen = set() if seen is None else seen
    parts, line = [f'#line 1 "{path.name}"\n'], 1
    text, end = path.read_text(), 0
    for found in INCLUDE.finditer(text):
        parts.append(text[end : found.start()])
        line += text.count("\n", end, found.end())
        end = found.end()
        if found[1] not in seen:
            seen.add(found[1])
            parts.append(expand(path.with_name(found[1]), seen))
        parts.append(f'#line {line} "{path.name}"\n')
    return "".join([*parts, text[end:]])


def signatures(text: str) -> dict[str, tuple[Parameter, ...]]:
    """Return kernel -> what it takes, read from CUDA C++. Raises TypeError for a type unknown."""
    return {name: _parameters(name, given) for name, given in KERNEL.findall(COMMENT.sub("", text))}


def _parameters(kernel: str, given: str) -> tuple[Parameter, ...]:
    found = []
    for one in filter(str.strip, given.split(",")):
        words = one.replace("*", " * ").replace("__restrict__", "").split()
        kind = " ".join(w for w in words[:-1] if w not in ("const", "*"))
        if kind not in TYPES:
            raise TypeError(f"{kernel}: {one.strip()!r} has a type that no launch can give")
        found.append(Parameter(TYPES[kind], "*" in words))
    return tuple(found)


class Source(Launcher):
    """The kernels of the .cu file beside a Python file; constants become #define lines."""

    def __init__(self, module: str, **constants: int) -> None:
        super().__init__(module)
        self.path = Path(__file__).with_name(f"{module.rsplit('.', 1)[1]}.cu")
        self.constants = constants

    @cached_property
    def text(self) -> str:
        """The whole text, as it is compiled."""
        defined = "".join(f"#define {name} {value}\n" for name, value in self.constants.items())
        return defined + expand(self.path)

    @cached_property
    def kernels(self) -> dict[str, tuple[Parameter, ...]]:
        """Kernel -> what it takes."""
        return signatures(self.text)

    def launch(
        self, name: str, grid: Grid, block: Grid, *args: Array | float | None, shared: int = 0
    ) -> None:
        """Start a kernel, compiled on its first use; see Launcher.launch."""
        taken = self.kernels[name]
        if len(args) != len(taken):
            raise TypeError(f"{name} takes {len(taken)} arguments, not {len(args)}")
        given = tuple(
            _given(a, t, name, i) for i, (a, t) in enumerate(zip(args, taken, strict=True))
        )
        if min(grid) > 0:
            _function(self.text, name, machine())(grid, block, given, shared_mem=shared)


def _given(a: Array | float | None, taken: Parameter, kernel: str, place: int) -> Any:
    """Return an argument as the kernel takes it. Raises TypeError where it cannot."""
    if not taken.pointer:
        if a is None or isinstance(a, machine().array):
            raise TypeError(f"{kernel}: argument {place} is a number, not {type(a).__name__}")
        return number(a, taken.kind, kernel, place)
    if a is None:
        return NOTHING
    if not isinstance(a, machine().array) or a.dtype != taken.kind:  # type: ignore[union-attr]
        what = f"{type(a).__module__}.{type(a).__name__} of {getattr(a, 'dtype', 'no type')}"
        raise TypeError(f"{kernel}: argument {place} is {taken.kind.__name__} here, not {what}")
    return machine().contiguous(a)  # type: ignore[arg-type]


@cache
def _module(text: str, where: Machine) -> Module:
    return where.module(text)


@cache
def _function(text: str, name: str, where: Machine) -> Function:
    return _module(text, where).get_function(name)
