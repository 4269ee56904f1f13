"""Runs CUDA C++ kernels on one CPU thread: g++ compiles the .cu text itself.

The headers in host/ give the text what it takes for granted: barriers, warps, shared memory. A
module takes NumPy arrays where CuPy takes its own, and refuses what a GPU would take in silence:
an array or a number of another type than the kernel's, too many threads, too much shared memory.

    module = HostModule(text)
    module.order = "reverse"
    module.get_function("double_it")((2,), (64,), (x, np.int32(x.size)))

Beyond wrong results it finds barriers that some threads miss (LaunchError, with the line), shared
memory read before it is written (NaN) and, built with sanitize="address" or "thread", accesses out
of bounds or not aligned, and races between the threads of a block. A sanitized module loads only
in a process that was started as sanitized_environment() says.

What it cannot do: PTX, textures, clusters, grids that synchronise, threads that spin until another
one writes (they spin for ever), kernels that are found only after macros are expanded, and races
between blocks, which it runs one by one. Rounding is the CPU's.
"""

import atexit
import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HEADERS = Path(__file__).with_suffix("")
ORDERS = ("forward", "reverse", "random")
MAX_THREADS = 1024
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
PLAIN_SHARED, MAX_SHARED = 48 << 10, 227 << 10  # bytes a block gets unasked, and on request

