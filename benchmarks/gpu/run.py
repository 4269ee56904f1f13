"""python -m benchmarks.gpu.run: everything that only a GPU can show, in one command.

    python -m benchmarks.gpu.run                              # all of it, as long as it takes
    python -m benchmarks.gpu.run --minutes 9 --out DIR        # the most important first
    python -m benchmarks.gpu.run --stages tests,equality      # some of it

The tests with the marker gpu; the benchmark; 10⁹ words and 10⁸ normals beside NumPy's;
compute-sanitizer's memcheck and racecheck. Each is a process of its own: one that fails, crashes
or takes too long is recorded as such, and the next one starts. What is known is written after
every stage, by default to benchmarks/results/<device>/<date>-<commit>.json, with a page and plots
beside it. Nothing needs to be installed but NumPy, SciPy, tqdm, CuPy and pytest; Numba, PyTorch
and matplotlib add to it. Exit codes: 0 all right, 1 a stage failed, 2 usage, 3 no device.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.files import RESULTS, folder_of, keep, stem, write
from benchmarks.gpu.stages import WEIGHTS, Stage, benchmark_file, stages
from benchmarks.machine import ROOT, environment
from benchmarks.report import SCHEMA

SAID = 4000  # characters of what a stage printed last
PROBE = """
import json
from refgen_kernels.device import status
state, device = status(), {}
if state == "ok":
    from benchmarks.gpu.device_cuda import Cupy
    device = Cupy().about()
print(json.dumps({"state": state, "device": device}))
"""


def main(argv: list[str] | None = None) -> int:
    """Run the stages that the command line asks for."""
    options = parser().parse_args(argv)
    names = options.stages.split(",")
    if unknown := [n for n in names if n not in WEIGHTS]:
        return _say(f"unknown stage {', '.join(unknown)}; there are {', '.join(WEIGHTS)}", 2)
    budget = Budget(None if options.minutes is None else 60 * options.minutes)
    state, device = probe()
    if state != "ok":
        return _say(state, 3)
    about = {**environment(), "device": device, "command": command(argv)}
    if options.commit:
        about["commit"] = options.commit
    folder = Path(options.out) if options.out else RESULTS / folder_of(about)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = [s for s in stages(Path(scratch), options.quick) if s.name in names]
        found = run(chosen, budget, about, folder / f"{stem(about)}.json", Path(scratch))
    return 0 if all(stage["status"] == "ok" for stage in found["stages"]) else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("--out", metavar="DIR", help="where the files go")
    p.add_argument("--quick", action="store_true", help="one size an op, a tenth of the words")
    p.add_argument("--minutes", type=float, metavar="M", help="be over by then")
    p.add_argument("--stages", default=",".join(WEIGHTS), metavar="LIST", help="only these")
    p.add_argument("--commit", metavar="HASH", help="of this tree, where git cannot say")
    return p


def run(
    chosen: Sequence[Stage], budget: Budget, about: dict[str, Any], target: Path, scratch: Path
) -> dict[str, Any]:
    """Run stage after stage, each within its share of the time left, and write what is known."""
    lists: dict[str, Any] = {k: [] for k in ("goals", "crossings", "absent", "not_run", "rows")}
    empty = {"schema": SCHEMA, "environment": about, "limits": {}, **lists}
    found: dict[str, Any] = {**empty, "stages": []}
    order = [stage.name for stage in chosen]
    for stage in chosen:
        seconds = budget.share(stage.name, WEIGHTS, order)
        print(f"{stage.name}: at most {seconds:.0f} s", file=sys.stderr)
        found["stages"].append(start(stage, seconds))
        print(f"{stage.name}: {found['stages'][-1]['status']}", file=sys.stderr)
        found = _with_benchmark(found, benchmark_file(scratch))
        write(target, found)
    keep(found, target)
    return found


def start(stage: Stage, seconds: float) -> dict[str, Any]:
    """Run one stage; return what became of it."""
    said: dict[str, Any] = {"stage": stage.name, "status": "not run", "seconds": 0.0}
    if stage.missing:
        return {**said, "status": "missing", "says": stage.missing}
    if not seconds:
        return {**said, "says": "no time was left"}
    asked, began = stage.command(seconds), time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        process = subprocess.Popen(
            asked,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=surroundings(),
            start_new_session=True,
        )
        try:
            code = process.wait(None if seconds == float("inf") else seconds)
            status = "ok" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            status, code = "timed out", None
        finally:
            _end(process)
        printed.seek(0)
        text = printed.read()
    found = stage.read(text)
    if stage.name == "tests" and status == "ok" and not found.get("passed"):
        status = "failed"  # all skipped, on a machine with a device
    return {
        "stage": stage.name,
        "status": status,
        "code": code,
        "seconds": round(time.monotonic() - began, 1),
        "command": " ".join(["python", *asked[1:]] if asked[0] == sys.executable else asked),
        "found": found,
        "says": text[-SAID:],
    }


def surroundings() -> dict[str, str]:
    """Return the environment of a stage: refgen and its kernels are found, installed or not."""
    here = [str(ROOT), str(ROOT / "kernels")]
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*here, *before]), "PYTHONUNBUFFERED": "1"}


def probe() -> tuple[str, dict[str, Any]]:
    """Ask a process of its own whether there is a device, and which."""
    asked = [sys.executable, "-c", PROBE]
    done = subprocess.run(
        asked, cwd=ROOT, env=surroundings(), capture_output=True, text=True, check=False
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        return f"the device cannot be asked: {last[0]}", {}
    return str(found["state"]), dict(found["device"])


def command(argv: list[str] | None) -> str:
    """Return the command that was given."""
    return " ".join(["python -m benchmarks.gpu.run", *(sys.argv[1:] if argv is None else argv)])


def _with_benchmark(found: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the record with the figures that the benchmark has left, if any."""
    if not file.exists():
        return found
    figures = json.loads(file.read_text())
    mine = found["environment"]
    both = {**figures["environment"], **mine}
    both["device"] = {**figures["environment"]["device"], **mine["device"]}
    return {**found, **figures, "environment": both, "stages": found["stages"]}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a stage with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _say(message: str, code: int) -> int:
    print(f"gpu_run: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
