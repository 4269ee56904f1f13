"""Diagonal Gaussians: the draw and its price in one pass. Mirrors cupy_cuda/gaussian.cu."""

import math

import numpy as np
from numba import cuda

from refgen_kernels.device import gaussian as page
from refgen_kernels.numba_cuda.build import Kernels, device
from refgen_kernels.numba_cuda.sums import (
    PARTS,
    STEP,
    TILE,
    F,
    I,
    add_shares,
    draw,
    first_and_last,
    keep,
)

CU = Kernels(__name__)
reparameterize_forward = CU.twin(page.reparameterize_forward)
reparameterize_kl_forward = CU.twin(page.reparameterize_kl_forward)
reparameterize_kl_drawn = CU.twin(page.reparameterize_kl_drawn)
reparameterize_kl_backward = CU.twin(page.reparameterize_kl_backward)
CU.kernel(f"float*, float*, {PARTS}")(add_shares)

HALF, ONE = F(0.5), F(1)


@device
def move_to(i, noise, mu, logvar, z, displacement, var):  # type: ignore[no-untyped-def]
    """Write what belongs to an entry; return its term of the KL."""
    m, v = mu[i], logvar[i]
    moved = math.exp(HALF * v) * noise  # (G.1)
    squared = math.exp(v)
    displacement[i] = moved
    z[i] = m + moved  # (G.2)
    var[i] = squared
    return HALF * (m * m + (squared - ONE - v))  # (G.3)


@CU.kernel("float*, float*, float*, float*, float*, float*, int")
def move(mu, logvar, noise, z, std, displacement, count):  # type: ignore[no-untyped-def]
    """Write draws, and what the gradients need."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        s = math.exp(HALF * logvar[i])  # (G.1)
        moved = s * noise[i]
        std[i] = s
        displacement[i] = moved
        z[i] = mu[i] + moved  # (G.2)


@CU.kernel(f"float*, float*, float*, float*, float*, float*, float*, {PARTS}")
def move_and_price(  # type: ignore[no-untyped-def]
    mu, logvar, noise, z, displacement, var, kl, samples, each_sample, together, pieces, piece
):
    """Draw with the noise given, and add up the KL."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            terms[i - tile] = move_to(i, noise[i], mu, logvar, z, displacement, var)
        keep(terms, I(end - tile), kl, tile > lo, each_sample, together, pieces)


@CU.kernel(
    "float*, float*, unsigned, unsigned, unsigned, unsigned, unsigned long long, int, "
    f"float*, float*, float*, float*, {PARTS}"
)
def draw_and_price(  # type: ignore[no-untyped-def]
    mu,
    logvar,
    seed,
    h0,
    h1,
    h2,
    block,
    offset,
    z,
    displacement,
    var,
    kl,
    samples,
    each_sample,
    together,
    pieces,
    piece,
):
    """Draw, and add up the KL; normals wait in shared memory where the terms will be."""
    terms = cuda.shared.array(TILE, np.float32)
    lo, hi = first_and_last(samples, each_sample, together, pieces, piece)
    for tile in range(lo, hi, STEP):
        end = min(I(tile + STEP), hi)
        draw(terms, tile, end, seed, h0, h1, h2, block, offset)
        for i in range(I(tile + cuda.threadIdx.x), end, I(cuda.blockDim.x)):
            terms[i - tile] = move_to(i, terms[i - tile], mu, logvar, z, displacement, var)
        keep(terms, I(end - tile), kl, tile > lo, each_sample, together, pieces)


@CU.kernel("float*, float*, float*, float*, float*, float*, float*, int, int")
def pull(  # type: ignore[no-untyped-def]
    dz, dkl, mu, displacement, var, dmu, dlogvar, each_sample, count
):
    """Add up what came through the draw and through the KL."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        price = dkl[i // each_sample]
        dmu[i] = dz[i] + price * mu[i]
        dlogvar[i] = HALF * (dz[i] * displacement[i] + price * (var[i] - ONE))  # (G.4), (G.5)
