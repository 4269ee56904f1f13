"""Timing that can be believed: alternate, wait for an idle machine, take medians of rounds.

A round runs one block of every contender, A B C, then again A B C; a block is a few hundredths
of a second, or one call of what takes longer. A block in which other processes worked is
repeated; where that did not help, its round is noisy (timing.py).
"""

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS, environment
from benchmarks.machine import ROOT, SHARE, TICKS, busy_ticks, process_ticks, wait_until_idle
from benchmarks.timing import Timing

BLOCK_S = 0.03
SLOW_S = 0.1  # a call that takes longer is its own warming up
RETRIES = 5


class Worker:
    """A contender's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", CONTENDERS[name].module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment(name),
        )

    def ask(self, *command: Any) -> Any:
        """Send a command and wait for its answer. Raises RuntimeError where it failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "its process has ended"}
        if isinstance(answer, dict) and "failed" in answer:
            raise RuntimeError(f"{self.name}: {answer['failed']}")
        return answer

    def close(self) -> None:
        """End the process by ending what it reads."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()
        self.process.stdout.close()


def run(
    case: Case, workers: list[Worker], rounds: int, patience_s: float
) -> tuple[dict[str, Timing], list[str]]:
    """Judge every contender, then time those that are right; return (timings, who is left out).

    patience_s is how long each may wait for an idle machine, and how long all rounds of a slow one
    may take: it takes part in fewer, in one at least.
    """
    timings: dict[str, Timing] = {}
    seconds: dict[str, float] = {}
    absent = []
    with tempfile.TemporaryDirectory() as folder:
        for worker in (w for w in workers if CONTENDERS[w.name].takes(case)):
            try:
                loaded = worker.ask("load", case.key, folder)
            except RuntimeError as failure:
                absent.append(str(failure))
                continue
            if "skipped" in loaded:
                absent.append(f"{worker.name}: {loaded['skipped']}")
                continue
            seconds[worker.name] = loaded.pop("seconds")
            timings[worker.name] = Timing(**loaded)
    ready = [w for w in workers if w.name in timings and timings[w.name].right]
    deadline = time.monotonic() + patience_s * len(ready)
    for i in range(rounds):
        for worker in ready:
            if i and (i + 1) * seconds[worker.name] > patience_s:
                continue
            taken, noisy = _block(worker, seconds[worker.name], deadline)
            seconds[worker.name] = min(seconds[worker.name], taken)
            timings[worker.name].seconds.append(taken)
            timings[worker.name].noisy.append(noisy)
    return timings, absent


def _block(worker: Worker, seconds: float, deadline: float) -> tuple[float, bool]:
    """Time one block, again while others disturb it and patience lasts; (seconds a call, noisy)."""
    calls, warm = max(1, int(BLOCK_S / max(seconds, 1e-7))), int(seconds < SLOW_S)
    for _ in range(RETRIES):
        wait_until_idle(max(0.0, min(10.0, deadline - time.monotonic())))
        all_before = busy_ticks()
        own_before = process_ticks(worker.process.pid) if all_before is not None else 0
        taken = float(worker.ask("run", calls, warm))
        all_after = busy_ticks()
        if all_before is None or all_after is None:
            return taken, False
        own = process_ticks(worker.process.pid) - own_before
        others, long = all_after - all_before - own, 100 * taken * (calls + warm)
        noisy = others > max(TICKS, SHARE * long)
        if not noisy or time.monotonic() > deadline:
            break
    return taken, noisy
