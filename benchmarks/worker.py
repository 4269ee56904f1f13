"""One contender in a process of its own: pools of threads do not share a process gladly.

Reads one JSON list a line, answers one JSON value a line:
    ["versions"]            name -> version of what it runs on; "blas" -> the core and threads
    ["peak"]                FLOPs a second of the machine, of the limit only
    ["load", key, folder]   build the case, judge it; {"error", "allowed", "rule", "seconds" of a
                            call, "about"}, or {"skipped": why}; the folder keeps what is expected
    ["run", n, warm]        seconds a call, mean of n after `warm` more
"""

import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calls import Skipped
from benchmarks.judge import expect, expected_in, judge
from benchmarks.machine import blas
from benchmarks.sizes import BY_KEY

LONG_S = 0.3  # a call that takes longer is timed once to learn how long


def main(name: str) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    worker = Server(name)
    gc.disable()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            answer: Any = getattr(worker, command)(*arguments)
        except Skipped as reason:
            answer = {"skipped": str(reason)}
        except Exception as failure:
            answer = {"failed": f"{type(failure).__name__}: {failure}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Server:
    """What a contender can be asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Callable[[], Any] = time.perf_counter

    @property
    def contender(self) -> Any:
        """The module; importing it fails where what it needs is not installed."""
        return importlib.import_module(f"benchmarks.contenders_{self.name}")

    def versions(self) -> dict[str, Any]:
        """Name what it runs on."""
        found = {v: importlib.metadata.version(v) for v in self.contender.VERSIONS}
        return {**found, "blas": blas()} if self.name in ("numpy", "numba") else found

    def peak(self) -> float:
        """Measure the arithmetic."""
        return float(self.contender.peak())

    def load(self, key: str, folder: str) -> dict[str, Any]:
        """Build a case and judge it."""
        self.call = time.perf_counter  # lets go of the case before
        gc.collect()
        case = BY_KEY[key]
        self.call = self.contender.prepare(case)
        found, verdict = self.contender.results(case, self.call), None
        if found is not None:
            outputs, noise = found
            wanted = expected_in(Path(folder), case) if noise is None else expect(case, noise)
            twin = self.name in ("numpy", "numba")
            verdict = judge(case, outputs, noise, wanted, twin=twin)
            del outputs, noise, wanted
        del found
        gc.collect()
        answer = {} if verdict is None else verdict._asdict()
        return {**answer, "seconds": _fastest(self.call), "about": self.contender.about(case)}

    def run(self, count: int, warm: int) -> float:
        """Time a block of calls."""
        for _ in range(warm):
            self.call()
        return _mean(self.call, count)


def _fastest(call: Callable[[], Any]) -> float:
    first = _mean(call, 1)
    if first > LONG_S:
        return first
    return min(_mean(call, 1) for _ in range(3))


def _mean(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main(sys.argv[1])
