"""A sampler's loop as one CUDA graph: all its launches are started by one call.

A step of a small batch takes a microsecond on the device and some microseconds to launch, so a loop
of fifty steps waits for launches. Captured, the loop is replayed as a whole:

    replay = capture(lambda: sample_ddim(predict, x, schedule, noise, times=times, ops=table))
    x[...] = another_start   # into the array that the loop begins with
    data = replay()          # always the same array: copy what is to be kept

What is baked in. The graph repeats the launches it has seen, with the arguments they had. The
addresses of all arrays: write new inputs into the old arrays. All numbers: levels, step sizes,
guidance. And the noise's address, seed and place: every replay draws what the first run drew. A
deterministic sampler (DDIM with eta 0) needs no more than a new start; one that draws gives each
start the same noise, so for independent samples capture it again, at another place.

What the loop must not do. Nothing may come from ordinary memory or go there, and nobody may look at
a number while it is captured: put times and weights on the device before. Every launch must go to
CuPy's current stream; Numba's go to the default stream, where no capture sees them.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from refgen.typing import Array
from refgen_kernels.device.machine import status

Loop = Callable[[], Any]  # an array of CuPy


class Graph:
    """A captured loop. Calling it replays the loop on CuPy's current stream."""

    def __init__(self, graph: Any, result: Array, pool: Any) -> None:
        self.graph, self.result = graph, result
        self.pool = pool  # the memory that the launches write to; nobody else draws from it

    def __call__(self) -> Array:
        """Ask for the loop; return the array that it writes, always the same one."""
        self.graph.launch()
        return self.result


def capture(loop: Loop) -> Graph:
    """Run a loop, capture it, replay it, and return the graph if both gave the same bits.

    The first run compiles kernels and fills the memory pool. Raises RuntimeError where there is no
    device, where the loop does what cannot be captured, or where the replay gives something else.
    """
    if (state := status()) != "ok":
        raise RuntimeError(f"a graph is captured on a GPU: {state}")
    cupy: Any = importlib.import_module("cupy")
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.Device().synchronize()  # whatever the loop reads has been written
    with cupy.cuda.using_allocator(pool.malloc), stream:
        wanted = loop().get()
        stream.synchronize()
        graph, result = _captured(stream, loop)
        result.data.memset_async(0xFF, result.nbytes)
        graph.launch()
        stream.synchronize()
    if not np.array_equal(wanted.view(np.uint8), result.get().view(np.uint8)):
        raise RuntimeError(
            "a replay gives something else than the loop: not all of it runs on CuPy's current "
            "stream (Numba's kernels do not), or it writes to what it reads"
        )
    return Graph(graph, result, pool)


def _captured(stream: Any, loop: Loop) -> tuple[Any, Any]:
    """Return the graph of a loop and the array that it writes."""
    stream.begin_capture()
    try:
        result = loop()
    except Exception as error:
        try:
            stream.end_capture()
        except Exception as broken:  # it says no more than that the capture was broken
            error.add_note(str(broken))
        raise RuntimeError(
            f"the loop cannot be captured: {error}; in a graph nothing comes from ordinary memory "
            "or goes there, so put times and weights on the device before"
        ) from error
    return stream.end_capture(), result
