"""Products of tiles on narrower instruction sets than this CPU's: right there too, and vectors."""

import json
import os
import re
import subprocess
import sys

import pytest

from refgen_kernels.numba_cpu import build
from tests.kernels.test_numba_cpu_build import ABLE

# Judge one op of each kind in a process of its own; print the code of the product's loop.
SCRIPT = """
import json
import numba
import numpy as np
from refgen_kernels.numba_cpu import attention, build, conv, dense, matrices, tile
from tests.kernels.judging import assert_as_accurate

attention.SHORT = conv.SHORT = dense.SHORT = dense.THIN = 0
rng = np.random.default_rng(0)
a = lambda *shape: rng.normal(size=shape).astype(np.float32)
filters = {"x": a(2, 7, 9, 48), "w": a(3, 3, 48, 32), "b": a(32)}
assert_as_accurate("dense", {"x": a(37, 21), "w": a(21, 50), "b": a(50)}, {})
assert_as_accurate("conv2d", filters, {"padding": 1}, share_of_std=1e-4)
assert_as_accurate("conv2d", filters, {"stride": 2, "padding": 1})
norms = {"x": a(2, 5, 24) + 100, "gamma": a(24), "beta": a(24)}
assert_as_accurate("group_norm_silu", norms, {"groups": 8})
tokens = {"q": a(1, 19, 32), "k": a(1, 21, 32), "v": a(1, 21, 32)}
assert_as_accurate("attention", tokens, {"heads": 2})
product = matrices._product.serial
fresh = numba.njit(product.py_func)  # what comes from the cache does not show its code
fresh.compile(product.signatures[0])
code = "".join(fresh.inspect_asm().values())
print(json.dumps({"target": build.TARGET, "rows": tile.ROWS, "code": code}))
"""
WIDEST = {"avx512": "zmm", "avx2": "ymm", "plain": "xmm"}


@pytest.fixture(scope="module", params=ABLE)
def found(request):
    """Return what the script prints for a target; compiled code is kept as for any user."""
    env = {**os.environ, "REFGEN_TARGET": request.param, "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.xdist_group("targets")
def test_tiles_are_right_on_every_instruction_set(found):
    assert found["target"] in ABLE


@pytest.mark.xdist_group("targets")
def test_the_inner_loop_of_a_product_is_vectors_from_end_to_end(found):
    """Of the widest tile: as many multiplications as results, and nothing is put aside."""
    register = WIDEST[found["target"]]
    multiply = "mulps" if found["target"] == "plain" else "vfmadd231ps"
    bodies = re.findall(r"refgen_tile_(\d+)_(\d+)_0:\n(.*?)\n\s*ret[ql]?\n", found["code"], re.S)
    rows, vectors, body = max(bodies, key=lambda b: int(b[0]) * int(b[1]))
    assert int(rows) == found["rows"]
    registers = {"zmm": 1, "ymm": 2, "xmm": 4}[register]
    loops = re.findall(r"(\.LBB\d+_\d+):\n((?:(?!\.LBB\d+_\d+:).)*?)j\w+\s+\1\n", body, re.S)
    inner = max((b for _, b in loops), key=lambda b: b.count(multiply))
    wanted = int(rows) * int(vectors) * registers
    done = len(re.findall(rf"{multiply}[^\n]*%{register}", inner))
    assert done in (wanted, 2 * wanted, 4 * wanted), "one step, or several unrolled"
    assert not re.search(rf"mov\w*\s+%{register}\d+, [-\d]*\(%rsp\)", inner), "a register spills"


def test_the_target_of_this_process_is_the_widest():
    assert build.TARGET == ABLE[0]
