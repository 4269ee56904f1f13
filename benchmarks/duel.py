"""Timing that can be believed: alternate, wait for an idle machine, take medians of rounds.

A round runs one block of every contender, A B C, then again A B C; a block is a few hundredths
of a second. What slows the machine for a while then slows all, and ratios are formed within a
round. A block in which other processes worked is repeated; a round in which that did not help
is noisy, and counts only where fewer than three are quiet.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import Case
from benchmarks.machine import ROOT, TICKS, busy_ticks, process_ticks, wait_until_idle

BLOCK_S = 0.03
RETRIES = 5
ENOUGH = 3  # quiet rounds, to do without the noisy ones
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
CONTENDERS: dict[str, tuple[str, dict[str, str]]] = {  # name -> (module, environment)
    "numpy": ("numpy", {}),
    "numba": ("numba", {}),
    "torch": ("torch", {}),
    "torch-malloc": ("torch", MALLOC),  # keeps freed memory: no page faults on fresh results
    "torch-compile": ("torch", {"TORCH_COMPILE": "1", **MALLOC}),
    "limit": ("limit", {}),
}


class Worker:
    """A contender's process."""

    def __init__(self, name: str) -> None:
        module, extra = CONTENDERS[name]
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **extra},
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
        answer = json.loads(line) if line else {"failed": f"{self.name} is not installed here"}
        if isinstance(answer, dict) and "failed" in answer:
            raise RuntimeError(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process by ending what it reads."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()


@dataclass
class Timing:
    """What one contender did in one case."""

    error: float | None
    allowed: float | None
    seconds: list[float] = field(default_factory=list)  # a call, one entry a round
    noisy: list[bool] = field(default_factory=list)  # whether others disturbed that round

    @property
    def right(self) -> bool:
        """Whether it computes what it should."""
        return self.error is None or self.allowed is None or self.error <= self.allowed

    @property
    def median(self) -> float:
        """Seconds a call, over the rounds that count."""
        return statistics.median(self.seconds[i] for i in counted(self))


def counted(*timings: Timing) -> list[int]:
    """Return the rounds in which nobody disturbed any of these; all rounds if fewer than three."""
    quiet = [
        i for i, noisy in enumerate(zip(*(t.noisy for t in timings), strict=True)) if not any(noisy)
    ]
    return quiet if len(quiet) >= ENOUGH else list(range(len(timings[0].seconds)))


def ratios(slower: Timing, faster: Timing) -> list[float]:
    """Return how many times faster the second was, in each round that counts, sorted."""
    return sorted(slower.seconds[i] / faster.seconds[i] for i in counted(slower, faster))


def run(case: Case, workers: list[Worker], rounds: int, patience_s: float) -> dict[str, Timing]:
    """Judge every contender, then time those that are right; one that fails is left out."""
    timings, calls = {}, {}
    for worker in workers:
        try:
            loaded = worker.ask("load", case.key)
        except RuntimeError as failure:
            print(f"{case.key}: {worker.name}: {failure}", file=sys.stderr)
            continue
        timings[worker.name] = Timing(loaded["error"], loaded["allowed"])
        calls[worker.name] = max(1, int(BLOCK_S / max(loaded["seconds"], 1e-7)))
    ready = [w for w in workers if w.name in timings and timings[w.name].right]
    deadline = time.monotonic() + patience_s
    for _ in range(rounds):
        for worker in ready:
            seconds, noisy = _block(worker, calls[worker.name], deadline)
            timings[worker.name].seconds.append(seconds)
            timings[worker.name].noisy.append(noisy)
    return timings


def _block(worker: Worker, calls: int, deadline: float) -> tuple[float, bool]:
    """Time one block, again while others disturb it and patience lasts; (seconds, noisy)."""
    for _ in range(RETRIES):
        wait_until_idle(max(0.0, min(10.0, deadline - time.monotonic())))
        all_before = busy_ticks()
        own_before = process_ticks(worker.process.pid) if all_before is not None else 0
        seconds = float(worker.ask("run", calls))
        all_after = busy_ticks()
        if all_before is None or all_after is None:
            return seconds, False
        own = process_ticks(worker.process.pid) - own_before
        noisy = all_after - all_before - own > TICKS
        if not noisy or time.monotonic() > deadline:
            break
    return seconds, noisy
