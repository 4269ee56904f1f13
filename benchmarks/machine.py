"""The machine: what it is, and whether it is idle enough to be timed."""

import datetime
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

STAT = Path("/proc/stat")
TICKS = 2  # hundredths of a second that others may use while a block runs
ROOT = Path(__file__).parents[1]


def busy_ticks() -> int | None:
    """Return the ticks all cores have worked since the start; None where nobody counts."""
    if not STAT.exists():
        return None
    fields = [int(f) for f in STAT.read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]  # all but idle and waiting for a disk


def process_ticks(pid: int) -> int:
    """Return the ticks a process has worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def wait_until_idle(limit_s: float) -> bool:
    """Wait for a twentieth of a second in which at most one tick is used; tell if it came."""
    deadline = time.monotonic() + limit_s
    while (before := busy_ticks()) is not None:
        time.sleep(0.05)
        after = busy_ticks()
        if after is not None and after - before <= 1:
            return True
        if time.monotonic() > deadline:
            return False
    return True


def environment() -> dict[str, Any]:
    """Return what a reader needs to weigh the figures; no names of machines or people."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed": bool(_git("status", "--porcelain", "refgen", "kernels", "benchmarks")),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": {k: os.environ[k] for k in sorted(os.environ) if k.endswith("_NUM_THREADS")},
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else [],
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.M))
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
