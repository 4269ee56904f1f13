"""Norms that keep x_hat: group norm by parts, and batch norm. Mirrors cupy_cuda/standard.cuh."""

from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.gradients import as_they_are, combines_part, gain_of, sums_of_part
from refgen_kernels.numba_cuda.moments import SIZES, ZERO, normalizes_part, shared_kernels


@device
def write_standard(i, n, c, centred, r, given):  # type: ignore[no-untyped-def]
    """Write x_hat and y of a place, told x - mean."""
    gamma, beta, y, x_hat = given
    normal = r * centred
    x_hat[i] = normal
    y[i] = gamma[c] * normal + beta[c]  # (NM.2), (BN.2)


@device
def nothing(n, c, channels, given):  # type: ignore[no-untyped-def]
    """Return no weights, for sums that need none."""
    return ZERO, ZERO


write_rows = normalizes_part(write_standard)
sum_rows = sums_of_part(nothing, as_they_are)
combine_rows = combines_part(gain_of, as_they_are)


def standardize_part(  # type: ignore[no-untyped-def]
    x, apart, rstd, gamma, beta, y, x_hat, places, channels, groups, rows
):
    """Normalize a part with what was measured."""
    given = gamma, beta, y, x_hat
    write_rows(x, apart, rstd, places, channels, groups, rows, given)


def sum_part(dy, x_hat, shares, places, channels, groups, rows):  # type: ignore[no-untyped-def]
    """Leave the sums of a part's channels."""
    sum_rows(x_hat, dy, shares, x_hat, x_hat, places, channels, groups, rows, x_hat)


def combine_part(  # type: ignore[no-untyped-def]
    dy, x_hat, gamma, rstd, d, b, dx, places, channels, groups, rows
):
    """Write dx of a part."""
    combine_rows(x_hat, dy, rstd, rstd, d, b, dx, places, channels, groups, rows, gamma)


def standard_kernels(cu: Kernels) -> None:
    """Add these kernels, and those that all norms use, to those of a module."""
    shared_kernels(cu)
    floats = "float*, float*, float*"
    cu.kernel(f"{floats}, {floats}, float*, {SIZES}, int")(standardize_part)
    cu.kernel(f"{floats}, {SIZES}, int")(sum_part)
    cu.kernel(f"{floats}, {floats}, float*, {SIZES}, int")(combine_part)
