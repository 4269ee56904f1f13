"""Machines in place of a GPU: ordinary memory, and .cu files that g++ compiled."""

import os
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from refgen_kernels.device import launcher
from refgen_kernels.device.machine import ALIGNED, Asking
from tests.duck import Duck, undress
from tests.kernels.cuda.host import MAX_SHARED, HostModule

EXAMPLES = int(os.environ.get("REFGEN_EXAMPLES", "1000"))
SANITIZE = os.environ.get("REFGEN_SANITIZE", "")  # "address" or "thread": how kernels are built


def few(examples: int) -> int:
    """Return how many examples to draw: fewer where REFGEN_EXAMPLES says so, as for sanitizers."""
    return min(examples, EXAMPLES)


@contextmanager
def arranged(block: int, order: str, seed: int = 0):
    """Choose the size of blocks where it is free, a grid of at most three, and who runs first."""
    before = launcher.THREADS, launcher.BLOCKS
    launcher.THREADS, launcher.BLOCKS = block, 3
    HOST.order, HOST.seed = order, seed
    try:
        yield
    finally:
        launcher.THREADS, launcher.BLOCKS = before
        HOST.order, HOST.seed = "forward", 0


@lru_cache
def compiled(text: str, sanitize: str) -> HostModule:
    """Return a text as the CPU's own code, once."""
    return HostModule(text, sanitize=sanitize)


class Host:
    """NumPy's arrays, and kernels on one CPU thread, CUDA thread after CUDA thread."""

    array = np.ndarray
    shared = MAX_SHARED

    def __init__(self, order: str = "forward", seed: int = 0):
        self.order, self.seed = order, seed

    def empty(self, shape, dtype):
        """Return an aligned array of nothing: NaN, or the largest word."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        store = np.full(size, 0xFF, np.uint8)  # no slack behind it, where an overrun would hide
        assert store.ctypes.data % ALIGNED == 0, "malloc aligns to 16 bytes here"
        return store.view(dtype).reshape(shape)

    def contiguous(self, a):
        """Return the array, or a copy of it that is contiguous and aligned."""
        if a.flags.c_contiguous and a.ctypes.data % ALIGNED == 0:
            return a
        copy = Host.empty(self, a.shape, a.dtype)
        copy[...] = a
        return copy

    def put(self, a):
        """Return the array: it is here already."""
        return a

    fetch = put

    def module(self, text):
        """Return a text's kernels, run in this machine's order of threads."""
        return Ordered(compiled(text, SANITIZE), self)


class Ordered:
    """A compiled text whose launches follow the order that a machine has at the time."""

    def __init__(self, module, machine):
        self.module, self.machine = module, machine

    def get_function(self, name):
        """Return a kernel."""
        kernel = Asking(self.module).get_function(name)

        def launch(grid, block, args, *, shared_mem=0):
            self.module.order, self.module.seed = self.machine.order, self.machine.seed
            kernel(grid, block, args, shared_mem=shared_mem)

        return launch


HOST = Host()


class Ducks(Host):
    """A host whose arrays refuse to leave unasked, as a GPU's do; it counts what crosses."""

    array = Duck

    def __init__(self):
        super().__init__()
        self.sent, self.brought = 0, 0

    def empty(self, shape, dtype):
        """Return an aligned array of nothing."""
        return Duck(super().empty(shape, dtype))

    def contiguous(self, a):
        """Return the array, or a copy of it that is contiguous and aligned."""
        return Duck(super().contiguous(a.a))

    def put(self, a):
        """Send an array across."""
        if isinstance(a, Duck):
            return a
        self.sent += 1
        return Duck(a)

    def fetch(self, a):
        """Bring an array back; what is here stays."""
        self.brought += isinstance(a, Duck)
        return undress(a)

    def module(self, text):
        """Return a text's kernels, for ducks."""
        return Undressing(super().module(text))


class Undressing:
    """Kernels that take what is in a duck."""

    def __init__(self, module):
        self.module = module

    def get_function(self, name):
        """Return a kernel."""
        kernel = self.module.get_function(name)

        def launch(grid, block, args, *, shared_mem=0):
            kernel(grid, block, undress(args), shared_mem=shared_mem)

        return launch
