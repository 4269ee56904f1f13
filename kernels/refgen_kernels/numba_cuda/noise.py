"""Normals and words of a stream. Mirrors refgen/noise.py, bit for bit.

A thread takes one counter: its four words are sixteen elements apart, and the sixteen threads
beside it write the elements between (N.2). Products and sums are rounded one by one: mul and plus
are instructions that no compiler fuses.
"""

# mypy: allow-untyped-calls
import numpy as np
from numba import cuda

from refgen import noise as reference
from refgen_kernels.device import noise as page
from refgen_kernels.numba_cuda.build import SIMULATED, Kernels, device

CU = Kernels(__name__)
normals = CU.twin(page.normals)
words = CU.twin(page.words)

F, I, U, D = np.float32, np.int32, np.uint32, np.uint64
M0, M1, W0, W1, MASK = (D(getattr(reference, n)) for n in ("M0", "M1", "W0", "W1", "MASK"))
P, S, C = (tuple(F(a) for a in table) for table in (reference.P, reference.S, reference.C))
LN2_HIGH, LN2_LOW = F(reference.LN2[0]), F(reference.LN2[1])
SQRT_HALF, MANTISSA = I(reference.SQRT_HALF), I(0x7FFFFF)
HALF, ONE, MINUS_TWO = F(0.5), F(1), F(-2)
PER_WORD, PER_HALF, HALF_RANGE = F(2.0**-32), F(2.0**-31), I(0x3FFFFFFF)
UPPER, SIXTEEN = D(32), D(16)

if SIMULATED:  # where these intrinsics do not exist, and Python rounds after every operation

    def mul(a, b):  # type: ignore[no-untyped-def]
        """Return a b, rounded once."""
        return a * b

    def plus(a, b):  # type: ignore[no-untyped-def]
        """Return a + b, rounded once."""
        return a + b

    def root(a):  # type: ignore[no-untyped-def]
        """Return √a, rounded once."""
        return np.sqrt(a)

    def bits(a):  # type: ignore[no-untyped-def]
        """Return a float's bits as a signed word."""
        return a.view(I)

    def of_bits(a):  # type: ignore[no-untyped-def]
        """Return the float of a signed word."""
        return a.view(F)

else:
    mul, plus, root = cuda.libdevice.fmul_rn, cuda.libdevice.fadd_rn, cuda.libdevice.fsqrt_rn
    bits, of_bits = cuda.libdevice.float_as_int, cuda.libdevice.int_as_float


@device
def philox(counter, seed, a, b, c):  # type: ignore[no-untyped-def]
    """Return the four words of a counter."""
    c0, c1, c2, c3 = counter & MASK, counter >> UPPER, D(b), D(c)
    k0, k1 = D(seed), D(a)
    for _ in range(10):
        p0, p2 = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (p2 >> UPPER) ^ c1 ^ k0, p2 & MASK, (p0 >> UPPER) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK  # (N.1)
    return U(c0), U(c1), U(c2), U(c3)


@device
def log_uniform(w):  # type: ignore[no-untyped-def]
    """Return the logarithm of u, accurate at both ends of (0, 1)."""
    u = mul(plus(F(w), HALF), PER_WORD)  # (N.3)
    above = I(bits(u) - SQRT_HALF)
    exponent = I(above >> I(23))
    e = F(exponent)
    s = plus(of_bits(I((above & MANTISSA) + SQRT_HALF)), -ONE)
    if exponent == 0:
        s = mul(plus(F(U(~w)), HALF), -PER_WORD)
    p = plus(mul(P[0], s), P[1])
    p = plus(mul(p, s), P[2])
    p = plus(mul(p, s), P[3])
    p = plus(mul(p, s), P[4])
    p = plus(mul(p, s), P[5])
    p = plus(mul(p, s), P[6])
    p = plus(mul(p, s), P[7])
    s2 = mul(s, s)
    tail = plus(mul(mul(s2, s), p), mul(e, LN2_LOW))
    return plus(plus(s, plus(tail, -mul(HALF, s2))), mul(e, LN2_HIGH))  # (N.5)


@device
def cos_sin(w):  # type: ignore[no-untyped-def]
    """Return cosine and sine of ½π (q + t): two polynomials, then q quarter turns."""
    q = w >> U(30)
    t = mul(F(I(I(U(w << U(2)) >> U(1)) - HALF_RANGE)), PER_HALF)
    t2 = mul(t, t)
    sine = plus(mul(plus(mul(plus(mul(S[0], t2), S[1]), t2), S[2]), t2), S[3])
    cosine = plus(mul(plus(mul(plus(mul(C[0], t2), C[1]), t2), C[2]), t2), C[3])
    sine, cosine = mul(t, sine), plus(mul(t2, cosine), ONE)  # (N.6)
    x, y = cosine, sine
    if q & U(1):
        x, y = sine, cosine
    if (q + U(1)) & U(2):
        x = -x
    if q & U(2):
        y = -y
    return x, y


@device
def box_muller(counter, seed, a, b, c):  # type: ignore[no-untyped-def]
    """Return the four normals of a counter."""
    w0, w1, w2, w3 = philox(counter, seed, a, b, c)
    r0, r2 = root(mul(MINUS_TWO, log_uniform(w0))), root(mul(MINUS_TWO, log_uniform(w2)))
    x0, y0 = cos_sin(w1)
    x1, y1 = cos_sin(w3)
    return mul(r0, x0), mul(r0, y0), mul(r2, x1), mul(r2, y1)  # (N.4)


@device
def counters(offset, count):  # type: ignore[no-untyped-def]
    """Return how many counters hold the elements of a draw."""
    return (offset + count + I(63)) // I(64) * I(16)


@device
def place(j, offset):  # type: ignore[no-untyped-def]
    """Return where the first word of the draw's counter j goes; the others lie 16, 32, 48 on."""
    return (j >> I(4)) * I(64) + (j & I(15)) - offset  # (N.2)


@CU.kernel("float*, unsigned, unsigned, unsigned, unsigned, unsigned long long, int, int")
def draw_normals(z, seed, a, b, c, block, offset, count):  # type: ignore[no-untyped-def]
    """Write the normals of a draw."""
    for j in range(cuda.grid(1), counters(offset, count), cuda.gridsize(1)):
        four = box_muller(SIXTEEN * block + D(j), seed, a, b, c)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if 0 <= i < count:
                z[i] = four[k]


@CU.kernel("unsigned*, unsigned, unsigned, unsigned, unsigned, unsigned long long, int, int")
def draw_words(w, seed, a, b, c, block, offset, count):  # type: ignore[no-untyped-def]
    """Write the words of a draw."""
    for j in range(cuda.grid(1), counters(offset, count), cuda.gridsize(1)):
        four = philox(SIXTEEN * block + D(j), seed, a, b, c)
        at = place(I(j), offset)
        for k in range(4):
            i = at + 16 * k
            if 0 <= i < count:
                w[i] = four[k]
