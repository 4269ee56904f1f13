"""The device: a place for arrays that kernels read and write, and who runs a .cu file on them.

With a GPU, both are CuPy's. Without one, tests put a host in its place (tests/kernels/cuda): it
keeps arrays in ordinary memory and runs the same text on the CPU. All pages of this package ask
`machine()`, so they cannot tell the difference.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np

from refgen.typing import Array

OPTIONS = ("--std=c++17", "-default-device")  # the second: lambdas run where their kernel does
ALIGNED = 16  # bytes: kernels read four floats at once
REACH = 2**31 - 2**25  # elements: an int counts them, and the grid's step beyond the last
PLAIN = 48 << 10  # bytes of shared memory that a block has unasked

Function = Callable[..., None]  # (grid, block, args, *, shared_mem)


class Module(Protocol):
    """The kernels of one compiled text."""

    def get_function(self, name: str) -> Function:
        """Return a kernel by its name."""


class Machine(Protocol):
    """Where arrays live and kernels run."""

    array: type

    @property
    def shared(self) -> int:
        """Bytes of shared memory that a block may ask for."""

    def __hash__(self) -> int:
        """Tell machines apart: what was compiled for one is not for another."""

    def empty(self, shape: tuple[int, ...], dtype: type) -> Array:
        """Return an array that holds nothing yet."""

    def contiguous(self, a: Array) -> Array:
        """Return the array, or a copy of it that is contiguous and aligned."""

    def put(self, a: Array) -> Array:
        """Return an array of ordinary memory on this machine."""

    def fetch(self, a: Array) -> Array:
        """Return an array of this machine in ordinary memory."""

    def module(self, text: str) -> Module:
        """Compile CUDA C++."""


class Gpu:
    """CuPy's arrays and CuPy's compiler, NVRTC."""

    def __init__(self) -> None:
        import cupy

        self.cupy: Any = cupy
        self.array: type = cupy.ndarray

    @cached_property
    def shared(self) -> int:
        """Bytes of shared memory that a block may ask for: 227 KB on an H200."""
        return int(self.cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])

    def empty(self, shape: tuple[int, ...], dtype: type) -> Array:
        """Return an array of the memory pool."""
        a: Array = self.cupy.empty(shape, dtype)
        return a

    def contiguous(self, a: Any) -> Array:
        """Return the array, or a copy of it that is contiguous and aligned."""
        whole = a.flags.c_contiguous and a.data.ptr % ALIGNED == 0
        b: Array = a if whole else a.copy("C")
        return b

    def put(self, a: Array) -> Array:
        """Return an array of ordinary memory on the device."""
        b: Array = self.cupy.asarray(a)
        return b

    def fetch(self, a: Array) -> Array:
        """Return an array of the device in ordinary memory."""
        b: Array = self.cupy.asnumpy(a)
        return b

    def module(self, text: str) -> Module:
        """Compile CUDA C++ for the device at hand; CuPy keeps the result on disk."""
        return Asking(self.cupy.RawModule(code=text, options=OPTIONS))


class Asking:
    """Kernels that ask for the shared memory of a launch, where it is more than PLAIN."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def get_function(self, name: str) -> Function:
        """Return a kernel by its name."""
        kernel: Any = self.module.get_function(name)
        asked = PLAIN

        def launch(grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            nonlocal asked
            if shared_mem > asked:
                kernel.max_dynamic_shared_size_bytes = asked = shared_mem
            kernel(grid, block, args, shared_mem=shared_mem)

        return launch


@lru_cache
def _gpu() -> Machine:
    return Gpu()


_chosen: list[Machine] = []


def machine() -> Machine:
    """Return the machine in use: the GPU, unless `use` names another."""
    return _chosen[-1] if _chosen else _gpu()


@contextmanager
def use(other: Machine) -> Iterator[Machine]:
    """Run kernels on another machine inside `with`."""
    _chosen.append(other)
    try:
        yield other
    finally:
        _chosen.pop()


def status() -> str:
    """Return "ok" or why kernels cannot run on a GPU here."""
    try:
        import cupy

        return "ok" if cupy.cuda.runtime.getDeviceCount() else "no CUDA device"
    except ImportError:
        return 'CuPy is not installed: pip install "refgen[cuda12]" (or cuda13, as the driver)'
    except Exception as error:  # CuPy's own errors have no class that exists without CuPy
        return f"no CUDA device: {error}"


def empty(shape: tuple[int, ...], dtype: type = np.float32) -> Array:
    """Return an array on the device that holds nothing yet."""
    return machine().empty(shape, dtype)


def suits(shape: tuple[int, ...], *arrays: Array) -> bool:
    """Tell whether arrays lie on the device, hold float32, have this shape and can be counted."""
    kind = machine().array
    return all(
        isinstance(a, kind) and a.dtype == np.float32 and a.shape == shape and a.size < REACH
        for a in arrays
    )
