"""Hypothesis profiles, a header that names the backends, and a line on how each was run."""

import os
import re
from collections import Counter

from hypothesis import settings

from refgen_kernels import available

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("mutants", max_examples=8, deadline=None, derandomize=True, database=None)
settings.register_profile("deep", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

CUDA = "tests/kernels/cuda/"
LAYERS = (  # (backend, how it was run, the tests' names); the first that fits counts
    ("cupy_cuda", "on a GPU", r"test_gpu\.py.*cupy"),
    ("numba_cuda", "on a GPU", r"test_gpu\.py.*numba"),
    ("numba_cuda", "imported", r"imports_where.*numba_cuda"),
    ("numba_cuda", "compiled to PTX", r"numba_kernel"),
    ("numba_cuda", "simulated", r"simulator"),
    ("cupy_cuda", "imported", r"imports_where.*cupy_cuda"),
    ("cupy_cuda", "compiled by NVRTC", r"test_cuda_compiles\.py"),
    ("cupy_cuda", "under AddressSanitizer", r"\[address-"),
    ("cupy_cuda", "under ThreadSanitizer", r"\[thread-"),
    ("cupy_cuda", "run on the CPU", r"test_cuda_(?!sanitized)\w+\.py"),
)


def pytest_report_header() -> list[str]:
    return [f"backend {name}: {state}" for name, state in available().items()]


def pytest_terminal_summary(terminalreporter) -> None:
    """Say which CUDA backend was proven how, where such tests were among those that ran."""
    counts: dict[tuple[str, str], Counter] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            fits = (key for *key, name in LAYERS if re.search(name, report.nodeid))
            found = next(fits, None) if report.nodeid.startswith(CUDA) else None
            if found:
                counts.setdefault(tuple(found), Counter())[outcome] += 1
    for backend in ("cupy_cuda", "numba_cuda"):
        ways = {way: counts[b, way] for b, way, _ in LAYERS if b == backend and (b, way) in counts}
        said = [
            f"{w} " + ", ".join(f"{n} {what}" for what, n in c.items()) for w, c in ways.items()
        ]
        if said:
            terminalreporter.write_line(f"{backend}: {'; '.join(said)}")
