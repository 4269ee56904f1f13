"""Attention in one pass over the keys, and its adjoint. Mirrors refgen/ops/attention.py.

The plan is that of attention.cu, written more simply. A block takes TILE rows of a head, walks over
tiles of the other side, and has the scores of a tile in shared memory: dots at first, weights then.
What is added up lies in the result's own place in global memory. Products are made in patches of
4 × 4, sixteen for eight numbers read. The threads of a block share out the patches, and the rows
where rows are summed, so blocks may have any size, and heads of all widths share one kernel.

A sum relative to one maximum is e^(m − m') times as much relative to a new one, m':

    m' = max(m, max_j S_j),   s' = e^(m − m') s + Σ_j e^(S_j − m'),
    o' = e^(m − m') o + Σ_j e^(S_j − m') v_j;   in the end  y = o / s,  c = m + log s    (AC.1)
"""

# mypy: allow-untyped-calls
import math

import numpy as np
from numba import cuda

from refgen_kernels.device import attention as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.noise import mul

CU = Kernels(__name__)
attention_forward = CU.twin(page.attention_forward)
attention_backward = CU.twin(page.attention_backward)

F = np.float32
ZERO, ONE, NEVER = F(0), F(1), F(-np.inf)  # the last: the score of a hidden key
TILE = page.TILE
DEPTH = 16  # features in shared memory at a time
PATCH = 4  # rows, and columns, of a patch; they lie apart, so that no two meet in a bank
ROWS = TILE * (DEPTH + 1)  # numbers that rows of features take
SQUARE = TILE * (TILE + 1)  # numbers that a tile of scores takes


@device
def tile_of(count):  # type: ignore[no-untyped-def]
    """Return which head of all heads the block works on, and its first row."""
    tiles = (count + TILE - 1) // TILE
    return cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles * TILE


@device
def rows_of(x, head, heads, count, features):  # type: ignore[no-untyped-def]
    """Return rows of one head: the array (N, count, heads features), where they begin, sizes."""
    start = (head // heads * count * heads + head % heads) * features
    return x, start, heads * features, count, features


@device
def stage(to, rows, first, feature):  # type: ignore[no-untyped-def]
    """Copy TILE rows and DEPTH features to shared memory; what is not there is 0."""
    x, start, step, count, features = rows
    for i in range(cuda.threadIdx.x, TILE * DEPTH, cuda.blockDim.x):
        r, c = i // DEPTH, i % DEPTH
        value = ZERO
        if first + r < count and feature + c < features:
            value = x[start + (first + r) * step + feature + c]
        to[r * (DEPTH + 1) + c] = value


@device
def dot(dots, memory, rows, first, columns, second):  # type: ignore[no-untyped-def]
    """Set dots to the products of rows and columns, added in the order of the features."""
    a, b = memory
    features, quarter = rows[4], TILE // PATCH
    down, across = min(quarter, rows[3] - first), min(quarter, columns[3] - second)
    for feature in range(0, features, DEPTH):
        cuda.syncthreads()  # nobody reads any more what was there
        stage(a, rows, first, feature)
        stage(b, columns, second, feature)
        cuda.syncthreads()
        for patch in range(cuda.threadIdx.x, down * across, cuda.blockDim.x):
            r, c = patch // across, patch % across
            sums = cuda.local.array((PATCH, PATCH), F)
            for i in range(PATCH):
                for j in range(PATCH):
                    sums[i, j] = ZERO
                    if feature > 0:
                        sums[i, j] = dots[(r + i * quarter) * (TILE + 1) + c + j * quarter]
            for k in range(min(DEPTH, features - feature)):
                for i in range(PATCH):
                    for j in range(PATCH):
                        x = a[(r + i * quarter) * (DEPTH + 1) + k]
                        sums[i, j] += x * b[(c + j * quarter) * (DEPTH + 1) + k]
            for i in range(PATCH):
                for j in range(PATCH):
                    dots[(r + i * quarter) * (TILE + 1) + c + j * quarter] = sums[i, j]
    cuda.syncthreads()


@device
def gather(result, first, shares, weights, memory, rows, second):  # type: ignore[no-untyped-def]
    """Set rows of the result to their shares of them plus weights times the other rows."""
    y, start, step, count, features = result
    b, here = memory[1], min(TILE, rows[3] - second)
    quarter = TILE // PATCH
    down, apart = min(quarter, count - first), DEPTH // PATCH
    for feature in range(0, features, DEPTH):
        cuda.syncthreads()  # weights and shares are written, and nobody reads the memory
        stage(b, rows, second, feature)
        cuda.syncthreads()
        across = min(apart, features - feature)
        for patch in range(cuda.threadIdx.x, down * across, cuda.blockDim.x):
            r, c = patch // across, patch % across
            sums = cuda.local.array((PATCH, PATCH), F)
            for i in range(PATCH):
                for j in range(PATCH):
                    sums[i, j] = ZERO
            for k in range(here):
                for i in range(PATCH):
                    for j in range(PATCH):
                        weight = weights[(r + i * quarter) * (TILE + 1) + k]
                        sums[i, j] += weight * b[k * (DEPTH + 1) + c + j * apart]
            for i in range(PATCH):
                for j in range(PATCH):
                    row, column = r + i * quarter, feature + c + j * apart
                    if first + row < count and column < features:
                        at = start + (first + row) * step + column
                        y[at] = shares[row] * y[at] + sums[i, j]


@device
def scale_rows(result, first, scales, known):  # type: ignore[no-untyped-def]
    """Divide rows of the result by scales; where they are not known yet, set them to 0."""
    y, start, step, count, features = result
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, min(TILE, count - first) * features, cuda.blockDim.x):
        r, c = i // features, i % features
        at = start + (first + r) * step + c
        y[at] = y[at] / scales[r] if known else ZERO


