"""python -m benchmarks --backend cupy,numba-cuda: the benchmark on a GPU.

The same options as on a CPU, and --minutes: no case is begun after that. Exit codes: 0 all right,
1 a contender computes something else, 2 usage, 3 something is not installed, or no device.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.gpu import cases as gpu_cases
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.contenders import DEVICES, HOSTS, PRECISE, SLOW_TO_START, TORCH
from benchmarks.gpu.files import RESULTS, folder_of, keep, stem, write
from benchmarks.gpu.measure import Measured, begin, measure
from benchmarks.gpu.tables import table
from benchmarks.gpu.worker import Process, Worker
from benchmarks.report import text

ROUNDS = {True: 3, False: 5}  # quick, full


def wanted(names: Sequence[str]) -> bool:
    """Tell whether a list of backends asks for a GPU."""
    return any(name in DEVICES for name in names)


def command(options: argparse.Namespace, names: Sequence[str]) -> int:
    """Run the benchmark that the command line asks for."""
    there = [*DEVICES, *HOSTS]
    if unknown := [n for n in names if n not in there]:
        return _say(f"unknown backend {', '.join(unknown)}; there are {', '.join(there)}", 2)
    cases = gpu_cases.choose(options.op, options.quick)
    if not cases:
        ops = ", ".join(sorted({case.name for case in gpu_cases.ALL}))
        return _say(f"no op matches {options.op!r}; there are {ops}", 2)
    missing = {n: why for n, why in states(names).items() if why != "ok"}
    if set(DEVICES) & set(names) <= missing.keys():
        reasons = "; ".join(dict.fromkeys(missing.values()))
        return _say(f"--backend {','.join(missing)} cannot run here: {reasons}", 3)
    for name, why in missing.items():
        _say(f"{name} is left out: {why}", 3)
    mine = [seat for n in names if n not in missing for seat in (n, *PRECISE.get(n, ()))]
    seats = [*mine, *_torch(options.against, options.quick)]
    if "numba" not in seats and importlib.util.find_spec("numba"):
        seats.append("numba")
    minutes = options.minutes
    budget = Budget(None if minutes is None else 60 * minutes)
    workers: list[Worker] = [Process(name) for name in seats]
    target = Path(options.json) if options.json and options.json != "-" else None
    code = benchmark(cases, workers, ROUNDS[options.quick], budget, target, options.json == "-")
    return code or (3 if missing else 0)


def states(names: Sequence[str]) -> dict[str, str]:
    """Return backend -> "ok", or why it cannot run here."""
    try:
        kernels: Any = importlib.import_module("refgen_kernels")
    except ImportError as error:
        return dict.fromkeys(names, f'{error}; pip install -e "." brings it')
    found = kernels.available()
    return {name: found.get(name, "it is not in this version of refgen") for name in names}


def benchmark(
    cases: Sequence[Case],
    workers: list[Worker],
    rounds: int,
    budget: Budget,
    target: Path | None = None,
    on_stdout: bool = False,
) -> int:
    """Measure, print the table, write the figures; return the exit code.

    With a target what is known is written after every case, so that a run that is stopped from
    outside leaves something behind. Without one, and not on stdout, a whole run is kept.
    """
    measured, stopped, absent = Measured(), False, list[str]()

    def so_far() -> None:
        if target is not None:
            write(target, measured.document())

    try:
        absent = begin(workers, measured)
        measure(cases, workers, rounds, budget, measured, so_far)
    except KeyboardInterrupt:
        stopped = True
        _say("stopped; what follows was measured", 130)
    finally:
        for worker in workers:
            worker.close()
    found = measured.document()
    print(table(found["rows"]), file=sys.stderr if on_stdout else sys.stdout)
    if on_stdout:
        print(text(found))
    elif target is not None:
        write(target, found)
    elif len(cases) == len(gpu_cases.ALL) and not stopped:
        keep(
            found, RESULTS / folder_of(found["environment"]) / f"{stem(found['environment'])}.json"
        )
    if stopped:
        return 130
    if absent:
        return 3
    return 0 if all(row["right"] for row in found["rows"]) else 1


def _torch(against: str | None, quick: bool) -> list[str]:
    """Return the ways to run PyTorch that take part."""
    if against == "none" or (against is None and importlib.util.find_spec("torch") is None):
        return []
    return [name for name in TORCH if not (quick and name in SLOW_TO_START)]


def _say(message: str, code: int) -> int:
    print(f"benchmarks: {message}", file=sys.stderr)
    return code
