"""Adam and the average of its parameters on the device. Mirrors refgen/ops/adam.py."""

import math

from refgen.ops import adam as page
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import empty, suits


def adam_ema_step(
    cu: Launcher,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    average: Array,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    decay: float,
) -> tuple[Array, Array, Array, Array]:
    """Device twin of refgen.ops.adam_ema_step; arrays that are not float32 go to that page.

    What does not depend on the entry is computed here, in float64.
    """
    if step < 1 or not suits(p.shape, p, g, m, v, average):
        return page.adam_ema_step(
            p,
            g,
            m,
            v,
            average,
            step=step,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            decay=decay,
        )
    keep = beta1, 1 - beta1, beta2, 1 - beta2, decay, 1 - decay
    scale, unbias = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)  # (AD.2)
    new_p, new_m, new_v, new_average = (empty(p.shape) for _ in range(4))
    before, after = (p, g, m, v, average), (new_p, new_m, new_v, new_average)
    cu.each("update", p.size, *before, *keep, scale, unbias, eps, *after, p.size)
    return after
