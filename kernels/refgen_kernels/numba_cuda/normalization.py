"""Group and layer norm. Mirrors cupy_cuda/normalization.cu."""

import math

from numba import cuda, float32

from refgen_kernels.device import normalization as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.gradients import (
    as_they_are,
    column_sums,
    gain_of,
    gradients_of_groups,
    joined_sums,
)
from refgen_kernels.numba_cuda.moments import (
    ONE,
    SIZES,
    ZERO,
    F,
    I,
    bundle_of_block,
    measure_group,
    offset,
    seat_at,
    value_of,
)
from refgen_kernels.numba_cuda.reduce import fold
from refgen_kernels.numba_cuda.standard import standard_kernels

CU = Kernels(__name__)
group_norm_forward = CU.twin(page.group_norm_forward)
group_norm_backward = CU.twin(page.group_norm_backward)
layer_norm_forward = CU.twin(page.layer_norm_forward)
layer_norm_backward = CU.twin(page.layer_norm_backward)
standard_kernels(CU)


@device
def keep_sums(n, c, channels, s, t, given, left):  # type: ignore[no-untyped-def]
    """Keep the gradients of a channel that are sums over the rows of one example."""
    left[2 * n * channels + c] = s
    left[(2 * n + 1) * channels + c] = t


group_gradients = gradients_of_groups(gain_of, as_they_are, keep_sums)
join = joined_sums(gain_of, keep_sums)

# Group norm.


@CU.kernel(f"float*, float*, float*, float*, float*, float*, {SIZES}, int, int, float")
def standardize_bundle(  # type: ignore[no-untyped-def]
    x, gamma, beta, y, x_hat, rstd, places, channels, groups, bundle, held, eps
):
    """Normalize the groups of a bundle."""
    shared = cuda.shared.array(0, float32)
    n, first, last = bundle_of_block(groups, bundle)
    width = I(channels // groups)
    capacity = I(held * bundle * width)
    for group in range(first, last):
        origin = I(n * places * channels + group * width)
        start, m, r = measure_group(x, origin, places, channels, width, capacity, eps, shared)
        if cuda.threadIdx.x == 0:
            rstd[n * groups + group] = r
        for e in range(I(cuda.threadIdx.x), I(places * width), I(cuda.blockDim.x)):
            value = value_of(x, origin, e, channels, width, capacity, start, shared)
            i, c = I(origin + offset(e, width, channels)), I(group * width + e % width)
            normal = r * (value - m)
            x_hat[i] = normal
            y[i] = gamma[c] * normal + beta[c]  # (NM.2)


@CU.kernel(f"float*, float*, float*, float*, float*, float*, {SIZES}, int, int")
def gradients_of_bundle(  # type: ignore[no-untyped-def]
    dy, x_hat, gamma, rstd, dx, sums, places, channels, groups, bundle, held
):
    """Write dx of the groups of a bundle, and the sums of their channels."""
    n, first, last = bundle_of_block(groups, bundle)
    width = I(channels // groups)
    capacity = I(held * bundle * width)
    for group in range(first, last):
        r = rstd[n * groups + group]
        group_gradients(
            x_hat, dy, dx, ZERO, r, n, group, places, channels, width, capacity, gamma, sums
        )


@CU.kernel(f"float*, float*, float*, float*, float*, {SIZES}, int")
def join_sums(  # type: ignore[no-untyped-def]
    shares, gamma, d, b, sums, places, channels, groups, rows
):
    """Add up the parts of a group, a block to each."""
    level, stretch = join(shares, places, channels, groups, rows, gamma, sums)
    if cuda.threadIdx.x == 0:
        share = -ONE / (F(places) * F(channels // groups))
        d[cuda.blockIdx.x] = share * level
        b[cuda.blockIdx.x] = share * stretch


# Layer norm.


@device
def team_sum(x, shared, team):  # type: ignore[no-untyped-def]
    """Return the sum over a team of neighbouring threads. All threads must call."""
    cuda.syncthreads()  # an earlier sum may still be read
    shared[cuda.threadIdx.x] = x
    fold(shared, team, I(cuda.blockDim.x // team))
    return shared[cuda.threadIdx.x // team * team]


@CU.kernel("float*, float*, float*, float*, float*, float*, int, int, int, float")
def standardize_rows(  # type: ignore[no-untyped-def]
    x, gamma, beta, y, x_hat, rstd, rows, channels, team, eps
):
    """Normalize rows, a team of threads to each."""
    shared = cuda.shared.array(0, float32)
    own = I(cuda.threadIdx.x // team)
    lane, row = (
        I(cuda.threadIdx.x - own * team),
        I(cuda.blockIdx.x * (cuda.blockDim.x // team) + own),
    )
    start = I(min(row, I(rows - I(1))) * channels)
    columns = I(channels) if row < rows else I(0)
    shift, total, squares = x[start], ZERO, ZERO
    for c in range(lane, columns, I(team)):
        total += x[start + c] - shift
    mean = team_sum(total, shared, team) / F(channels)
    for c in range(lane, columns, I(team)):
        apart = x[start + c] - shift - mean
        squares += apart * apart
    r = ONE / math.sqrt(team_sum(squares, shared, team) / F(channels) + eps)  # (NM.1)
    if lane == 0 and row < rows:
        rstd[row] = r
    for c in range(lane, columns, I(team)):
        normal = r * (x[start + c] - shift - mean)
        x_hat[start + c] = normal
        y[start + c] = gamma[c] * normal + beta[c]  # (NM.2)


@CU.kernel("float*, float*, float*, float*, float*, float*, int, int, int")
def gradients_of_rows(  # type: ignore[no-untyped-def]
    dy, x_hat, gamma, rstd, dx, shares, rows, channels, team
):
    """Write dx of every so many rows, then go over them again for what gamma and beta are owed."""
    shared = cuda.shared.array(0, float32)
    teams, own = I(cuda.blockDim.x // team), I(cuda.threadIdx.x // team)
    lane, step = I(cuda.threadIdx.x - own * team), I(cuda.gridDim.x * teams)
    begin = I(cuda.blockIdx.x * teams)
    for first in range(begin, I(rows), step):
        row = I(first + own)
        start, columns = I(row * channels), I(channels) if row < rows else I(0)
        level, stretch = ZERO, ZERO
        for c in range(lane, columns, I(team)):
            g = gamma[c] * dy[start + c]
            level += g
            stretch += g * x_hat[start + c]
        d = -team_sum(level, shared, team) / F(channels)
        b = -team_sum(stretch, shared, team) / F(channels)
        for c in range(lane, columns, I(team)):
            rest = d + b * x_hat[start + c]
            dx[start + c] = rstd[row] * (gamma[c] * dy[start + c] + rest)  # (NM.4)
    across, down, column, place = seat_at(channels)
    to = I(2 * cuda.blockIdx.x * channels)
    for c0 in range(I(0), I(channels), across):
        k = I(c0 + column)
        seated = place < down and k < channels
        s, t = ZERO, ZERO
        if seated:
            for first in range(begin, I(rows), step):
                for at in range(first + place, min(I(first + teams), I(rows)), down):
                    g = dy[at * channels + k]
                    s += g
                    t += g * x_hat[at * channels + k]
        s, t = column_sums(s, t, shared, across, down, column, place)
        if seated and place == 0:
            shares[to + k] = s
            shares[to + channels + k] = t
