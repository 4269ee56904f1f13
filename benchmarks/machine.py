"""The machine: what it is, and whether it is idle enough to be timed."""

import ctypes
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

STAT = Path("/proc/stat")
TICKS = 2  # hundredths of a second that others may use while a block runs,
SHARE = 0.02  # or this part of its time, where that is more
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
        "cpu": cpu(),
        "cores": cores(),
        "caches": caches(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": {k: os.environ[k] for k in sorted(os.environ) if k.endswith("_NUM_THREADS")},
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else [],
    }


def device(name: str) -> str:
    """Return the folder that results of a CPU go to.

    >>> device("AMD EPYC (family 26, model 2)")
    'cpu-amd-epyc-family26'
    """
    model, _, family = name.partition(" (family ")
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    return f"cpu-{slug}" + (f"-family{family.split(',')[0]}" if family else "")


def cpu() -> str:
    """Return the name that the CPU gives itself."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.M))
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def caches() -> dict[str, str]:
    """Return the size of each cache of the first core, as the system tells it."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name) for name in ("level", "type", "size"))
        found[f"L{level}{'' if kind == 'Unified' else kind[:1].lower()}"] = size
    return found


def blas() -> dict[str, str | int]:
    """Ask the OpenBLAS of a NumPy wheel for its kernels and threads; empty where there is none."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for library in folder.glob("*openblas*"):
            loaded = ctypes.CDLL(str(library))  # in the process already: opened a second time
            for name in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}"):
                core = getattr(loaded, name.format("get_corename"), None)
                if core is not None:
                    core.restype = ctypes.c_char_p
                    threads = getattr(loaded, name.format("get_num_threads"))()
                    return {"core": core().decode(), "threads": int(threads)}
    return {}


def _read(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
