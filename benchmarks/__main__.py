"""python -m benchmarks: judge, then time, every implementation of every hot op.

Exit codes: 0 all right, 1 a contender computes something else, 2 usage, 3 not installed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case, choose
from benchmarks.duel import CONTENDERS, Worker, run
from benchmarks.machine import environment
from benchmarks.report import rows_of, table

BACKENDS = [name for name in CONTENDERS if name in ("numpy", "numba")]
TORCH = [name for name in CONTENDERS if name.startswith("torch")]
SLOW_TO_START = "torch-compile"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    p.add_argument("--quick", action="store_true", help="one size an op, five rounds")
    p.add_argument("--op", default="", metavar="PATTERN", help="part of an op's name")
    p.add_argument("--backend", default=",".join(BACKENDS), metavar="LIST", help="default: all")
    p.add_argument("--against", choices=["torch"], help="PyTorch beside them, tuned as well")
    p.add_argument("--accept", metavar="ID", help="train a system for its evidence instead")
    p.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks that the command line asks for."""
    options = parser().parse_args(argv)
    if options.accept:
        return _accept(options.accept)
    cases, names = choose(options.op, options.quick), options.backend.split(",")
    if not cases:
        return _usage(f"no op matches {options.op!r}; there are {_names()}")
    if unknown := [n for n in names if n not in BACKENDS]:
        return _usage(f"unknown backend {', '.join(unknown)}; there are {', '.join(BACKENDS)}")
    if options.against:
        names += [n for n in TORCH if not (options.quick and n == SLOW_TO_START)]
    workers, about = [Worker(name) for name in [*names, "limit"]], environment()
    try:
        missing = _versions(workers, about)
        rounds, patience_s = (5, 4.0) if options.quick else (11, 20.0)
        rows = _measure(cases, workers, rounds, patience_s * len(workers))
    finally:
        for worker in workers:
            worker.close()
    document = {"schema": 1, "environment": about, "limits": _limits(rows), "rows": rows}
    print(table(rows), file=sys.stderr if options.json == "-" else sys.stdout)
    if options.json == "-":
        print(json.dumps(document, indent=1))
    elif options.json:
        target = Path(options.json)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document, indent=1) + "\n")
    if missing:
        return 3
    return 0 if all(row["right"] for row in rows) else 1


def _measure(
    cases: list[Case], workers: list[Worker], rounds: int, patience_s: float
) -> list[dict[str, Any]]:
    rows = []
    for i, case in enumerate(cases, 1):
        print(f"[{i}/{len(cases)}] {case.key}", file=sys.stderr)
        rows += rows_of(case, run(case, workers, rounds, patience_s))
    return rows


def _versions(workers: list[Worker], about: dict[str, Any]) -> list[str]:
    """Note the versions of everything; return and leave out what cannot start."""
    missing = []
    about["versions"] = {}
    for worker in list(workers):
        try:
            about["versions"] |= worker.ask("versions")
        except RuntimeError as failure:
            print(f"benchmarks: {failure}; install the extra that brings it", file=sys.stderr)
            missing += [worker.name] * (worker.name != "limit")  # a column less, not a failure
            workers.remove(worker)
            worker.close()
    return missing


def _limits(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the copy's speed in each case, in GB/s, from the rows it was compared with."""
    speeds = {}
    traffic = {f"{c.op}:{c.label}": 4 * c.traffic for c in CASES}
    for row in rows:
        key = f"{row['op']}:{row['case']}"
        if row["percent_of_limit"]:
            speeds[key] = traffic[key] / (row["percent_of_limit"] / 100 * row["median_s"]) / 1e9
    return {"copy_gb_per_s": {key: round(speed, 1) for key, speed in speeds.items()}}


def _accept(name: str) -> int:
    """Train the system of that name as a user would, and write what it is accepted by."""
    from benchmarks.accept import ACCEPT, accept

    if name not in ACCEPT:
        return _usage(f"nothing measures {name!r}; there are {', '.join(sorted(ACCEPT))}")
    print(accept(name))
    return 0


def _names() -> str:
    return ", ".join(sorted({case.op for case in CASES}))


def _usage(message: str) -> int:
    print(f"benchmarks: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
