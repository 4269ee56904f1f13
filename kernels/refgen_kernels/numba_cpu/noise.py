"""Normals, 64 at a time. Mirrors refgen.noise, equation by equation and bit for bit.

A block of 64 is four vectors: lane l of vector w is word w of counter 16 b + l, which is
element 64 b + 16 w + l of the stream (N.2). Blocks stand where the stream puts them, whatever
element a draw starts at, so only the first and the last of a draw may be cut.
"""

import numpy as np
from numba import prange

from refgen import noise as page
from refgen.noise import Stream
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import store, store_part
from refgen_kernels.numba_cpu.arrays import empty
from refgen_kernels.numba_cpu.build import chunk_of, chunks, inlined, kernel
from refgen_kernels.numba_cpu.simd import (
    bits_of,
    double_words,
    even_numbers,
    float_of_bits,
    float_of_signed,
    float_of_unsigned,
    interleave,
    multiply_lower,
    shift_signed,
    square_root,
    where,
)

U, D, F = np.uint32, np.uint64, np.float32
M0, M1, W0, W1, MASK = U(page.M0), U(page.M1), U(page.W0), U(page.W1), U(page.MASK)
S, C = (tuple(F(a) for a in table) for table in (page.S, page.C))
P, LN2 = (tuple(F(-2 * a) for a in table) for table in (page.P, page.LN2))  # for −2 ln u
SQRT_HALF, SQRT_HALF_WORD = U(page.SQRT_HALF), U(page.SQRT_HALF + (32 << 23))  # √½, √½ 2³²
MANTISSA = U(0x7FFFFF)
ONE, TWO, TWENTY_THREE, HIGH = U(1), U(2), U(23), D(32)
QUARTER, HALF_TURN = U(1 << 30), U(1 << 31)
HALF, ONE_F, MINUS_TWO = F(0.5), F(1), F(-2)
PER_WORD, PER_HALF, HALF_RANGE = F(2.0**-32), F(2.0**-31), U(0x3FFFFFFF)
LAST = 2**62  # beyond it the index of an element would not fit a signed word


def normals(stream: Stream, start: int, count: int) -> Array:
    """CPU twin of refgen.noise.normals, bit for bit; draws beyond element 2⁶² go to that page."""
    if not reachable(start, count):
        return page.normals(stream, start, count)
    z = empty((count,))
    _normals(count, z, stream, int(start))
    return z


def reachable(start: int, count: int) -> bool:
    """Tell whether the elements of a draw have indices that kernels count."""
    return 0 <= start <= start + count < LAST


@kernel
def _normals(z, stream, start):  # type: ignore[no-untyped-def]
    for i in prange(chunks(z.size)):
        lo, hi = chunk_of(z.size, i)
        draw(z, lo, hi, stream, start)


@inlined
def draw(z, lo, hi, stream, start):  # type: ignore[no-untyped-def]
    """Set z[lo:hi] to the normals start + lo .. start + hi of a stream.

    Two blocks are drawn side by side where both are whole: while the products of one are under
    way, the CPU has the other to work on.
    """
    block, last = (start + lo) // 64, (start + hi + 63) // 64
    while block < last:
        at = 64 * block - start  # (N.2)
        if lo <= at and at + 128 <= hi:
            words, next_words = _words(16 * block, stream), _words(16 * block + 16, stream)
            radii, next_radii = _radii(words), _radii(next_words)
            _store(z, at, _normal_pairs(words, radii))
            _store(z, at + 64, _normal_pairs(next_words, next_radii))
            block += 2
        else:
            words = _words(16 * block, stream)
            _store_part(z, at, _normal_pairs(words, _radii(words)), lo, hi)
            block += 1


@inlined
def _store(z, at, normals):  # type: ignore[no-untyped-def]
    store(z, at, normals[0])
    store(z, at + 16, normals[1])
    store(z, at + 32, normals[2])
    store(z, at + 48, normals[3])


