r"""Adam, and the exponential moving average of the parameters that samples are drawn from.

Shapes     p, g, m, v, average : any one shape
Sources    kingma2015-adam  algorithm 1;  polyak1992-averaging

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²               (AD.1)
    m̂ = m / (1 − β₁ᵏ),   v̂ = v / (1 − β₂ᵏ)                        (AD.2)
    p ← p − lr m̂ / (√v̂ + ε)                                       (AD.3)
    p̄ ← δ p̄ + (1 − δ) p                                           (AD.4)

k counts steps from 1. m and v start at 0: after k steps the weights of all gradients seen sum
to 1 − βᵏ, which (AD.2) divides out. At k = 1 that leaves m̂ = g and v̂ = g², so the first step is
−lr times the sign of g wherever |g| is far above ε.
"""

import math

import numpy as np

from refgen.typing import Array


def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """Return (p, m, v) after step number `step` (1, 2, ...). Raises ValueError for step < 1."""
    if step < 1:
        raise ValueError(f"adam_step: steps count from 1, not {step}")
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)  # (AD.1)
    scale = lr / (1 - beta1**step)
    root = np.sqrt(v) * (1 / math.sqrt(1 - beta2**step))  # (AD.2)
    return p - scale * m / (root + eps), m, v  # (AD.3)


def ema_step(average: Array, p: Array, *, decay: float) -> Array:
    """Return the average after it has seen p.

    >>> ema_step(np.array([1.0]), np.array([0.0]), decay=0.75)
    array([0.75])
    """
    return decay * average + (1 - decay) * p  # (AD.4)


def adam_ema_step(
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
    """Return (p, m, v, average): both updates, which a kernel does in one pass over memory."""
    p, m, v = adam_step(p, g, m, v, step=step, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
    return p, m, v, ema_step(average, p, decay=decay)
