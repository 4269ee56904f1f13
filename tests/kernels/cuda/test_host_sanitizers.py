"""Sanitizers see into .cu files: what they report, and that they report nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.cuda import host
from tests.kernels.cuda.test_host import EXAMPLE, line, source

pytestmark = [
    pytest.mark.skipif(host.compiler() is None, reason="no g++, which runs .cu files here"),
    pytest.mark.xdist_group("sanitizers"),
]
ROOT = Path(__file__).parents[3]

# Run in a process of its own, told a text, a sanitizer and a kernel of example.cu.
SCRIPT = """
import json, sys
import numpy as np
from tests.kernels.cuda import host

f32, i32 = np.float32, np.int32
text, sanitize, name = json.loads(sys.stdin.read())
module = host.HostModule(text, sanitize=sanitize)

def run(name, grid, block, *args, shared_mem=0):
    module.get_function(name)((grid,), (block,), args, shared_mem=shared_mem)

def run_right_kernels():
    x, y = np.arange(600, dtype=f32).reshape(2, 300), np.zeros(2, f32)
    run("row_sums", 2, 128, x, y, i32(300))
    assert (y == x.sum(axis=1)).all()
    run("double_fours", 2, 80, x, x.copy(), i32(150))
    a, b = np.arange(48, dtype=f32), np.zeros(48, f32)
    run("rotate", 1, 48, a, b, i32(5), shared_mem=192)
    assert (b == np.roll(a, -5)).all()
    numbers, counts = np.arange(100, dtype=i32) % 7, np.zeros(7, i32)
    run("histogram", 3, 32, numbers, counts, i32(100), i32(7), shared_mem=28)
    assert counts.sum() == 100
    ones, d = np.ones((16, 8), f32), np.zeros((16, 8), f32)
    run("product_tf32", 1, 32, ones, ones[:8].copy(), d)
    assert (d == 8).all()

def run_one(name):
    n = 2 if name == "rotate" else 32
    run(name, 2, 32, np.zeros(32, f32), np.zeros(32, f32), i32(n), shared_mem=128)

if name == "all":
    for module.order in host.ORDERS:
        try:
            run_one("divergent")  # what is left behind is no race with what follows
        except host.LaunchError:
            run_right_kernels()
else:
    run_one(name)
print("ended")
"""


def sanitized(sanitize, name, text=None):
    """Run a kernel in a process of its own; return what it wrote and whether it ended."""
    try:
        environment, prefix = host.sanitized_environment(sanitize)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing}, which the {sanitize} sanitizer needs")
    done = subprocess.run(
        [*prefix, sys.executable, "-W", "error", "-c", SCRIPT],
        input=json.dumps([text or source(EXAMPLE), sanitize, name]),
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr, done.stdout == "ended\n"


@pytest.mark.parametrize("sanitize", ["address", "thread"])
def test_sanitizers_are_silent_about_right_kernels(sanitize):
    written, ended = sanitized(sanitize, "all")
    assert ended, written
    assert not any(word in written for word in ("example.cu", "Sanitizer:", "runtime error"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("outside_global", "heap-buffer-overflow"),
        ("outside_static", "runtime error: index 32 out of bounds for type 'float [32]'"),
        ("outside_template", "global-buffer-overflow"),
        ("outside_dynamic", "use-after-poison"),
        ("misaligned", "misaligned address"),
    ],
)
def test_a_bad_access_is_reported_with_its_line(name, message):
    written, ended = sanitized("address", name)
    assert not ended
    assert message in written
    assert f"example.cu:{line(name)}" in written


@pytest.mark.parametrize(
    "barrier", ["__syncthreads();  // all is written", "__syncthreads();  // all is read"]
)
def test_a_missing_barrier_is_reported_with_the_lines_of_both_accesses(barrier):
    assert source(EXAMPLE).count(barrier) == 1
    written, _ = sanitized("thread", "rotate", source(EXAMPLE).replace(barrier, ""))
    lines = EXAMPLE.read_text().splitlines()
    write, read = (
        next(n for n, one in enumerate(lines, 1) if one.strip().startswith(start))
        for start in ("tile[threadIdx.x] = mine;", "mine = tile[")
    )
    assert "ThreadSanitizer: data race" in written
    assert f"example.cu:{write}" in written
    assert f"example.cu:{read}" in written


def test_a_kernel_that_has_lost_all_its_barriers_is_a_race_too():
    """No thread waits then, and one after the other they run to their end: still not in order."""
    text = source(EXAMPLE)
    for barrier in ("__syncthreads();  // all is written", "__syncthreads();  // all is read"):
        text = text.replace(barrier, "")
    written, _ = sanitized("thread", "rotate", text)
    assert "ThreadSanitizer: data race" in written
