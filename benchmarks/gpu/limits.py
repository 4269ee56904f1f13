"""What the device can do at most, measured in the same run.

Memory: a large array copied into another, by the driver and by a kernel, the better of both;
bytes read and written count. Arithmetic: fused multiply-adds in registers, and products of
matrices by PyTorch in fp32, TF32 and bf16. The bus: page-locked memory to the device and back.
Random numbers, since products of zeros are faster.
"""

from typing import Any

import numpy as np

from benchmarks.gpu.clock import Clock
from refgen_kernels.device import machine

THREADS, CHAINS, UNROLLED = 256, 8, 16
BLOCKS_EACH = 8  # of a multiprocessor
ROUNDS = 5
TEXT = """
// Copies four floats at a time.
extern "C" __global__ void copy_floats(const float* from, float* to, int fours) {
  const int step = gridDim.x * blockDim.x;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < fours; i += step)
    reinterpret_cast<float4*>(to)[i] = reinterpret_cast<const float4*>(from)[i];
}

// Eight chains of fused multiply-adds, which no compiler can shorten.
extern "C" __global__ void multiply_add(float* sums, float a, float b, int rounds) {
  float s[8];
  for (int k = 0; k < 8; ++k) s[k] = (float)(threadIdx.x + k);
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int u = 0; u < 16; ++u) {
#pragma unroll
      for (int k = 0; k < 8; ++k) s[k] = fmaf(s[k], a, b);
    }
  }
  sums[blockIdx.x * blockDim.x + threadIdx.x] =
      ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}
"""


def limits(
    clock: Clock, who: Any, size: int = 2**28, rounds: int = 4096, side: int = 8192
) -> dict[str, float]:
    """Return name -> bytes or FLOPs a second, and the seconds of a launch; size counts floats."""
    if hasattr(who, "torch"):
        return _products(clock, who.torch, who.where, side)
    return {**_memory(clock, who.table, size), **_arithmetic(clock, who.table, rounds)}


def _memory(clock: Clock, table: Any, size: int) -> dict[str, float]:
    device, copy = clock.device, machine().module(TEXT).get_function("copy_floats")
    ordinary = np.random.default_rng(0).random(size, np.float32)
    a, b = table.put(ordinary), machine().empty((size,), np.float32)
    held = device.held(a)
    blocks = (min(-(-size // (4 * THREADS)), 2**16),)

    def by_kernel() -> None:
        copy(blocks, (THREADS,), (a, b, np.int32(size // 4)))

    def nothing() -> None:
        copy((1,), (THREADS,), (a, b, np.int32(0)))

    ways = [by_kernel]
    if hasattr(b.data, "copy_from_device_async"):
        ways.append(lambda: b.data.copy_from_device_async(a.data, a.nbytes))  # type: ignore[attr-defined]
    fastest = min(_fastest(clock, way) for way in ways)
    return {
        "copy_bytes_per_s": 2 * a.nbytes / fastest,
        "h2d_bytes_per_s": a.nbytes / _fastest(clock, lambda: device.upload(held, a)),
        "d2h_bytes_per_s": a.nbytes / _fastest(clock, lambda: device.download(a, held)),
        "launch_s": _fastest(clock, nothing),
    }


def _arithmetic(clock: Clock, table: Any, rounds: int) -> dict[str, float]:
    multiply = machine().module(TEXT).get_function("multiply_add")
    blocks = BLOCKS_EACH * int(clock.device.about().get("multiprocessors", 1))
    sums = machine().empty((blocks * THREADS,), np.float32)
    given = sums, np.float32(0.5), np.float32(0.25), np.int32(rounds)
    taken = _fastest(clock, lambda: multiply((blocks,), (THREADS,), given))
    return {"fp32_flops": 2.0 * CHAINS * UNROLLED * rounds * blocks * THREADS / taken}


def _products(clock: Clock, torch: Any, where: str, side: int) -> dict[str, float]:
    """Measure products of square matrices; the precision of the contender stays what it was."""
    found, before = {}, torch.backends.cuda.matmul.allow_tf32
    ways = (("fp32", False), ("tf32", True), ("bf16", True))
    for name, tensor_cores in ways:
        torch.backends.cuda.matmul.allow_tf32 = tensor_cores
        kind = torch.bfloat16 if name == "bf16" else torch.float32
        a, b = (torch.randn(side, side, device=where, dtype=kind) for _ in range(2))
        found[f"matmul_{name}_flops"] = 2.0 * side**3 / _fastest(clock, lambda a=a, b=b: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = before
    return found


def _fastest(clock: Clock, call: Any) -> float:
    """Return the least of some medians, once the clocks have risen."""
    taken = clock.settle(call)
    return min(clock.warm(call, taken) for _ in range(ROUNDS))
