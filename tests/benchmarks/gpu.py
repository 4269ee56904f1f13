"""What the tests of the GPU's benchmark share."""

import pytest

from benchmarks.cases import Case
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.contender import Twins
from benchmarks.gpu.device import Host
from benchmarks.gpu.duel import Found
from benchmarks.gpu.server import Server
from benchmarks.gpu.worker import Local
from benchmarks.timing import Timing
from tests.kernels.cuda.host import compiler

NOISING = Case("noising", "drawn", {"N": 4, "S": (5, 7)})
LONG = Case("noising", "drawn", {"N": 16, "S": (125,)}, sweep=True)
DDPM = Case("ddpm_step", "drawn", {"N": 3, "S": (5,)})
NORMALS = Case("normals", "", {"N": 700})
BACK = Case("reparameterize_kl", "backward", {"N": 3, "D": 5})
CASES = {case.key: case for case in (NOISING, LONG, DDPM, NORMALS, BACK)}
KEYS = (
    "op case dtype backend error median_s ratio_reference ratio_torch_eager ratio_torch_best "
    "percent_of_limit limit kernel_cold_s kernel_warm_s kernel_graph_s h2d_s d2h_s end_to_end_s"
).split()
LIMITS = {"copy_bytes_per_s": 1e9, "fp32_flops": 1e12, "matmul_tf32_flops": 8e12}
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")


def clock(device=None):
    return Clock(device or Host(2**12), warm_s=0.0, block_s=1e-4, cold_calls=3)


def local(name, table, cold=True):
    return Local(name, Server(Twins(name, table, Host(2**12)), clock(), CASES, cold))


def found(seconds, *, cold=True, **about):
    """Return what a contender may have found, the same in every round."""
    timing = Timing(1e-7, 1e-6, "page", [seconds] * 3, [False] * 3, about)
    nothing = Timing(1e-7, 1e-6, "page", about=about)
    return Found(timing, timing if cold else nothing)
