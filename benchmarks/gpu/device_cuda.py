"""A GPU, as CuPy sees it for the kernels of refgen, and as PyTorch sees it for its own."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.calls import Call, Skipped
from benchmarks.cases import Shape
from refgen.typing import Array

FLUSHES = 4  # times the size of the L2 is written to empty it
SHOWN = {  # CuPy's name of an attribute -> what it is called in the result
    "MultiProcessorCount": "multiprocessors",
    "L2CacheSize": "l2_bytes",
    "ClockRate": "clock_khz",
    "MemoryClockRate": "memory_clock_khz",
}


class Cupy:
    """The GPU as CuPy sees it; ungraphed says why launches cannot be captured, where they cannot.

    Everything runs on the default stream, where Numba's kernels run as well.
    """

    def __init__(self, ungraphed: str = "") -> None:
        self.cupy: Any = importlib.import_module("cupy")
        self.kind: type = self.cupy.ndarray
        self.ungraphed = ungraphed
        size = FLUSHES * int(self.cupy.cuda.Device().attributes["L2CacheSize"])
        self.other: Any = self.cupy.empty(max(size, 2**26), np.uint8)

    def about(self) -> dict[str, Any]:
        """Say what it is."""
        runtime, device = self.cupy.cuda.runtime, self.cupy.cuda.Device()
        found = {shown: device.attributes.get(name) for name, shown in SHOWN.items()}
        name = runtime.getDeviceProperties(device.id)["name"].decode()
        driver = {"driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion()}
        capability = device.compute_capability
        memory = device.mem_info[1]
        return {"name": name, "capability": capability, "memory_bytes": memory, **driver, **found}

    def event(self) -> Any:
        """Return a mark that can be set."""
        return self.cupy.cuda.Event()

    def record(self, event: Any) -> None:
        """Set a mark behind all work that was asked for so far."""
        event.record()

    def seconds(self, start: Any, end: Any) -> float:
        """Return the time between two marks that the device has passed."""
        return float(self.cupy.cuda.get_elapsed_time(start, end)) / 1e3

    def synchronize(self) -> None:
        """Wait for all work."""
        self.cupy.cuda.Device().synchronize()

    def flush(self) -> None:
        """Write four times as much as the L2 holds."""
        self.other.data.memset_async(0, self.other.nbytes)

    def poison(self, shapes: Sequence[Shape]) -> None:
        """Leave NaN in the blocks of the memory pool that the next results get."""
        blocks = [self.cupy.empty(shape, np.float32) for shape in shapes]
        for block in blocks:
            block.data.memset_async(0xFF, block.nbytes)

    def release(self) -> None:
        """Give memory back that nobody uses."""
        self.cupy.get_default_memory_pool().free_all_blocks()
        self.cupy.get_default_pinned_memory_pool().free_all_blocks()

    def held(self, a: Any) -> Array:
        """Return a copy in page-locked memory."""
        empty: Callable[..., Array] = importlib.import_module("cupyx").empty_pinned
        copy = empty(a.shape, a.dtype)
        copy[...] = a.get()
        return copy

    def upload(self, held: Array, there: Any) -> None:
        """Ask for a copy from outside."""
        there.data.copy_from_host_async(held.ctypes.data, held.nbytes)

    def download(self, there: Any, held: Array) -> None:
        """Ask for a copy to outside."""
        there.get(out=held, blocking=False)

    def capture(self, call: Call) -> Call:
        """Return a call as one graph."""
        if self.ungraphed:
            raise Skipped(self.ungraphed)
        graph: Any = importlib.import_module("refgen_kernels.cupy_cuda.graph")
        replay: Call = graph.capture(call)
        return replay


class Torch:
    """The GPU as PyTorch sees it."""

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        if not self.torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {self.torch.__version__} sees no CUDA device")
        self.kind: type = self.torch.Tensor
        properties = self.torch.cuda.get_device_properties(0)
        size = FLUSHES * int(getattr(properties, "L2_cache_size", 2**26))
        self.other: Any = self.torch.empty(max(size, 2**26), dtype=self.torch.uint8, device="cuda")

    def about(self) -> dict[str, Any]:
        """Say what it is."""
        cudnn = self.torch.backends.cudnn
        return {"name": self.torch.cuda.get_device_name(), "cudnn": cudnn.version()}

    def event(self) -> Any:
        """Return a mark that can be set."""
        return self.torch.cuda.Event(enable_timing=True)

    def record(self, event: Any) -> None:
        """Set a mark behind all work that was asked for so far."""
        event.record()

    def seconds(self, start: Any, end: Any) -> float:
        """Return the time between two marks that the device has passed."""
        return float(start.elapsed_time(end)) / 1e3

    def synchronize(self) -> None:
        """Wait for all work."""
        self.torch.cuda.synchronize()

    def flush(self) -> None:
        """Write four times as much as the L2 holds."""
        self.other.zero_()

    def poison(self, shapes: Sequence[Shape]) -> None:
        """Leave NaN in the blocks that the next results get."""
        _ = [self.torch.full(shape, float("nan"), device="cuda") for shape in shapes]

    def release(self) -> None:
        """Give memory back that nobody uses."""
        self.torch.cuda.empty_cache()

    def held(self, a: Any) -> Any:
        """Return a copy in page-locked memory."""
        return a.detach().cpu().pin_memory()

    def upload(self, held: Any, there: Any) -> None:
        """Ask for a copy from outside; a graph of autograd that holds the tensor stays valid."""
        there.data.copy_(held, non_blocking=True)

    def download(self, there: Any, held: Any) -> None:
        """Ask for a copy to outside."""
        held.copy_(there.detach(), non_blocking=True)

    def capture(self, call: Call) -> Call:
        """Return a call as one graph, after three calls on a stream of their own."""
        cuda, side = self.torch.cuda, self.torch.cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):
                call()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            call()
        replay: Call = graph.replay
        return replay
