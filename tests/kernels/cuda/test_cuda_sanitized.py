"""The same tests under sanitizers, Numba's twins in its simulator, and bugs that must be seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.cuda.host import sanitized_environment
from tests.kernels.cuda.mutants.__main__ import families, judge

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
TESTS = sorted(
    str(p.relative_to(ROOT))
    for p in HERE.glob("test_cuda_*.py")
    if p.stem not in ("test_cuda_sanitized", "test_cuda_compiles", "test_cuda_training")
)
EXAMPLES = {"address": "3", "thread": "2"}
PLANTED = [(family, m) for family, found in families().items() for m in found]


def sanitized(sanitize):
    """Return environment and first words of a sanitized process; skip where a tool is missing."""
    try:
        environment, first = sanitized_environment(sanitize)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing}, which the sanitizer needs")
    return environment | {"REFGEN_SANITIZE": sanitize, "REFGEN_EXAMPLES": EXAMPLES[sanitize]}, first


@pytest.mark.parametrize("tests", TESTS, ids=lambda path: Path(path).stem)
@pytest.mark.parametrize("sanitize", EXAMPLES)
def test_kernels_stay_in_bounds_and_do_not_race(sanitize, tests):
    """AddressSanitizer ends at the first report; ThreadSanitizer goes on, and speaks at the end."""
    environment, first = sanitized(sanitize)
    command = [*first, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-s", tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert "Sanitizer" not in said, said[-4000:]
    assert "runtime error" not in said, said[-4000:]
    assert done.returncode == 0, said[-4000:]
    assert " passed" in said


def test_numba_twins_are_right_in_the_simulator():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.kernels.cuda.simulated"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("ok  ") > 10


def test_there_are_bugs_of_every_kind_and_for_every_layer():
    kinds = {m.kind for _, m in PLANTED}
    layers = {m.layer for _, m in PLANTED}
    assert len(PLANTED) >= 25
    assert layers == {"host", "address", "thread", "nvrtc", "ptx", "simulator", "launch"}
    named = ("out of bounds", "missing barrier", "wrong stride", "float64 creep", "index overflow")
    for kind in (*named, "uninitialised shared memory", "wrong argument type"):
        assert any(kind in k for k in kinds), kind


def test_a_removed_barrier_is_seen():
    """One of a kind here; `-m slow`, or `python -m tests.kernels.cuda.mutants`, plants them all."""
    sanitized("thread")
    for layer in ("thread", "address"):
        family, mutant = next((f, m) for f, m in PLANTED if m.layer == layer)
        assert judge(family, mutant).caught, mutant


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "mutant"), PLANTED, ids=lambda part: part if isinstance(part, str) else part.kind
)
def test_a_planted_bug_is_caught(family, mutant):
    if mutant.layer in EXAMPLES:
        sanitized(mutant.layer)
    found = judge(family, mutant)
    assert found.caught, found.words
