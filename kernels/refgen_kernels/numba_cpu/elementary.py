r"""Exponential and sigmoid, on sixteen lanes: no mathematical library is called.

With k the integer nearest to x / ln 2 and r = x − k ln 2, so that |r| ≤ ½ ln 2,

    eˣ = 2ᵏ (1 + r + r² Q(r)),   Q minimax, error 5e-9 of eˣ before rounding     (EX.1)

k is found by adding 1.5 · 2²³, at which a float32 keeps no fraction; ln 2 is subtracted in two
parts, of which k times the first is exact; 2ᵏ is multiplied in two halves, so that results too
small or too large for a normal float32 are rounded like all others. Measured on all of
[−87, 88]: at most 1.2 ulp.

Where a result may differ from one CPU to another in its last bit, x and 2ᵏ are simpler to
handle: `sigmoid` limits x to ±87, so that neither e⁻ˣ nor 2ᵏ leaves the normal numbers, and adds
k to the exponent as it stands in the sum with 1.5 · 2²³: what else is in it is shifted out.

    σ(x) = 1 / (1 + e⁻ˣ)                                                           (EX.2)
"""

import numpy as np

from refgen.noise import LN2
from refgen_kernels.numba_cpu.build import inlined
from refgen_kernels.numba_cpu.simd import (
    bits_of,
    clamp,
    float_of_bits,
    floats,
    fused,
    shift_signed,
    zero_up_to,
)

U, F = np.uint32, np.float32
Q = tuple(F(q) for q in (0.00138144672, 0.00836878084, 0.0416683927, 0.166665196, 0.49999994))
LOWEST, HIGHEST = F(-105), F(90)  # beyond, eˣ is 0 or infinite whatever x is
PER_LN2, LN2_HIGH, LN2_LOW, ONE = F(1 / np.log(2)), F(LN2[0]), F(LN2[1]), F(1)
ROUND, ROUND_BITS = F(1.5 * 2**23), U(0x4B400000)
ONE_WORD, BIAS, MANTISSA = U(1), U(127), U(23)
MOST, ZERO = F(87), F(0)


@inlined
def exponential(x):  # type: ignore[no-untyped-def]
    """Return eˣ; 0 and ∞ where that is what float32 holds, NaN for NaN."""
    x = clamp(x, LOWEST, HIGHEST)
    rounded = x * PER_LN2 + ROUND
    k = rounded - ROUND
    r = x - k * LN2_HIGH - k * LN2_LOW
    q = r * Q[0] + Q[1]
    q = q * r + Q[2]
    q = q * r + Q[3]
    q = q * r + Q[4]
    power = bits_of(rounded) - ROUND_BITS
    half = shift_signed(power, ONE_WORD)
    fraction = r * r * q + r + ONE
    return fraction * _two_to(half) * _two_to(power - half)  # (EX.1)


@inlined
def _two_to(k):  # type: ignore[no-untyped-def]
    return float_of_bits((k + BIAS) << MANTISSA)


@inlined
def _power(x):  # type: ignore[no-untyped-def]
    """Return eˣ of −87 .. 87."""
    rounded = fused(x, floats(PER_LN2), floats(ROUND))
    k = rounded - ROUND
    r = fused(k, floats(-LN2_LOW), fused(k, floats(-LN2_HIGH), x))
    q = fused(r, floats(Q[0]), floats(Q[1]))
    q = fused(q, r, floats(Q[2]))
    q = fused(q, r, floats(Q[3]))
    q = fused(q, r, floats(Q[4]))
    fraction = fused(fused(q, r, floats(ONE)), r, floats(ONE))
    return float_of_bits(bits_of(fraction) + (bits_of(rounded) << MANTISSA))  # (EX.1)


@inlined
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return σ(x), to three units in the last place."""
    return floats(ONE) / (_power(floats(ZERO) - clamp(x, -MOST, MOST)) + ONE)  # (EX.2)


@inlined
def decay(x):  # type: ignore[no-untyped-def]
    """Return eˣ of x ≤ 0: 0 for x ≤ −87, where it is below 1.7 · 10⁻³⁸; NaN for NaN."""
    return zero_up_to(x, -MOST, _power(clamp(x, -MOST, ZERO)))
