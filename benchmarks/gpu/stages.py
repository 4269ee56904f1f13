"""The stages of a whole run on a GPU: what is started, and what is read from what it prints."""

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = dict[str, Any]
SPARE_S = 20.0  # that the benchmark is given to end by itself
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?|deselected|xfailed)")
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: .*")
TOLD = re.compile(r"^(\S+::.*?) (PASSED|FAILED|SKIPPED|ERROR)\b", re.M)
WEIGHTS = {"tests": 28.0, "benchmark": 44.0, "equality": 10.0, "memcheck": 12.0, "racecheck": 6.0}
PYTEST = ("-v", "--tb=short", "--color=no", "-p", "no:cacheprovider", "-m", "gpu and not slow")
TESTS = "tests/kernels/cuda/test_gpu.py"
BACKENDS = "cupy,numba-cuda"


@dataclass(frozen=True)
class Stage:
    """A process to start; its limit in seconds may be infinite."""

    name: str
    command: Callable[[float], list[str]]  # of the seconds it may take
    read: Callable[[str], Found] = lambda text: {}
    missing: str = ""  # why it cannot be started


def stages(folder: Path, quick: bool) -> list[Stage]:
    """Return all stages in the order of their importance; the folder takes what they write."""
    return [
        Stage("tests", lambda seconds: _python("pytest", *PYTEST, TESTS), counted),
        Stage("benchmark", lambda seconds: _benchmark(folder, quick, seconds)),
        Stage("equality", lambda seconds: _equality(quick, seconds), last_json),
        _sanitizer("memcheck"),
        _sanitizer("racecheck"),
    ]


def benchmark_file(folder: Path) -> Path:
    """Return where the benchmark leaves its figures."""
    return folder / "benchmark.json"


def counted(text: str) -> Found:
    r"""Return how many tests passed, failed and so on, and which failed; also of a run cut short.

    >>> counted("a.py::b PASSED [1%]\na.py::c[d e] FAILED [2%]\n1 failed, 1 passed in 4.56s")
    {'failed': 1, 'passed': 1, 'failing': ['a.py::c[d e]']}
    >>> counted("a.py::b PASSED [1%]\na.py::c")
    {'passed': 1}
    """
    told = TOLD.findall(text)
    ended = [line for line in text.splitlines() if COUNTED.search(line) and " in " in line]
    if ended:
        found: Found = {word: int(count) for count, word in COUNTED.findall(ended[-1])}
    else:
        found = dict(Counter(word.lower() for _, word in told))
    failing = [name for name, word in told if word in ("FAILED", "ERROR")]
    return found | ({"failing": failing} if failing else {})


def last_json(text: str) -> Found:
    """Return the JSON object in the last line that holds one, {} where there is none."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found: Found = json.loads(line)
            except ValueError:
                continue
            return found
    return {}


def summary(text: str) -> Found:
    """Return what compute-sanitizer says at its end.

    >>> summary("========= ERROR SUMMARY: 0 errors")
    {'summary': 'ERROR SUMMARY: 0 errors'}
    """
    said = SUMMARY.findall(text)
    return {"summary": said[-1]} if said else {}


def _benchmark(folder: Path, quick: bool, seconds: float) -> list[str]:
    command = _python("benchmarks", "--backend", BACKENDS, "--json", str(benchmark_file(folder)))
    minutes = ["--minutes", f"{max(seconds - SPARE_S, 1.0) / 60:.2f}"] * (seconds < float("inf"))
    return [*command, *(["--quick"] * quick), *minutes]


def _equality(quick: bool, seconds: float) -> list[str]:
    few = ["--words", "100000000", "--normals", "10000000"] * quick
    limit = ["--seconds", f"{0.8 * seconds:.0f}"] * (seconds < float("inf"))
    return [*_python("benchmarks.gpu.equality", "--backend", BACKENDS), *few, *limit]


def _sanitizer(tool: str) -> Stage:
    found = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    missing = "" if found else "compute-sanitizer is not on the PATH; the CUDA toolkit brings it"
    watched = _python("benchmarks.gpu.small", "--backend", BACKENDS)

    def command(seconds: float) -> list[str]:
        return [found or "compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *watched]

    return Stage(tool, command, summary, missing)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
