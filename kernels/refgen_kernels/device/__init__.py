"""How ops become launches: one page for both CUDA backends, and the arrays they share."""

from refgen_kernels.device.machine import machine, status, use

__all__ = ["machine", "status", "use"]
