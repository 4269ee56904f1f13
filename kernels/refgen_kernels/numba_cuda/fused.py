"""Group norm and SiLU, with or without FiLM between, in one pass. Mirrors cupy_cuda/fused.cu."""

from numba import cuda, float32

from refgen_kernels.device import fused as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.elementary import sigmoid
from refgen_kernels.numba_cuda.gradients import (
    combines_part,
    gradients_of_groups,
    joined_sums,
    sums_of_part,
)
from refgen_kernels.numba_cuda.moments import (
    ONE,
    SIZES,
    F,
    I,
    bundle_of_block,
    measure_group,
    normalizes_part,
    offset,
    shared_kernels,
    value_of,
)

CU = Kernels(__name__)
group_norm_silu_forward = CU.twin(page.group_norm_silu_forward)
group_norm_silu_backward = CU.twin(page.group_norm_silu_backward)
group_norm_film_silu_forward = CU.twin(page.group_norm_film_silu_forward)
group_norm_film_silu_backward = CU.twin(page.group_norm_film_silu_backward)
shared_kernels(CU)


@device
def steer(n, c, channels, given):  # type: ignore[no-untyped-def]
    """Return a and lift: what stands before silu is a x_hat + lift."""
    gamma, beta, scale, shift = given
    if scale.size == 0:
        return gamma[c], beta[c]
    by = ONE + scale[n * channels + c]
    return by * gamma[c], by * beta[c] + shift[n * channels + c]


@device
def silu(h):  # type: ignore[no-untyped-def]
    """Return h times its sigmoid."""
    return h * sigmoid(h)  # (FU.1), (FU.2)


@device
def write_bent(i, n, c, centred, r, given):  # type: ignore[no-untyped-def]
    """Write what belongs to a place, told x - mean."""
    weights, channels, y = given
    a, lift = steer(n, c, channels, weights)
    y[i] = silu(r * a * centred + lift)


@device
def unbend(x, dy, mean, r, a, lift):  # type: ignore[no-untyped-def]
    """Return x_hat and the gradient before silu."""
    x_hat = r * (x - mean)
    h = a * x_hat + lift  # (FU.3)
    weight = sigmoid(h)
    return x_hat, dy * (weight * (ONE + h * (ONE - weight)))  # (A.5)


@device
def keep_sums(n, c, channels, s, t, given, left):  # type: ignore[no-untyped-def]
    """Keep the gradients of a channel that are sums over the rows of one example."""
    gamma, beta, scale, _ = given
    sums, dscale, dshift = left
    own = I(n * channels + c)
    by = ONE
    if scale.size > 0:
        dshift[own] = s
        dscale[own] = gamma[c] * t + beta[c] * s
        by += scale[own]
    sums[n * channels + own] = by * s
    sums[n * channels + own + channels] = by * t


bend_rows = normalizes_part(write_bent)
unbend_group = gradients_of_groups(steer, unbend, keep_sums)
sum_rows = sums_of_part(steer, unbend)
join = joined_sums(steer, keep_sums)
unbend_rows = combines_part(steer, unbend)
WEIGHTS = "float*, float*, float*, float*"  # gamma, beta, scale, shift


@CU.kernel(f"float*, {WEIGHTS}, float*, float*, float*, {SIZES}, int, int, float")
def bend_bundle(  # type: ignore[no-untyped-def]
    x, gamma, beta, scale, shift, y, mean, rstd, places, channels, groups, bundle, held, eps
):
    """Normalize, steer and bend the groups of a bundle."""
    shared = cuda.shared.array(0, float32)
    n, first, last = bundle_of_block(groups, bundle)
    width = I(channels // groups)
    capacity = I(held * bundle * width)
    for group in range(first, last):
        origin = I(n * places * channels + group * width)
        start, m, r = measure_group(x, origin, places, channels, width, capacity, eps, shared)
        if cuda.threadIdx.x == 0:
            mean[n * groups + group] = start + m
            rstd[n * groups + group] = r
        for e in range(I(cuda.threadIdx.x), I(places * width), I(cuda.blockDim.x)):
            value = value_of(x, origin, e, channels, width, capacity, start, shared)
            a, lift = steer(n, group * width + e % width, channels, (gamma, beta, scale, shift))
            y[origin + offset(e, width, channels)] = silu(r * a * (value - m) + lift)


@CU.kernel(f"float*, float*, float*, {WEIGHTS}, float*, {SIZES}, int")
def bend_part(  # type: ignore[no-untyped-def]
    x, apart, rstd, gamma, beta, scale, shift, y, places, channels, groups, rows
):
    """Normalize, steer and bend a part with what was measured."""
    given = (gamma, beta, scale, shift), channels, y
    bend_rows(x, apart, rstd, places, channels, groups, rows, given)


@CU.kernel(
    f"float*, float*, {WEIGHTS}, float*, float*, float*, float*, float*, float*, {SIZES}, int, int"
)
def unbend_bundle(  # type: ignore[no-untyped-def]
    dy,
    x,
    gamma,
    beta,
    scale,
    shift,
    mean,
    rstd,
    dx,
    sums,
    dscale,
    dshift,
    places,
    channels,
    groups,
    bundle,
    held,
):
    """Write dx of the groups of a bundle, and the sums of their channels."""
    n, first, last = bundle_of_block(groups, bundle)
    width = I(channels // groups)
    capacity = I(held * bundle * width)
    given, left = (gamma, beta, scale, shift), (sums, dscale, dshift)
    for group in range(first, last):
        m, r = mean[n * groups + group], rstd[n * groups + group]
        unbend_group(x, dy, dx, m, r, n, group, places, channels, width, capacity, given, left)


@CU.kernel(f"float*, float*, {WEIGHTS}, float*, float*, float*, {SIZES}, int")
def sum_part(  # type: ignore[no-untyped-def]
    dy, x, gamma, beta, scale, shift, mean, rstd, shares, places, channels, groups, rows
):
    """Leave the sums of a part's channels."""
    given = gamma, beta, scale, shift
    sum_rows(x, dy, shares, mean, rstd, places, channels, groups, rows, given)


@CU.kernel(f"float*, float*, float*, float*, float*, float*, float*, float*, float*, {SIZES}, int")
def join_sums(  # type: ignore[no-untyped-def]
    shares, gamma, beta, scale, d, b, sums, dscale, dshift, places, channels, groups, rows
):
    """Add up the parts of a group, a block to each."""
    given, left = (gamma, beta, scale, scale), (sums, dscale, dshift)
    level, stretch = join(shares, places, channels, groups, rows, given, left)
    if cuda.threadIdx.x == 0:
        share = -ONE / (F(places) * F(channels // groups))
        d[cuda.blockIdx.x] = share * level
        b[cuda.blockIdx.x] = share * stretch


@CU.kernel(f"float*, float*, {WEIGHTS}, float*, float*, float*, float*, float*, {SIZES}, int")
def unbend_part(  # type: ignore[no-untyped-def]
    dy, x, gamma, beta, scale, shift, mean, rstd, d, b, dx, places, channels, groups, rows
):
    """Write dx of a part."""
    given = gamma, beta, scale, shift
    unbend_rows(x, dy, mean, rstd, d, b, dx, places, channels, groups, rows, given)
