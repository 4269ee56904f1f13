"""The way to the device and back. Mirrors refgen/ops/home.py."""

from refgen.typing import Array
from refgen_kernels.device.machine import machine


def put(a: Array) -> Array:
    """Device twin of refgen.ops.put: send an array to the device."""
    return machine().put(a)


def fetch(a: Array) -> Array:
    """Device twin of refgen.ops.fetch: bring an array back."""
    return machine().fetch(a)