@inlined
def _store_part(z, at, normals, lo, hi):  # type: ignore[no-untyped-def]
    store_part(z, at, normals[0], lo, hi)
    store_part(z, at + 16, normals[1], lo, hi)
    store_part(z, at + 32, normals[2], lo, hi)
    store_part(z, at + 48, normals[3], lo, hi)


@inlined
def _radii(words):  # type: ignore[no-untyped-def]
    return square_root(_minus_2_log(words[0])), square_root(_minus_2_log(words[2]))


@inlined
def _normal_pairs(words, radii):  # type: ignore[no-untyped-def]
    cos_1, sin_1 = _cos_sin(words[1])
    cos_3, sin_3 = _cos_sin(words[3])
    return radii[0] * cos_1, radii[0] * sin_1, radii[1] * cos_3, radii[1] * sin_3  # (N.4)


@inlined
def _words(index, stream):  # type: ignore[no-untyped-def]
    """Return the four words of the sixteen counters from index on."""
    counter = even_numbers() + D(index & 0xFFFFFFFF)
    e0, e1, e2, e3 = _philox(counter, D(index >> 32), stream)
    o0, o1, o2, o3 = _philox(counter + D(1), D(index >> 32), stream)
    return interleave(e0, o0), interleave(e1, o1), interleave(e2, o2), interleave(e3, o3)


@inlined
def _philox(c0, upper, stream):  # type: ignore[no-untyped-def]
    """Eight counters, each in a lane of 64 bits.

    A product fills its lane, and its lower half is where the next product looks for it. What
    is left in the upper halves is never read.
    """
    k0, k1 = U(stream[0]), U(stream[1])
    c1, c2, c3 = double_words(upper), double_words(D(stream[2])), double_words(D(stream[3]))
    for _ in range(10):
        p0, p2 = multiply_lower(c0, M0), multiply_lower(c2, M1)
        c0, c1, c2, c3 = (p2 >> HIGH) ^ c1 ^ D(k0), p2, (p0 >> HIGH) ^ c3 ^ D(k1), p0  # (N.1)
        k0, k1 = U(k0 + W0), U(k1 + W1)
    return c0, c1, c2, c3


@inlined
def _minus_2_log(w):  # type: ignore[no-untyped-def]
    """Return −2 ln u. Constants carry the powers of two, so that no product is spent on them.

    Such a factor changes no rounding: u is 2⁻³² (w + ½) and differs from it in the exponent
    only, and every term of the sum is −2 times that of the page.
    """
    scaled_u = float_of_unsigned(w) + HALF  # (N.3)
    above = bits_of(scaled_u) - SQRT_HALF_WORD
    exponent = shift_signed(above, TWENTY_THREE)
    e = float_of_signed(exponent)
    s = float_of_bits((above & MANTISSA) + SQRT_HALF) - ONE_F
    s = where(exponent, s, (float_of_unsigned(w ^ MASK) + HALF) * -PER_WORD)
    p = s * P[0] + P[1]
    p = p * s + P[2]
    p = p * s + P[3]
    p = p * s + P[4]
    p = p * s + P[5]
    p = p * s + P[6]
    p = p * s + P[7]
    s2 = s * s
    tail = s2 * s * p + e * LN2[1]
    return s * MINUS_TWO + (tail + s2) + e * LN2[0]  # (N.5)


@inlined
def _cos_sin(w):  # type: ignore[no-untyped-def]
    """Take the quadrant from the upper two bits in place: bit 30 swaps, bit 31 is a sign."""
    t = float_of_signed(((w << TWO) >> ONE) - HALF_RANGE) * PER_HALF
    t2 = t * t
    sin = t * (((t2 * S[0] + S[1]) * t2 + S[2]) * t2 + S[3])
    cos = t2 * (((t2 * C[0] + C[1]) * t2 + C[2]) * t2 + C[3]) + ONE_F  # (N.6)
    x, y = where(w & QUARTER, sin, cos), where(w & QUARTER, cos, sin)
    return _negate(x, (w + QUARTER) & HALF_TURN), _negate(y, w & HALF_TURN)


@inlined
def _negate(x, sign):  # type: ignore[no-untyped-def]
    return float_of_bits(bits_of(x) ^ sign)
