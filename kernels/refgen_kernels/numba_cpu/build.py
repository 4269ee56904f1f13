"""How the kernels of this package are compiled: for which CPU, kept where, run on how many cores.

Target     avx512, avx2 or plain: what the CPU has, or what REFGEN_TARGET says (a narrower one
           runs anywhere; noise and element-wise steps have the same bits on all three, what uses
           `fused` or a tile rounds once where the CPU can).
Cache      a folder named by a hash of every source file of the package, of the versions that
           compile them and of the target, so that an edited kernel is never mistaken for an old
           one: Numba's own index knows the caller's file, but not what it calls.
Threads    every kernel exists twice, serial and parallel; small arrays take the serial one.
"""

import atexit
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config as numba_config

TARGETS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "plain": "x86-64"}  # as LLVM calls them
LANES = {"avx512": "zmm", "avx2": "ymm", "plain": "xmm"}  # their widest registers
NEEDS = {"avx512": ("avx512f", "avx512dq", "avx512bw", "avx512vl"), "avx2": ("avx2",), "plain": ()}
CHUNK = 1024  # elements of one task: 4 KB of each array, all in the nearest cache
SLEEPY = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"  # threads must be woken first
SERIAL = 65_536 if SLEEPY else 16_384  # elements that one thread does before two have started
PACKAGE = Path(__file__).parent
config: Any = numba_config  # its names are made while it runs


def choose_target() -> str:
    """Return the target to compile for; where that is not simply this CPU, tell Numba.

    Raises ValueError where REFGEN_TARGET is unknown, or wider than this CPU.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    features = dict(llvm.get_host_cpu_features()) if x86 else {}
    able = [t for t, needs in NEEDS.items() if all(features.get(f) for f in needs)]
    asked = os.environ.get("REFGEN_TARGET", "")
    if not asked:
        return able[0]
    if asked not in able:
        raise ValueError(f"REFGEN_TARGET={asked}: this CPU runs {', '.join(able)}; unset it")
    if x86 and asked != able[0]:
        os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = TARGETS[asked], ""
    return asked


def source_hash(package: Path = PACKAGE) -> str:
    """Return 16 hex digits that change whenever a source file of the package does."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def cache_folder(target: str, package: Path = PACKAGE) -> Path:
    """Return where compiled kernels are kept, made if need be.

    Below NUMBA_CACHE_DIR where that is set, else below the user's cache folder; a temporary
    folder, removed at exit, where neither can be written.
    """
    versions = f"{sys.version_info[:3]} {numba.__version__} {llvmlite.__version__}"
    cpu = f"{target} {llvm.get_host_cpu_name()}"
    key = hashlib.blake2b(f"{source_hash(package)} {versions} {cpu}".encode(), digest_size=8)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or home).expanduser()
    folder = root / "refgen" / key.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        temporary = Path(tempfile.mkdtemp(prefix="refgen-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return temporary


def prefer_omp() -> None:
    """Ask for OpenMP's threads first (2 µs a start, against 100), unless the user chose."""
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp workqueue tbb")
    config.reload_config()


TARGET = choose_target()
CACHE = cache_folder(TARGET)
prefer_omp()


KERNELS: list["Kernel"] = []  # all there are


class Kernel:
    """A function compiled twice; the number of elements decides which one runs.

    Both split the work alike, so neither that choice nor the number of threads moves a bit.
    """

    both = False  # run both, one after the other: to compile, not to compute

    def __init__(self, function: Callable[..., Any]) -> None:
        self.serial = _compile(function, "serial")
        self.parallel = _compile(function, "parallel")
        KERNELS.append(self)

    def __call__(self, size: int, *args: Any) -> Any:
        """Run on arrays of `size` elements."""
        if Kernel.both:
            self.serial(*args)
        return (self.serial if size < SERIAL and not Kernel.both else self.parallel)(*args)


def kernel(function: Callable[..., Any]) -> Kernel:
    """Compile what Python calls: a loop over fixed chunks, by prange."""
    return Kernel(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile what kernels call, into them."""
    return numba.njit(forceinline=True, error_model="numpy")(function)


@inlined
def chunks(size):  # type: ignore[no-untyped-def]
    """Return how many chunks hold that many elements."""
    return (size + CHUNK - 1) // CHUNK


@inlined
def chunk_of(size, i):  # type: ignore[no-untyped-def]
    """Return the first element of chunk i and the one after its last."""
    return i * CHUNK, min(size, (i + 1) * CHUNK)


def _compile(function: Callable[..., Any], kind: str) -> Any:
    """Compile with a cache of its own: Numba's index does not tell the two kinds apart."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(CACHE / kind)
    try:
        return numba.njit(cache=True, parallel=kind == "parallel", error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