# fno-strict-aliasing: kernels read a float* as float4*, which nvcc allows. U_FORTIFY_SOURCE: its
# longjmp refuses to change stacks. fdata-sections, and what the linker does with it: shared.ld.
BASE = (
    "-std=c++17 -fPIC -shared -march=native -ffp-contract=off -fno-strict-aliasing "
    "-fdata-sections -U_FORTIFY_SOURCE -w -DREFGEN_HOST=1"
).split()
SANITIZERS = {
    "": ["-O2"],
    # The runtime keeps shared arrays in a section; they have red zones only if it is named.
    "address": "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined "
    "-fsanitize-sections=cuda_shared -fno-sanitize-recover=undefined".split(),
    "thread": "-O1 -g1 -fsanitize=thread".split(),
}

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
BOUND = r"(?:__launch_bounds__\s*\(([^)]*)\)\s*)?"
KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{BOUND}void\s+{BOUND}(\w+)\s*\(')
ALIGNED = r"(?:(?:__align__|alignas)\s*\(\s*\w+\s*\)\s*)?"
DYNAMIC = re.compile(rf"extern\s+__shared__\s+{ALIGNED}([\w:\s]+?)\s+{ALIGNED}(\w+)\s*\[\s*\]\s*;")


class CompileError(RuntimeError):
    """The compiler refused a text."""


class LaunchError(RuntimeError):
    """A launch that could not be started, or not be ended; says which kernel, what and where."""

    def __init__(self, kernel: str, what: str, block: tuple[int, ...] | None = None) -> None:
        where = "" if block is None else f", block ({','.join(map(str, block))})"
        super().__init__(f"{kernel}: {what}{where}")
        self.kernel, self.what, self.block = kernel, what, block


@cache
def compiler() -> str | None:
    """Return the path of g++, or None."""
    return shutil.which("g++")


def sanitized_environment(sanitize: str) -> tuple[dict[str, str], list[str]]:
    """Return the environment and the first words of a command that may load sanitized modules.

    Python itself is not sanitized, so the sanitizer's library must come before all others.
    ThreadSanitizer needs addresses that are not random as well. Raises FileNotFoundError where
    g++, the library or setarch is missing, or setarch is not allowed, as in some containers.
    """
    gxx = compiler()
    if gxx is None:
        raise FileNotFoundError("no g++")
    name = {"address": "libasan.so", "thread": "libtsan.so"}[sanitize]
    asked = [gxx, f"-print-file-name={name}"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(library).is_absolute():  # g++ repeats the name of what it does not have
        raise FileNotFoundError(f"no {name}")
    options = {
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",  # its threads look like races
    }
    prefix = _without_random_addresses() if sanitize == "thread" else []
    return {**os.environ, **options, "LD_PRELOAD": library}, prefix


@cache
def _without_random_addresses() -> list[str]:
    setarch = shutil.which("setarch")
    if setarch is None:
        raise FileNotFoundError("no setarch")
    prefix = [setarch, platform.machine(), "-R"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        raise FileNotFoundError("no permission for setarch -R")
    return prefix


class HostModule:
    """The kernels of a text, compiled for this CPU; `extern "C" __global__ void name(` is one.

    order is that in which the threads of a block, and the blocks, run: "forward", "reverse", or
    "random", which the seed decides. Both hold for every launch until they are set again.
    """

    def __init__(self, code: str, options: tuple[str, ...] = (), sanitize: str = "") -> None:
        self._order, self.seed = "forward", 0
        bounds = {name: a or b for a, b, name in KERNEL.findall(COMMENT.sub(" ", code))}
        # A PyDLL keeps Python's lock: a module holds one block at a time, so one launch.
        library = ctypes.PyDLL(str(_build(_complete(code, bounds), options, sanitize)))
        self.kernels = {name: HostKernel(self, library, name) for name in bounds}

    @property
    def order(self) -> str:
        """Who runs first."""
        return self._order

    @order.setter
    def order(self, order: str) -> None:
        if order not in ORDERS:
            raise ValueError(f"order is one of {', '.join(ORDERS)}, not {order!r}")
        self._order = order

    def get_function(self, name: str) -> "HostKernel":
        """Return a kernel. Raises KeyError where there is none of that name."""
        if name not in self.kernels:
            raise KeyError(f"no kernel {name!r}, but {', '.join(self.kernels) or 'none at all'}")
        return self.kernels[name]


class HostKernel:
    """One kernel of a module; called as CuPy's are.

    As on a GPU, a block has 48 KB of dynamic shared memory at most, or what was asked for:
    kernel.max_dynamic_shared_size_bytes = n.
    """

    def __init__(self, module: HostModule, library: ctypes.PyDLL, name: str) -> None:
        signature = getattr(library, f"host_signature_{name}")
        signature.restype = ctypes.c_char_p
        self.module, self.name = module, name
        self.parameters = tuple(filter(None, signature().decode().split(",")))
        self.max_threads = min(MAX_THREADS, getattr(library, f"host_bound_{name}")())
        self.max_dynamic_shared_size_bytes = PLAIN_SHARED
        self._run = getattr(library, f"host_run_{name}")
        self._run.restype = ctypes.c_char_p
        self._block = library.host_block

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
    ) -> None:
        """Run the kernel and return when it has ended.

        Raises TypeError for arguments that the kernel does not take, LaunchError for a launch
        that cannot be, or whose threads wait for ever.
        """
        grid, block = self._sizes("grid", grid, MAX_GRID), self._sizes("block", block, MAX_BLOCK)
        threads = block[0] * block[1] * block[2]
        if threads > self.max_threads:
            what = f"{threads} threads in a block, where {self.max_threads} may be"
            raise LaunchError(self.name, what)
        allowed = min(self.max_dynamic_shared_size_bytes, MAX_SHARED)
        if not 0 <= shared_mem <= allowed:
            what = f"{shared_mem} bytes of shared memory, where {allowed} may be"
            raise LaunchError(self.name, what)
        values = self._values(args)
        found = self._run(
            (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values]),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            ctypes.c_uint64(shared_mem),
            ctypes.c_int(ORDERS.index(self.module.order)),
            ctypes.c_uint64(self.module.seed),
        )
        if found is not None:
            where = (ctypes.c_uint * 3)()
            self._block(where)
            raise LaunchError(self.name, found.decode(), tuple(where))

    def _sizes(self, what: str, sizes: Sequence[int], limits: tuple[int, ...]) -> tuple[int, ...]:
        whole = (*map(int, sizes), 1, 1, 1)[:3]
        fits = all(1 <= n <= limit for n, limit in zip(whole, limits, strict=True))
        if not fits or len(sizes) > 3:
            raise LaunchError(self.name, f"the {what} cannot be {tuple(sizes)}")
        return whole

    def _values(self, args: Sequence[Any]) -> list[np.ndarray]:
        """Return an array of one element for every argument: a number, or an address."""
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name} takes {len(self.parameters)} arguments, {len(args)} given"
            )
        values = []
        for place, (given, wanted) in enumerate(zip(args, self.parameters, strict=True)):
            value = _pointer(given, wanted) if wanted.endswith("*") else _number(given, wanted)
            if value is None:
                raise TypeError(
                    f"{self.name}: argument {place} is {wanted} here, not {_describe(given)}"
                )
            values.append(value)
        return values


