"""Numba CUDA kernels: declared with their types, compiled when first started.

A kernel is written for one thread and says what it takes, in the words of CUDA C++, so that no
number becomes float64 or int64 unseen; arrays arrive flat. With NUMBA_ENABLE_CUDASIM=1 the same
functions run as plain Python, one thread after another: slow, and good for arrays of some tens of
numbers on a machine without a GPU.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda

from refgen.typing import Array
from refgen_kernels.device.launcher import Grid, Launcher, number
from refgen_kernels.device.machine import PLAIN, machine

SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]
TYPES: dict[str, type] = {
    "float": np.float32,
    "int": np.int32,
    "unsigned": np.uint32,
    "bool": np.bool_,
    "unsigned long long": np.uint64,
}


class Parameter(NamedTuple):
    """What a kernel takes at one place."""

    kind: type
    pointer: bool

    @property
    def numba(self) -> str:
        """The type in Numba's words."""
        return f"{np.dtype(self.kind).name}{'[::1]' if self.pointer else ''}"


class Kernel(NamedTuple):
    """A function for one thread, and what it takes."""

    function: Callable[..., None]
    taken: tuple[Parameter, ...]
    jitted: list[Any]  # at most one: compiled when first started, since that needs a device

    @property
    def signature(self) -> str:
        """The types in Numba's words."""
        return f"void({', '.join(t.numba for t in self.taken)})"

    def compiled(self) -> Any:
        """Return what can be started."""
        if not self.jitted:
            given = () if SIMULATED else (self.signature,)
            self.jitted.append(cuda.jit(*given)(self.function))
        return self.jitted[0]


class Kernels(Launcher):
    """The kernels of one module."""

    def __init__(self, module: str) -> None:
        super().__init__(module)
        self.kernels: dict[str, Kernel] = {}

    def kernel(self, taken: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Add a function: `@CU.kernel("float*, float*, int")`. Raises KeyError for other types."""
        parts = [one.strip() for one in taken.split(",")]
        types = tuple(Parameter(TYPES[p.rstrip("*").strip()], p.endswith("*")) for p in parts)

        def add(function: Callable[..., None]) -> Callable[..., None]:
            self.kernels[function.__name__] = Kernel(function, types, [])
            return function

        return add

    def room(self) -> int:
        """Return how many bytes of shared memory a block may have; Numba asks for no more."""
        return PLAIN

    def launch(
        self, name: str, grid: Grid, block: Grid, *args: Array | float | None, shared: int = 0
    ) -> None:
        """Start a kernel, compiled on its first use; see Launcher.launch."""
        kernel = self.kernels[name]
        if len(args) != len(kernel.taken):
            raise TypeError(f"{name} takes {len(kernel.taken)} arguments, not {len(args)}")
        given = [
            _given(a, t, name, i) for i, (a, t) in enumerate(zip(args, kernel.taken, strict=True))
        ]
        if min(grid) > 0:
            kernel.compiled()[grid, block, 0, shared](*given)


def device(function: Callable[..., Any]) -> Any:
    """Return a function that kernels call."""
    return cuda.jit(device=True)(function)


def _given(a: Array | float | None, taken: Parameter, kernel: str, place: int) -> Any:
    """Return an argument as the kernel takes it. Raises TypeError where it cannot."""
    if not taken.pointer:
        return number(a, taken.kind, kernel, place)
    if a is None:
        return machine().empty((0,), taken.kind)
    if not isinstance(a, machine().array) or a.dtype != taken.kind:  # type: ignore[union-attr]
        what = f"{type(a).__module__}.{type(a).__name__} of {getattr(a, 'dtype', 'no type')}"
        raise TypeError(f"{kernel}: argument {place} is {taken.kind.__name__} here, not {what}")
    whole = machine().contiguous(a)  # type: ignore[arg-type]
    return whole.reshape(math.prod(whole.shape))
