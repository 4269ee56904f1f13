r"""Attention, one head at a time. Mirrors the page of its name, to rounding.

A task is one head of one example. Its keys, in backward its values too, are laid out in panels
once; then 64 queries at a time make their scores (a product), the softmax in place, and their
answers (another product): of up to some thousand keys the scores never leave the cache. What is
divided by is kept, so backward makes the same weights again, by (AT.8): five products in all.

    S = q kᵀ,   dA = dy vᵀ,   dS by (AT.4);   dq = dS k,   dk += dSᵀ q,   dv += Aᵀ dy    (AK.1)

The number of keys is filled up to a multiple of 16; keys that are not there, and keys that the
mask forbids, get a score of −10³⁰, whose exponential is 0. Features of a head that are no
multiple of 16 go to the page.
"""

# mypy: allow-untyped-calls
import math

import numba
import numpy as np
from numba import prange
from numba.np.ufunc.parallel import get_thread_id

from refgen.ops import attention as page
from refgen.ops.attention import AttentionCache
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, store, turn
from refgen_kernels.numba_cpu.arrays import empty, flat, single
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.elementary import decay
from refgen_kernels.numba_cpu.matrices import panel_width
from refgen_kernels.numba_cpu.simd import bits_of, floats, largest, maximum, total, where
from refgen_kernels.numba_cpu.tile import multiply, multiply_turned

F = np.float32
ZERO, ONE, NEVER = F(0), F(1), F(-1e30)
QUERIES = 64  # whose scores are in the cache together
SHORT = 1 << 16  # products of queries and keys below which the page is done sooner


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, heads: int
) -> tuple[Array, AttentionCache]:
    """CPU twin of refgen.ops.attention_forward; what no kernel is for goes to that page."""
    if not _suits(q, k, v, mask, heads):
        return page.attention_forward(q, k, v, mask, heads=heads)
    page._check(q, k, v, mask, heads)
    sizes, hidden = _sizes(q, k, v, heads), _hidden(q, k, mask)
    n, _, queries, keys, _, taken = sizes
    y, sums = empty((*q.shape[:2], v.shape[2])), np.empty((2, n, heads, queries), F)
    scratch = _scratch(keys * (sizes[4] + taken), QUERIES * keys)
    scale = F(1 / math.sqrt(sizes[4]))
    work = queries * q.size * keys
    _forward(work, flat(q), flat(k), flat(v), hidden, flat(y), sums, scratch, sizes, scale)
    return y, AttentionCache(q, k, v, mask, sums[0] + np.log(sums[1]))  # (AT.8)


def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """CPU twin of refgen.ops.attention_backward; what no kernel is for goes to that page."""
    q, k, v, mask, logs = cache
    heads = logs.shape[1]
    shapes = dy.shape == (*q.shape[:2], v.shape[2]) and logs.shape == (len(q), heads, q.shape[1])
    if not (_suits(q, k, v, mask, heads) and single(dy, logs) and shapes):
        return page.attention_backward(dy, cache)
    sizes, hidden = _sizes(q, k, v, heads), _hidden(q, k, mask)
    _, _, queries, keys, size, taken = sizes
    dq, dk, dv = empty(q.shape), empty(k.shape), empty(v.shape)
    scratch = _scratch(2 * keys * (size + taken), 2 * QUERIES * keys)
    scale = F(1 / math.sqrt(size))
    given = flat(q), flat(k), flat(v), flat(dy)
    results = flat(dq), flat(dk), flat(dv)
    work = queries * q.size * keys
    _backward(work, given, hidden, flat(logs), results, scratch, sizes, scale)
    return dq, dk, dv


def _suits(q: Array, k: Array, v: Array, mask: Array | None, heads: int) -> bool:
    """Tell whether heads have the size of vectors, and there is enough to do."""
    fits = single(q, k, v) and q.ndim == k.ndim == v.ndim == 3 and heads > 0
    if not fits or v.shape[2] == 0 or q.shape[2] % (16 * heads) or v.shape[2] % (16 * heads):
        return False
    return (mask is None or mask.dtype == bool) and q.size * k.shape[1] >= SHORT


