"""Adam and the average of its parameters, one pass over memory. Mirrors the page, bit for bit.

Five arrays are read and four written, and of large ones nothing else moves: see `writing`.
"""

import math

import numpy as np
from numba import prange

from refgen.ops import adam as page
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load
from refgen_kernels.numba_cpu.arrays import empty, flat, suits
from refgen_kernels.numba_cpu.build import chunk_of, chunks, kernel
from refgen_kernels.numba_cpu.simd import square_root
from refgen_kernels.numba_cpu.writing import outgrows, put

F = np.float32


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
    """CPU twin of refgen.ops.adam_ema_step; arrays that are not float32 go to that page.

    Raises ValueError for step < 1.
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
    keep = F(beta1), F(1 - beta1), F(beta2), F(1 - beta2), F(decay), F(1 - decay)
    scale, unbias = F(lr / (1 - beta1**step)), F(1 / math.sqrt(1 - beta2**step))  # (AD.2)
    before = flat(p), flat(g), flat(m), flat(v), flat(average)
    whole = p.size + -p.size % 16  # so that each begins at a line of the cache
    rows = empty((4, whole))[:, : p.size]
    _step(p.size, before, tuple(rows), keep, scale, unbias, F(eps), outgrows(p.size, 9))
    return rows[0].reshape(p.shape), *(row.reshape(p.shape) for row in rows[1:])


@kernel
def _step(before, after, keep, scale, unbias, eps, past):  # type: ignore[no-untyped-def]
    p, g, m, v, average = before
    new_p, new_m, new_v, new_average = after
    b1, c1, b2, c2, decay, rest = keep
    for i in prange(chunks(p.size)):
        lo, hi = chunk_of(p.size, i)
        whole = hi - (hi - lo) % 16
        for j in range(lo, whole, 16):
            gj = load(g, j)
            mj = load(m, j) * b1 + gj * c1
            vj = load(v, j) * b2 + gj * gj * c2  # (AD.1)
            pj = load(p, j) - mj * scale / (square_root(vj) * unbias + eps)  # (AD.3)
            put(new_m, j, mj, past)
            put(new_v, j, vj, past)
            put(new_p, j, pj, past)
            put(new_average, j, load(average, j) * decay + pj * rest, past)  # (AD.4)
        for j in range(whole, hi):
            mk = b1 * m[j] + c1 * g[j]
            vk = b2 * v[j] + c2 * (g[j] * g[j])
            pk = p[j] - scale * mk / (np.sqrt(vk) * unbias + eps)
            new_m[j], new_v[j], new_p[j] = mk, vk, pk
            new_average[j] = decay * average[j] + rest * pk
