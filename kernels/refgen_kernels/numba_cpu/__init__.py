"""Numba twins for CPUs: explicit vectors, fixed chunks, all cores; the bits depend on none of it."""

from refgen_kernels.numba_cpu import build
from refgen_kernels.numba_cpu.noise import normals

__all__ = ["normals"]


def status() -> str:
    """Return "ok": what the import above has not refused runs on any CPU."""
    return "ok" if build.TARGET else "no target"