@device
def sees(mask, query, key, keys):  # type: ignore[no-untyped-def]
    """Tell whether a query may look at a key."""
    return mask.size == 0 or mask[query * keys + key]


@CU.kernel("float*, float*, float*, bool*, float*, float*, int, int, int, int, int, float")
def attend(  # type: ignore[no-untyped-def]
    q, k, v, mask, y, total, heads, queries, keys, size, taken, scale
):
    """Answer queries, and keep the logarithms of their sums."""
    dots = cuda.shared.array(SQUARE, F)
    a = cuda.shared.array(ROWS, F)
    b = cuda.shared.array(ROWS, F)
    top = cuda.shared.array(TILE, F)
    sums = cuda.shared.array(TILE, F)
    shares = cuda.shared.array(TILE, F)
    memory = a, b
    head, first = tile_of(queries)
    asking = rows_of(q, head, heads, queries, size)
    answers = rows_of(y, head, heads, queries, taken)
    here = min(TILE, queries - first)
    for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
        top[r], sums[r] = NEVER, ZERO
    scale_rows(answers, first, sums, False)
    for key in range(0, keys, TILE):
        dot(dots, memory, asking, first, rows_of(k, head, heads, keys, size), key)
        for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
            most = top[r]  # no comparison finds NaN, but the sum brings it in again
            for j in range(min(TILE, keys - key)):
                at = r * (TILE + 1) + j
                dots[at] = mul(dots[at], scale)  # (AT.2)
                if not sees(mask, first + r, key + j, keys):
                    dots[at] = NEVER
                if dots[at] > most:
                    most = dots[at]
            base = ZERO if most == NEVER else most  # nothing seen yet: weights of 0, not of NaN
            more = ZERO
            for j in range(min(TILE, keys - key)):
                at = r * (TILE + 1) + j
                dots[at] = math.exp(dots[at] - base)
                more += dots[at]
            shares[r] = math.exp(top[r] - base)
            sums[r] = shares[r] * sums[r] + more  # (AC.1)
            top[r] = most
        gather(answers, first, shares, dots, memory, rows_of(v, head, heads, keys, taken), key)
    for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
        total[head * queries + first + r] = top[r] + math.log(sums[r])  # (AT.8)
    scale_rows(answers, first, sums, True)  # (AT.3)


