"""What `refgen doctor` looks for: one function a thing, each with the command that brings it."""

import ctypes
import glob
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from refgen.cli.terms import several

GIB = 2**30


class Finding(NamedTuple):
    """One thing looked for."""

    name: str
    ok: bool
    found: str
    mend: str = ""  # the command that brings it
    needed: bool = False  # by the CPU path


def look() -> list[Finding]:
    """Look for everything."""
    found = [python(), numpy(), scipy(), tqdm(), numba(), *pictures(), gpu(), cupy(), disk()]
    return found + data_sets()


def python() -> Finding:
    """Look at Python itself."""
    ok = sys.version_info >= (3, 11)
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", ok, f"{where}, {os.cpu_count()} cores", "install Python 3.11", True)


def numpy() -> Finding:
    """Look at NumPy and the linear algebra beneath it."""
    version = _version("numpy")
    if not version:
        return Finding("NumPy", False, "not installed", "pip install numpy", True)
    import numpy as np

    config: Any = np.show_config(mode="dicts")  # type: ignore[call-arg, func-returns-value, unused-ignore]
    blas = config.get("Build Dependencies", {}).get("blas", {}).get("name", "BLAS unknown")
    threads = _blas_threads(Path(np.__file__).parent)
    count = several(threads, "thread") if threads else f"threads by {_thread_variables()}"
    return Finding("NumPy", True, f"{version}, {blas}, {count}", needed=True)


def scipy() -> Finding:
    """Look for SciPy."""
    return _package("SciPy", "scipy", "pip install scipy", needed=True)


def tqdm() -> Finding:
    """Look for what draws the progress bar."""
    return _package("tqdm", "tqdm", "pip install tqdm", needed=True)


def numba() -> Finding:
    """Look at the compiler of the CPU kernels: its target, and where it keeps them."""
    mend = 'pip install "refgen[cpu]"'
    version = _version("numba")
    if not version:
        return Finding("numba (CPU kernels)", False, "not installed", mend)
    try:
        from refgen_kernels import status
        from refgen_kernels.numba_cpu import build

        state = status("numba")
    except Exception as error:  # whatever a broken installation raises
        return Finding("numba (CPU kernels)", False, f"{version}, broken: {error}", mend)
    found = f"{version} for {build.TARGET}, cache in {build.CACHE}"
    if state != "ok":
        return Finding("numba (CPU kernels)", False, f"{version}: {state}", mend)
    return Finding("numba (CPU kernels)", True, found)


def pictures() -> list[Finding]:
    """Look for what draws."""
    mend = 'pip install "refgen[viz]"'
    return [
        _package("matplotlib (curves)", "matplotlib", mend),
        _package("Pillow (grids, image folders)", "pillow", mend),
    ]


def gpu() -> Finding:
    """Look for an NVIDIA device and its driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", False, "no nvidia-smi, so no NVIDIA driver")
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        out = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("GPU", False, f"nvidia-smi failed: {error}", "reinstall the NVIDIA driver")
    return Finding("GPU", True, out.stdout.strip().replace("\n", "; "))


def cupy() -> Finding:
    """Look for CuPy, and for a device that it sees."""
    version = next(filter(None, map(_version, ("cupy-cuda12x", "cupy-cuda13x", "cupy"))), "")
    if not version:
        mend = 'pip install "refgen[cuda12]"' if shutil.which("nvidia-smi") else ""
        return Finding("CuPy", False, "not installed", mend)
    try:
        cp: Any = importlib.import_module("cupy")

        devices = cp.cuda.runtime.getDeviceCount()
    except Exception as error:  # whatever a broken driver raises
        return Finding("CuPy", False, f"{version}, cannot be used: {error}")
    return Finding("CuPy", devices > 0, f"{version}, {devices} devices")


def disk() -> Finding:
    """Look for room for runs here."""
    free = shutil.disk_usage(".").free / GIB
    writable = os.access(".", os.W_OK)
    found = f"{free:.1f} GiB free here" + ("" if writable else ", and the folder is read-only")
    return Finding("disk", free > 1 and writable, found, "free at least 1 GiB, or change folder")


def data_sets() -> list[Finding]:
    """Look for the data sets that have a name."""
    if not _version("numpy"):
        return []
    from refgen.data.digits import IMAGES as DIGITS
    from refgen.data.installed import COMMANDS, IMAGES, _folders

    found = [Finding("data: digits", DIGITS.is_file(), "comes with refgen", "reinstall refgen")]
    for name, command in COMMANDS.items():
        files = [folder / f"{IMAGES}{end}" for folder in _folders(name) for end in ("", ".gz")]
        here = next((file.parent for file in files if file.is_file()), None)
        where = str(here) if here else "not on this machine"
        found.append(Finding(f"data: {name}", here is not None, where, command))
    return found


def _package(name: str, package: str, mend: str, needed: bool = False) -> Finding:
    version = _version(package)
    return Finding(name, bool(version), version or "not installed", mend, needed)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _thread_variables() -> str:
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    said = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return " ".join(said) or "the library's own default"


def _blas_threads(package: Path) -> int:
    """Ask the OpenBLAS of a NumPy wheel; 0 where it cannot be asked."""
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for library in glob.glob(str(folder / "*openblas*")):
            loaded = ctypes.CDLL(library)  # already in the process: this opens it a second time
            for prefix in ("scipy_openblas", "openblas"):
                for suffix in ("64_", ""):
                    ask = getattr(loaded, f"{prefix}_get_num_threads{suffix}", None)
                    if ask is not None:
                        return int(ask())
    return 0
