"""One pool of threads: while kernels run, NumPy's BLAS keeps to one thread.

Numba's threads wait for their next kernel by spinning, a few thousandths of a second. A BLAS
with as many threads as there are cores, called in between, finds every core taken and waits for
the system to share them out: such a program was measured 30 times slower than with either pool
alone. Products worth several threads are done by kernels here; what goes to the page is left
with one.
"""

import ctypes
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def hold_blas(threads: int = 1) -> int:
    """Set how many threads NumPy's BLAS uses; return how many it uses then, 0 where unknown.

    Only the OpenBLAS that comes in a wheel of NumPy's can be asked. Another is held by its own
    variable, OPENBLAS_NUM_THREADS or MKL_NUM_THREADS, before Python starts.
    """
    count = 0
    for library, name in _functions("set_num_threads"):
        getattr(library, name)(threads)
    for library, name in _functions("get_num_threads"):
        count = int(getattr(library, name)())
    return count


def _functions(action: str) -> Iterator[tuple[Any, str]]:
    """Yield (library, name) of every OpenBLAS function that does this."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in glob.glob(str(folder / "*openblas*")):
            library = ctypes.CDLL(path)  # already in the process: this opens it a second time
            for prefix in ("scipy_openblas", "openblas"):
                for suffix in ("64_", ""):
                    name = f"{prefix}_{action}{suffix}"
                    if hasattr(library, name):
                        yield library, name