def _sizes(q: Array, k: Array, v: Array, heads: int) -> tuple[int, ...]:
    """Return (N, h, L, M filled up, D, E)."""
    keys = k.shape[1] + -k.shape[1] % 16
    return (len(q), heads, q.shape[1], keys, q.shape[2] // heads, v.shape[2] // heads)


def _hidden(q: Array, k: Array, mask: Array | None) -> Array:
    """Return what stands in place of scores, (L or 1, M filled up): 0 for nothing, or NEVER."""
    rows, keys = 1 if mask is None else q.shape[1], k.shape[1]
    hidden = np.full((rows, keys + -keys % 16), NEVER)
    hidden[:, :keys] = ZERO if mask is None else np.where(mask, ZERO, NEVER)
    return hidden


def _scratch(once: int, scores: int) -> Array:
    return empty((numba.get_num_threads(), once + scores))


@inlined
def _turned_panels(x, first, row, rows, sizes, scale, memory, at):  # type: ignore[no-untyped-def]
    """Write scale xᵀ in panels, `rows` rows of x filled up with zeros to a multiple of 16."""
    keys, size = sizes
    start = 0
    while start < keys:
        panel = panel_width(start, keys)
        for d in range(0, size, 16):
            for j in range(0, panel, 16):
                here, to = first + (start + j) * row + d, at + d * panel + j
                if start + j + 16 <= rows:
                    turn(x, here, row, memory, to, panel)
                else:
                    for a in range(16):
                        for b in range(16):
                            real = start + j + b < rows
                            memory[to + a * panel + b] = x[here + b * row + a] if real else ZERO
                for a in range(16):
                    store(memory, to + a * panel, load(memory, to + a * panel) * scale)
        at += panel * size
        start += panel


@inlined
def _products(x, a, row, panels, b, memory, c, count, depth, keys):  # type: ignore[no-untyped-def]
    """Set memory[c:] : (count, keys) to rows of x times the panels."""
    start = 0
    while start < keys:
        panel = panel_width(start, keys)
        multiply(
            x, a, panels, b + start * depth, memory, c + start, row, 0, depth, 1, panel, 0, keys, 0,
            count, panel,
        )  # fmt: skip
        start += panel


@inlined
def _seen(memory, at, hidden, mask):  # type: ignore[no-untyped-def]
    """Return sixteen scores, NEVER in place of those that are hidden, whatever they are."""
    never = load(hidden, mask)
    return where(bits_of(never), never, load(memory, at))


@inlined
def _softmax(memory, at, keys, hidden, mask):  # type: ignore[no-untyped-def]
    """Set a row of scores to e^(S − max S); return the maximum and the sum."""
    top = _seen(memory, at, hidden, mask)
    for j in range(16, keys, 16):
        top = maximum(top, _seen(memory, at + j, hidden, mask + j))
    most = largest(top)
    sums = floats(ZERO)
    for j in range(0, keys, 16):
        e = decay(_seen(memory, at + j, hidden, mask + j) - most)
        store(memory, at + j, e)
        sums = sums + e
    return most, total(sums)


@kernel
def _forward(q, k, v, hidden, y, sums, scratch, sizes, scale):  # type: ignore[no-untyped-def]
    n, heads, queries, keys, size, taken = sizes
    real = k.size // max(n * heads * size, 1)
    row, out_row = heads * size, heads * taken
    flat_hidden, step = hidden.reshape(-1), keys if hidden.shape[0] > 1 else 0
    for task in prange(n * heads):
        example, head = task // heads, task % heads
        memory = scratch[get_thread_id()]
        scores = keys * (size + taken)
        first = example * real * row + head * size
        _turned_panels(k, first, row, real, (keys, size), scale, memory, 0)
        for i in range(0, queries, QUERIES):
            count = min(QUERIES, queries - i)
            a = (example * queries + i) * row + head * size
            _products(q, a, row, memory, 0, memory, scores, count, size, keys)
            for j in range(count):
                most, sum_ = _softmax(memory, scores + j * keys, keys, flat_hidden, (i + j) * step)
                sums[0, example, head, i + j] = most
                sums[1, example, head, i + j] = sum_
            to = (example * queries + i) * out_row + head * taken
            values = example * real * out_row + head * taken
            multiply(
                memory, scores, v, values, y, to, keys, 0, real, 1, out_row, 0, out_row, 0, count,
                taken,
            )  # fmt: skip
            for j in range(count):
                share = ONE / sums[1, example, head, i + j]
                for c in range(0, taken, 16):
                    place = to + j * out_row + c
                    store(y, place, load(y, place) * share)  # (AT.3)


@kernel
def _backward(given, hidden, logs, results, scratch, sizes, scale):  # type: ignore[no-untyped-def]
    n, heads, queries, keys, size, taken = sizes
    q, k, v, dy = given
    dq, dk, dv = results
    real = k.size // max(n * heads * size, 1)
    row, out_row = heads * size, heads * taken
    flat_hidden, step = hidden.reshape(-1), keys if hidden.shape[0] > 1 else 0
    for task in prange(n * heads):
        example, head = task // heads, task % heads
        memory = scratch[get_thread_id()]
        value_panels = keys * size
        sum_k = value_panels + keys * taken
        sum_v = sum_k + keys * size
        scores = sum_v + keys * taken
        dscores = scores + QUERIES * keys
        own, values = (
            example * real * row + head * size,
            example * real * out_row + head * taken,
        )
        _turned_panels(k, own, row, real, (keys, size), scale, memory, 0)
        _turned_panels(v, values, out_row, real, (keys, taken), ONE, memory, value_panels)
        for i in range(0, queries, QUERIES):
            count, add = min(QUERIES, queries - i), 1 if i > 0 else 0
            a = (example * queries + i) * row + head * size
            d = (example * queries + i) * out_row + head * taken
            _products(q, a, row, memory, 0, memory, scores, count, size, keys)
            _products(dy, d, out_row, memory, value_panels, memory, dscores, count, taken, keys)
            for j in range(count):
                log = logs[task * queries + i + j]
                mask = (i + j) * step
                _weigh(memory, scores + j * keys, keys, flat_hidden, mask, log)
                _centre(memory, scores + j * keys, dscores + j * keys, keys, scale)
            multiply_turned(
                memory, scores, dy, d, memory, sum_v, keys, 0, count, 1, out_row, 0, taken, add,
                keys, taken,
            )  # fmt: skip
            multiply_turned(
                memory, dscores, q, a, memory, sum_k, keys, 0, count, 1, row, 0, size, add, keys,
                size,
            )  # fmt: skip
            multiply(
                memory, dscores, k, own, dq, a, keys, 0, real, 1, row, 0, row, 0, count, size,
            )  # fmt: skip
        for j in range(real):
            for c in range(0, size, 16):
                store(dk, own + j * row + c, load(memory, sum_k + j * size + c))
            for c in range(0, taken, 16):
                store(dv, values + j * out_row + c, load(memory, sum_v + j * taken + c))


@inlined
def _weigh(memory, at, keys, hidden, mask, log):  # type: ignore[no-untyped-def]
    """Set a row of scores to the weights A (AT.8)."""
    for j in range(0, keys, 16):
        store(memory, at + j, decay(_seen(memory, at + j, hidden, mask + j) - log))


@inlined
def _centre(memory, at, d, keys, scale):  # type: ignore[no-untyped-def]
    """Set a row of dA to dS / √D, by (AT.4)."""
    sums = floats(ZERO)
    for j in range(0, keys, 16):
        sums = sums + load(memory, at + j) * load(memory, d + j)
    mean = total(sums)
    for j in range(0, keys, 16):
        store(memory, d + j, load(memory, at + j) * (load(memory, d + j) - mean) * scale)