def _describe(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"{'' if given.flags.writeable else 'a read-only '}array of {given.dtype}"
    return type(given).__name__


def _pointer(given: Any, wanted: str) -> np.ndarray | None:
    """Return an address: of an array, or null."""
    if given is None or (isinstance(given, np.integer) and given.itemsize == 8 and given == 0):
        return np.zeros(1, np.uintp)
    if not isinstance(given, np.ndarray):
        return None
    if not given.flags.writeable and not wanted.startswith("const "):
        return None
    element = wanted.removeprefix("const ").removesuffix("*")
    if element not in ("void", str(given.dtype)) and not element.startswith("struct"):
        return None
    return np.array([given.ctypes.data], np.uintp)


def _number(given: Any, wanted: str) -> np.ndarray | None:
    """Return a number of exactly the kernel's type, or nothing. Python's count as for CuPy."""
    as_cupy = {bool: np.bool_, int: np.int64, float: np.float64}.get(type(given))
    number = given if as_cupy is None else as_cupy(given)
    if not isinstance(number, np.generic):
        return None
    fits = str(number.dtype) == wanted or (
        isinstance(number, np.void) and wanted == f"struct{number.itemsize}"
    )
    return np.array([number]) if fits else None


def _complete(code: str, kernels: dict[str, str]) -> str:
    """Return what g++ compiles: the text in a nameless namespace, and an entry for each kernel.

    In the namespace every function, inline or a template, is the module's own; elsewhere g++
    would merge their shared arrays across modules, and refuse to mix them with others.
    """
    text = DYNAMIC.sub(_point_to_dynamic_memory, code)
    exports = [f"HOST_EXPORT({name}, {bound or MAX_THREADS})" for name, bound in kernels.items()]
    return "\n".join(
        [
            '#include "mma.h"',
            "namespace {",
            '#line 1 "kernel.cu"',
            text,
            "}",
            '#line 1 "exports"',
            *exports,
            "",
        ]
    )


def _point_to_dynamic_memory(declared: re.Match[str]) -> str:
    kind, name = " ".join(declared[1].split()), declared[2]
    lines = "\n" * declared[0].count("\n")  # lines below keep their numbers
    return f"{kind}* const {name} = static_cast<{kind}*>(host::dynamic_shared());{lines}"


def _build(source: str, options: tuple[str, ...], sanitize: str) -> Path:
    """Return a library, compiled now or at some time before."""
    gxx = compiler()
    if gxx is None:
        raise CompileError("no g++ on this machine")
    defined = [option for option in options if option.startswith(("-D", "-U"))]
    folders = [HEADERS, *(Path(o[2:]).resolve() for o in options if o.startswith("-I"))]
    include = [f"-I{folder}" for folder in folders]
    flags = [*BASE, *SANITIZERS[sanitize], *defined, *include, f"-Wl,-T,{HEADERS / 'shared.ld'}"]
    headers = [file for folder in folders for file in sorted(folder.glob("*.*[hd]"))]
    key = hashlib.blake2b(digest_size=12)
    for part in (source, *flags, _versions(gxx), *(file.read_text() for file in headers)):
        key.update(f"{len(part)} ".encode() + part.encode())
    folder = _cache_folder()
    library = folder / f"{key.hexdigest()}.so"
    if not library.exists():
        _compile([gxx, *flags], source, library)
    return library


def _compile(command: list[str], source: str, library: Path) -> None:
    """Compile; the library appears whole, whoever else compiles the same at the same time."""
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        new = Path(scratch) / "new.so"
        arguments = [*command, "-x", "c++", "-", "-o", str(new)]
        done = subprocess.run(
            arguments,
            input=source,
            cwd=library.parent,
            env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},  # no sanitized g++
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CompileError(done.stderr[:4000])
        new.replace(library)


@cache
def _versions(gxx: str) -> str:
    """Return what -march=native depends on: the compiler and the CPU's abilities."""
    told = subprocess.run([gxx, "--version"], capture_output=True, text=True, check=True).stdout
    facts = Path("/proc/cpuinfo")
    text = facts.read_text() if facts.exists() else ""
    abilities = re.findall(r"^(?:model name|flags|Features)\s*:.*", text, re.M)
    return "\n".join([told, platform.machine(), *sorted(set(abilities))])


def _cache_folder() -> Path:
    """Return where libraries are kept; a folder removed at exit where that cannot be written."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "refgen-host"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return _temporary_folder()


@cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="refgen-host-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
