"""python -m benchmarks: judge, then time, every implementation of every hot op.

The backends of a GPU, cupy and numba-cuda, are measured by its own clock: see gpu/command.py.
Without --quick, --op and --json the figures go to benchmarks/results/<device>/, with plots. Exit
codes: 0 all right, 1 a contender computes something else, 2 usage, 3 not installed.
"""

import argparse
import importlib.util
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS, SLOW_TO_START, TORCH, backends
from benchmarks.counts import counts
from benchmarks.duel import Worker, run
from benchmarks.gpu import command as gpu_command
from benchmarks.machine import ROOT, device, environment, wait_until_idle
from benchmarks.report import document, rows_of, text
from benchmarks.sizes import ALL, choose
from benchmarks.tables import markdown, table
from benchmarks.timing import Timing
from refgen.training.files import write_whole

RESULTS = ROOT / "benchmarks" / "results"
ROUNDS, PATIENCE_S = {True: 5, False: 9}, {True: 2.0, False: 12.0}  # quick, full


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    p.add_argument("--quick", action="store_true", help="one size an op, five rounds: two minutes")
    p.add_argument("--op", default="", metavar="PATTERN", help="part of an op's name")
    listed = f"of {','.join(backends())}, or on a GPU of cupy,numba-cuda; default: all of the CPU's"
    p.add_argument("--backend", metavar="LIST", help=listed)
    p.add_argument(
        "--against",
        choices=["torch", "none"],
        help="PyTorch beside them, tuned as well; default: where it is installed",
    )
    p.add_argument("--accept", metavar="ID", help="train a system for its evidence instead")
    p.add_argument("--table", metavar="FILE", help="print a result as the README's table instead")
    p.add_argument("--minutes", type=float, metavar="M", help="on a GPU: begin no case after that")
    p.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks that the command line asks for."""
    options = parser().parse_args(argv)
    if options.accept:
        return _accept(options.accept)
    if options.table:
        return _table(options.table)
    if options.backend and gpu_command.wanted(options.backend.split(",")):
        return gpu_command.command(options, options.backend.split(","))
    cases, missing = choose(options.op, options.quick)
    for op in missing:
        print(f"skipped: {op} is not in the catalogue of this version", file=sys.stderr)
    if not cases:
        return _usage(f"no op matches {options.op!r}; there are {_names()}")
    names = options.backend.split(",") if options.backend else backends()
    if unknown := [n for n in names if n not in backends()]:
        return _usage(f"unknown backend {', '.join(unknown)}; there are {', '.join(backends())}")
    if options.quick and not options.backend:
        names = [name for name in names if not name.endswith("-coretype")]
    return _benchmark(options, cases, [*names, *_torch(options.against, options.quick)])


def _benchmark(options: argparse.Namespace, cases: list[Case], names: list[str]) -> int:
    """Start the contenders, measure, and write what is asked for; return the exit code."""
    workers, about = [Worker(name) for name in [*names, "limit"]], environment()
    about["contenders"] = {name: CONTENDERS[name].environment for name in names}
    measured, stopped, missing = Measured(), False, list[str]()
    try:
        missing = _versions(workers, about)
        _measure(cases, workers, options.quick, measured)
    except KeyboardInterrupt:
        stopped = True
        print("stopped; what follows was measured, and no file is written", file=sys.stderr)
    finally:
        for worker in workers:
            worker.close()
    found = measured.document(about)
    print(table(found["rows"]), file=sys.stderr if options.json == "-" else sys.stdout)
    if stopped:
        return 130
    if options.json == "-":
        print(text(found))
    elif options.json:
        _write(Path(options.json), found)
    elif not (options.quick or options.op):
        _keep(found)
    if missing:
        return 3
    return 0 if all(row["right"] for row in found["rows"]) else 1


@dataclass
class Measured:
    """What a run has so far; the arithmetic of the machine is the most that it ever reached."""

    cases: list[tuple[Case, dict[str, Timing]]] = field(default_factory=list)
    peak: float = 0.0

    def document(self, about: dict[str, Any]) -> dict[str, Any]:
        """Return the rows and the limits."""
        rows = [row for case, found in self.cases for row in rows_of(case, found, self.peak)]
        limits = {c.key: (c, found["limit"]) for c, found in self.cases if "limit" in found}
        speeds = {key: counts(c).moved / limit.median for key, (c, limit) in limits.items()}
        return document(about, rows, speeds, self.peak)


def _measure(cases: list[Case], workers: list[Worker], quick: bool, measured: Measured) -> None:
    """Measure case after case, and say how far it is."""
    began = time.monotonic()
    for i, case in enumerate(cases):
        gone = time.monotonic() - began
        left = f", about {_clock(gone / i * (len(cases) - i))} left" if i else ""
        print(f"[{i + 1}/{len(cases)}] {case.key}  {_clock(gone)} gone{left}", file=sys.stderr)
        if case.blas or not i:
            measured.peak = max(measured.peak, _peak(workers))
        timings, absent = run(case, workers, ROUNDS[quick], PATIENCE_S[quick])
        for reason in absent:
            print(f"  left out: {reason}", file=sys.stderr)
        measured.cases.append((case, timings))
    print(f"{_clock(time.monotonic() - began)} in all", file=sys.stderr)


def _versions(workers: list[Worker], about: dict[str, Any]) -> list[str]:
    """Note the versions of everything; return and leave out what cannot start."""
    missing = []
    about["versions"], about["blas"] = {}, {}
    for worker in list(workers):
        try:
            found = worker.ask("versions")
        except RuntimeError as failure:
            print(f"benchmarks: {failure}; install the extra that brings it", file=sys.stderr)
            missing += [worker.name] * (worker.name != "limit")  # a column less, not a failure
            workers.remove(worker)
            worker.close()
            continue
        if "blas" in found:
            about["blas"][worker.name] = found.pop("blas")
        about["versions"] |= found
    return missing


def _peak(workers: list[Worker]) -> float:
    limit = next((w for w in workers if w.name == "limit"), None)
    if limit is None:
        return 0.0
    wait_until_idle(2.0)
    return float(limit.ask("peak"))


def _torch(against: str | None, quick: bool) -> list[str]:
    """Return the PyTorch contenders: all, without those that compile, or none."""
    if against == "none" or (against is None and importlib.util.find_spec("torch") is None):
        return []
    return [name for name in TORCH if not (quick and name in SLOW_TO_START)]


def _keep(found: dict[str, Any]) -> None:
    """Write a full run among the results, with its plots where matplotlib is installed."""
    about = found["environment"]
    target = RESULTS / device(about["cpu"]) / f"{about['date']}-{about['commit']}.json"
    _write(target, found)
    try:
        from benchmarks.plots import draw

        made = draw(found, target)
    except ImportError as error:
        print(f'no plots: {error}; pip install "refgen[viz]"', file=sys.stderr)
        made = []
    page = target.with_suffix(".md")
    page.write_text(f"# {device(about['cpu'])}, {about['date']}\n\n{markdown(found)}\n")
    for path in [target, page, *made]:
        print(path.relative_to(ROOT), file=sys.stderr)


def _write(target: Path, found: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    content = f"{text(found)}\n".encode()
    write_whole(target, lambda file: file.write(content))


def _table(file: str) -> int:
    """Print the README's table of a result."""
    try:
        found = json.loads(Path(file).read_text())
        print(markdown(found, quick=True))
    except (OSError, ValueError, KeyError) as error:
        return _usage(f"{file} is no result of this command: {error}")
    return 0


def _accept(name: str) -> int:
    """Train the system of that name as a user would, and write what it is accepted by."""
    from benchmarks.accept import ACCEPT, accept

    if name not in ACCEPT:
        return _usage(f"nothing measures {name!r}; there are {', '.join(sorted(ACCEPT))}")
    print(accept(name))
    return 0


def _names() -> str:
    return ", ".join(sorted({case.name for case in ALL if case.known()}))


def _clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> _clock(83.4)
    '1:23'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _usage(message: str) -> int:
    print(f"benchmarks: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
