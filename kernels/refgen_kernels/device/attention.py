"""Attention on the device. Mirrors refgen/ops/attention.py.

Nothing of the size L × M is ever in memory. A block of threads takes TILE queries of a head and
walks over the keys, TILE at a time (backward once more the other way round), so scores and weights
live and die in registers and in shared memory. Heads of more than 128 features go to the page.
"""

import math
import weakref

from refgen.ops import attention as page
from refgen.ops.attention import AttentionCache
from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import REACH, empty, machine, suits

__all__ = ["attention_backward", "attention_forward"]

TILE = 64  # queries and keys of a tile
WIDTHS = 32, 64, 128  # of a head, filled up: each has kernels of its own
THREADS = {  # of a block; what a thread keeps in registers decides
    "attend_32": 64,
    "attend_64": 64,
    "attend_128": 128,
    "to_queries_32": 64,
    "to_queries_64": 64,
    "to_queries_128": 128,
    "to_keys_32": 64,
    "to_keys_64": 128,
    "to_keys_128": 128,
}
_known: dict[int, weakref.ref[Array]] = {}  # masks that were looked at, by their identity


def attention_forward(
    cu: Launcher, q: Array, k: Array, v: Array, mask: Array | None = None, *, heads: int
) -> tuple[Array, AttentionCache]:
    """Device twin of refgen.ops.attention_forward; what no kernel is for goes to that page."""
    if not _suits(q, k, v, mask, heads):
        return page.attention_forward(q, k, v, mask, heads=heads)
    _check(q, k, v, mask, heads)
    sizes = _sizes(q, k, v, heads)
    y, total = empty((*q.shape[:2], v.shape[2])), empty((len(q), heads, q.shape[1]))
    _start(cu, "attend", sizes[4], q, heads, q, k, v, mask, y, total, *sizes)
    return y, AttentionCache(q, k, v, mask, total)


def attention_backward(
    cu: Launcher, dy: Array, cache: AttentionCache
) -> tuple[Array, Array, Array]:
    """Device twin of refgen.ops.attention_backward; what no kernel is for goes to that page."""
    q, k, v, mask, total = cache
    heads = total.shape[1]
    rows = (len(q), heads, q.shape[1])
    if not (
        _suits(q, k, v, mask, heads)
        and suits((*q.shape[:2], v.shape[2]), dy)
        and suits(rows, total)
    ):
        return page.attention_backward(dy, cache)
    sizes = _sizes(q, k, v, heads)
    dq, dk, dv, mean = empty(q.shape), empty(k.shape), empty(v.shape), empty(rows)
    given = q, k, v, mask, dy, total
    _start(cu, "to_queries", sizes[3], q, heads, *given, dq, mean, *sizes)
    _start(cu, "to_keys", max(sizes[3:5]), k, heads, *given, mean, dk, dv, *sizes)
    return dq, dk, dv


def _suits(q: Array, k: Array, v: Array, mask: Array | None, heads: int) -> bool:
    """Tell whether there are kernels for these arrays, be they right or not."""
    arrays = q, k, v
    if not all(suits(a.shape, a) and a.ndim == 3 for a in arrays) or heads < 1:
        return False
    widest = max(q.shape[2], v.shape[2])
    if min(q.shape[2], v.shape[2], k.shape[1]) == 0 or widest > heads * max(WIDTHS):
        return False
    if mask is not None and not (isinstance(mask, machine().array) and mask.dtype == bool):
        return False
    answers = math.prod(q.shape[:2]) * v.shape[2]
    return answers < REACH and (mask is None or int(mask.size) < REACH)


def _sizes(q: Array, k: Array, v: Array, heads: int) -> tuple[int, int, int, int, int, float]:
    """Return what every kernel is told: h, L, M, D, E and 1 / √D."""
    size = q.shape[2] // heads
    return heads, q.shape[1], k.shape[1], size, v.shape[2] // heads, 1 / math.sqrt(size)


def _check(q: Array, k: Array, v: Array, mask: Array | None, heads: int) -> None:
    """Refuse what the page refuses. To be looked at, a mask has to leave the device; but once."""
    fits = mask is not None and mask.shape == (q.shape[1], k.shape[1])
    if mask is None or not fits or _is_known(mask):
        page._check(q, k, v, None if fits else mask, heads)
        return
    page._check(q, k, v, machine().fetch(mask), heads)
    place = id(mask)
    _known[place] = weakref.ref(mask, lambda _: _known.pop(place, None))


def _is_known(mask: Array) -> bool:
    known = _known.get(id(mask))
    return known is not None and known() is mask


def _start(
    cu: Launcher, name: str, size: int, rows: Array, heads: int, *args: Array | float | None
) -> None:
    """Start the kernel for heads of a size, a block for every TILE rows of every head."""
    kernel = f"{name}_{min(w for w in WIDTHS if w >= size)}"
    blocks = len(rows) * heads * -(-rows.shape[1] // TILE)
    cu.launch(kernel, (blocks,), (THREADS[kernel],), *args)
