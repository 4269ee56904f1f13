"""One contender in a process of its own: pools of threads do not share a process gladly.

Reads one JSON list a line, answers one JSON value a line:
    ["versions"]    name -> version of what it runs on
    ["load", key]   build the case, judge it; {"error", "allowed", "seconds"} of one call
    ["run", n]      seconds a call, mean of n after one more to warm up
"""

import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.cases import BY_KEY
from benchmarks.judge import judge


def main(name: str) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    contender = importlib.import_module(f"benchmarks.contenders_{name}")
    call: Callable[[], Any] = time.perf_counter
    gc.disable()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer: Any = None
        try:
            if command == "versions":
                answer = {v: importlib.metadata.version(v) for v in contender.VERSIONS}
            elif command == "load":
                case = BY_KEY[arguments[0]]
                call = contender.prepare(case, case.arrays())
                found = contender.results(case, call)
                error, allowed = (None, None) if found is None else judge(case, *found)
                del found
                gc.collect()
                answer = {"error": error, "allowed": allowed, "seconds": _fastest(call)}
            elif command == "run":
                answer = _mean(call, int(arguments[0]))
        except Exception as failure:
            answer = {"failed": f"{type(failure).__name__}: {failure}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _fastest(call: Callable[[], Any]) -> float:
    call()
    return min(_mean(call, 1) for _ in range(3))


def _mean(call: Callable[[], Any], count: int) -> float:
    call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main(sys.argv[1])
