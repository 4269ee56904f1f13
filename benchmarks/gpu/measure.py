"""A run of the benchmark on a GPU: who takes part, and case after case."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import Case
from benchmarks.gpu import duel as gpu_duel
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.contenders import HOSTS, SEATS
from benchmarks.gpu.duel import Found
from benchmarks.gpu.goals import goals
from benchmarks.gpu.report import crossings, rows_of
from benchmarks.gpu.worker import Worker
from benchmarks.machine import environment
from benchmarks.report import SCHEMA

STARTING_S = 120.0  # for imports, and for the limits


@dataclass
class Measured:
    """What a run has so far."""

    cases: list[tuple[Case, dict[str, Found]]] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=environment)
    absent: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return everything that the JSON holds."""
        rows = [row for case, found in self.cases for row in rows_of(case, found, self.limits)]
        return {
            "schema": SCHEMA,
            "environment": self.about,
            "limits": self.limits,
            "goals": goals(rows),
            "crossings": crossings(rows),
            "absent": self.absent,
            "not_run": self.not_run,
            "rows": rows,
        }


def begin(workers: list[Worker], measured: Measured) -> list[str]:
    """Ask everybody who they are and what the device can do; return and leave out who cannot."""
    about, missing = measured.about, []
    about |= {"versions": {}, "device": {}, "contenders": {}}
    for worker in workers:
        worker.start()  # all at once: imports take seconds
    for worker in list(workers):
        try:
            said = worker.ask("about", timeout=STARTING_S)
            if worker.name in ("cupy", "torch"):
                measured.limits |= worker.ask("limits", timeout=STARTING_S)
        except RuntimeError as failure:
            print(f"benchmarks: {failure}; left out", file=sys.stderr)
            measured.absent.append(str(failure))
            missing.append(worker.name)
            workers.remove(worker)
            worker.close()
            continue
        about["versions"] |= said["versions"]
        about["contenders"][worker.name] = SEATS[worker.name].environment
        if worker.name not in HOSTS:
            about["device"] |= said["device"]
    return missing


def measure(
    cases: Sequence[Case],
    workers: Sequence[Worker],
    rounds: int,
    budget: Budget,
    measured: Measured,
    so_far: Callable[[], None] = lambda: None,
) -> None:
    """Measure case after case; begin none that is not likely to end in time.

    so_far is called after each.
    """
    began = budget.gone
    for i, case in enumerate(cases):
        each = (budget.gone - began) / i if i else 0.0
        if budget.left <= 1.5 * each:
            measured.not_run += [c.key for c in cases[i:]]
            print(f"time is up: {len(cases) - i} cases are not run", file=sys.stderr)
            return
        clock = time.strftime("%M:%S", time.gmtime(budget.gone))
        print(f"[{i + 1}/{len(cases)}] {case.key}  {clock} gone", file=sys.stderr)
        found, absent = gpu_duel.run(case, workers, rounds)
        for reason in absent:
            print(f"  left out: {reason}", file=sys.stderr)
        measured.absent += [f"{case.key}: {reason}" for reason in absent]
        measured.cases.append((case, found))
        so_far()
