"""What is measured: an op, its inputs, and the memory traffic that no implementation avoids."""

import fnmatch
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen.noise import Noise, Stream
from refgen.typing import Array

Shape = tuple[int, ...]
STREAM: Stream = Noise(0).at("benchmarks").stream
POSITIVE = {"v"}  # a second moment


@dataclass(frozen=True)
class Case:
    """One row of the table, before anybody has run it."""

    op: str  # its name in an op table
    shapes: dict[str, Shape]  # of the inputs, in call order
    traffic: int  # float32 read and written by one call, caches of backward not counted
    static: dict[str, Any] = field(default_factory=dict)
    size: Shape = ()  # of what is drawn
    quick: bool = False  # measured by --quick as well

    @property
    def label(self) -> str:
        """The largest shape, as printed."""
        return "x".join(str(n) for n in max([*self.shapes.values(), self.size], key=np.prod))

    @property
    def key(self) -> str:
        """How one process names a case to another."""
        return f"{self.op}:{self.label}"

    def arrays(self) -> dict[str, Array]:
        """Draw the inputs; every process draws the same."""
        inputs = {}
        for name, shape in self.shapes.items():
            drawn = Noise(1).at(self.op, name).normal(shape, dtype=np.float32)
            inputs[name] = np.abs(drawn) if name in POSITIVE else drawn
        return inputs


def _noising(shape: Shape, quick: bool) -> list[Case]:
    n, size = shape[0], int(np.prod(shape))
    inputs = {"data": shape, "noise": shape, "a": (n,), "b": (n,)}
    drawn = {name: inputs[name] for name in ("data", "a", "b")}
    return [
        Case("noising_forward", inputs, 3 * size, quick=quick),
        Case("noising_drawn", drawn, 3 * size, size=shape, quick=quick),
    ]


def _steps(shape: Shape, quick: bool) -> list[Case]:
    size = int(np.prod(shape))
    inputs = {"x": shape, "noise_hat": shape}
    ddpm = {"alpha": 0.98, "alpha_bar": 0.4, "sigma": 0.1}
    ddim = {"alpha_bar": 0.4, "alpha_bar_next": 0.45, "sigma": 0.0}
    return [
        Case("ddpm_step_drawn", inputs, 3 * size, ddpm, size=shape, quick=quick),
        Case("ddim_step_drawn", inputs, 3 * size, ddim, size=shape, quick=quick),
    ]


def _reparameterize(shape: Shape, quick: bool) -> list[Case]:
    inputs, size = {"mu": shape, "logvar": shape}, int(np.prod(shape))
    return [Case("reparameterize_kl_drawn", inputs, 3 * size, size=shape, quick=quick)]


def _adam(size: int, quick: bool) -> list[Case]:
    inputs: dict[str, Shape] = {name: (size,) for name in ("p", "g", "m", "v", "average")}
    return [
        Case(
            "adam_ema_step", inputs, 9 * size, {"step": 7, "lr": 1e-3, "decay": 0.999}, quick=quick
        )
    ]


IMAGES, LARGE = (64, 32, 32, 3), (256, 64, 64, 3)
CASES = (
    Case("normals", {}, 64 * 3072, size=(64 * 3072,), quick=True),
    Case("normals", {}, 10**7, size=(10**7,)),
    *_noising(IMAGES, True),
    *_noising(LARGE, False),
    *_reparameterize((64, 3072), True),
    *_reparameterize((512, 32), False),
    *_steps(IMAGES, True),
    *_steps(LARGE, False),
    *_adam(10**6, True),
    *_adam(10**7, False),
)
BY_KEY = {case.key: case for case in CASES}


def choose(pattern: str, quick: bool) -> list[Case]:
    """Return the cases whose op matches a pattern (a part of the name will do)."""
    wanted = [c for c in CASES if fnmatch.fnmatch(c.op, f"*{pattern}*")]
    return [c for c in wanted if c.quick or not quick]