@CU.kernel(
    "float*, float*, float*, bool*, float*, float*, float*, float*, int, int, int, int, int, float"
)
def to_queries(  # type: ignore[no-untyped-def]
    q, k, v, mask, dy, total, dq, mean, heads, queries, keys, size, taken, scale
):
    """Walk over the keys twice: for the mean of dA along the rows, and for dq."""
    weights = cuda.shared.array(SQUARE, F)
    slopes = cuda.shared.array(SQUARE, F)
    a = cuda.shared.array(ROWS, F)
    b = cuda.shared.array(ROWS, F)
    means = cuda.shared.array(TILE, F)
    ones = cuda.shared.array(TILE, F)
    memory = a, b
    head, first = tile_of(queries)
    asking = rows_of(q, head, heads, queries, size)
    asked, values = rows_of(k, head, heads, keys, size), rows_of(v, head, heads, keys, taken)
    gradients = rows_of(dy, head, heads, queries, taken)
    result = rows_of(dq, head, heads, queries, size)
    here = min(TILE, queries - first)
    for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
        means[r], ones[r] = ZERO, ONE
    scale_rows(result, first, ones, False)
    for turn in range(2):
        for key in range(0, keys, TILE):
            across = min(TILE, keys - key)
            dot(weights, memory, asking, first, asked, key)
            for i in range(cuda.threadIdx.x, here * across, cuda.blockDim.x):
                r, j = i // across, i % across
                at = r * (TILE + 1) + j
                weight = math.exp(mul(weights[at], scale) - total[head * queries + first + r])
                weights[at] = weight if sees(mask, first + r, key + j, keys) else ZERO  # (AT.8)
            dot(slopes, memory, gradients, first, values, key)  # dA, (AT.5)
            if turn == 0:
                for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
                    more = ZERO
                    for j in range(across):
                        more += weights[r * (TILE + 1) + j] * slopes[r * (TILE + 1) + j]
                    means[r] += more
            else:
                for i in range(cuda.threadIdx.x, here * across, cuda.blockDim.x):
                    r, j = i // across, i % across
                    at = r * (TILE + 1) + j
                    weights[at] *= (slopes[at] - means[r]) * scale  # dS, (AT.4)
                gather(result, first, ones, weights, memory, asked, key)  # (AT.6)
    for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
        mean[head * queries + first + r] = means[r]


@CU.kernel(
    "float*, float*, float*, bool*, float*, float*, float*, float*, float*, "
    "int, int, int, int, int, float"
)
def to_keys(  # type: ignore[no-untyped-def]
    q, k, v, mask, dy, total, mean, dk, dv, heads, queries, keys, size, taken, scale
):
    """Walk over the queries, with tiles of the transposed weights, for dk and dv."""
    weights = cuda.shared.array(SQUARE, F)
    slopes = cuda.shared.array(SQUARE, F)
    a = cuda.shared.array(ROWS, F)
    b = cuda.shared.array(ROWS, F)
    ones = cuda.shared.array(TILE, F)
    memory = a, b
    head, first = tile_of(keys)
    asking = rows_of(q, head, heads, queries, size)
    asked, values = rows_of(k, head, heads, keys, size), rows_of(v, head, heads, keys, taken)
    gradients = rows_of(dy, head, heads, queries, taken)
    to_k, to_v = rows_of(dk, head, heads, keys, size), rows_of(dv, head, heads, keys, taken)
    here = min(TILE, keys - first)
    for r in range(cuda.threadIdx.x, here, cuda.blockDim.x):
        ones[r] = ONE
    scale_rows(to_k, first, ones, False)
    scale_rows(to_v, first, ones, False)
    for query in range(0, queries, TILE):
        across = min(TILE, queries - query)
        dot(weights, memory, asked, first, asking, query)
        for i in range(cuda.threadIdx.x, here * across, cuda.blockDim.x):
            r, j = i // across, i % across
            at = r * (TILE + 1) + j
            weight = math.exp(mul(weights[at], scale) - total[head * queries + query + j])
            weights[at] = weight if sees(mask, query + j, first + r, keys) else ZERO  # (AT.8)
        gather(to_v, first, ones, weights, memory, gradients, query)  # (AT.5)
        dot(slopes, memory, values, first, gradients, query)  # dA, (AT.5)
        for i in range(cuda.threadIdx.x, here * across, cuda.blockDim.x):
            r, j = i // across, i % across
            at = r * (TILE + 1) + j
            weights[at] *= (slopes[at] - mean[head * queries + query + j]) * scale  # dS, (AT.4)
        gather(to_k, first, ones, weights, memory, asking, query)  # (AT.6)


for name in ("attend", "to_queries", "to_keys"):
    kernel = CU.kernels.pop(name)
    CU.kernels.update({f"{name}_{width}": kernel for width in page.WIDTHS})
