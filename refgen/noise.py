r"""Noise with an address: a draw is a pure function of (seed, where, element index).

Shapes     stream : 4 words of 32 bits, the seed and a 96-bit hash of the address
           counter, block : (4, ...) uint32    normals(stream, start, count) : (count,) float32
Sources    salmon2011-random123  (Philox);  box1958-normals

A round of Philox multiplies two words and mixes the halves of the products; ten make a block.

    c ← (hi(m₁c₂) ⊕ c₁ ⊕ k₀, lo(m₁c₂), hi(m₀c₀) ⊕ c₃ ⊕ k₁, lo(m₀c₀)),   k ← k + w    (N.1)

The key is (seed, hash word 0), the counter (index, index ≫ 32, hash words 1, 2). Word w of
counter 16 b + l is element 64 b + 16 w + l: 16 lanes or threads store side by side. (N.2)

Words become reals at half-integers, so neither 0 nor 1 occurs and 1 − u is as exact as u:

    u = (w + ½) 2⁻³²,   1 − u = (~w + ½) 2⁻³²                                         (N.3)
    z₀ = r cos θ,   z₁ = r sin θ,   r = √(−2 ln u),   θ = ½π (q + t)                  (N.4)

Words 0 and 2 give u; in words 1 and 3 the upper two bits are q, the other 30 are t ∈ (−½, ½).
Only IEEE-exact operations occur (+ − × √ in float32, each rounded once, none fused, none
denormal), so a backend that keeps their order gives the same bits. Fitted polynomials serve
as logarithm, sine and cosine; with u = 2ᵉ (1 + s) and √½ ≤ 1 + s < √2,

    ln u = e ln 2 + s − ½ s² + s³ P(s),   where s = −(1 − u) if e = 0                 (N.5)
    sin ½πt = t S(t²),   cos ½πt = 1 + t² C(t²)                                       (N.6)
"""

import hashlib
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refgen.typing import Array

M0, M1, W0, W1, MASK = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF
SQRT_HALF = 0x3F3504F3  # the bits of √½ in float32
# Minimax on the ranges above, highest power first: fitted in float64, rounded to float32.
P: tuple[float, ...] = (-0.0763450041, 0.127615824, -0.131601825, 0.142017573)
P += (-0.166233569, 0.200012267, -0.250008196, 0.333333313)
S = (-0.00460165413, 0.079680033, -0.64596343, 1.57079637)
C = (0.000903766195, -0.0208601654, 0.253669232, -1.23370051)
LN2 = (0.693359375, -2.12194440e-4)  # e times the first is exact; the second is the remainder

Shape = int | tuple[int, ...]
Stream = tuple[int, int, int, int]
Draw = Callable[[Stream, int, int], Array]


@dataclass(frozen=True)
class Noise:
    """A place in the noise: a seed (0 .. 2³² − 1) and a path of names and numbers.

    Raises ValueError for a seed that does not fit 32 bits.

    >>> whole = Noise(0).at("ddpm", "step", 17).normal((100, 2))
    >>> part = Noise(0).at("ddpm").at("step", 17).normal((30, 2), start=140)
    >>> bool((part == whole[70:]).all())  # a slice is the slice of the whole
    True
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MASK:
            raise ValueError(f"a seed is an integer 0 .. 2**32 - 1, not {self.seed}")

    def at(self, *where: str | int) -> "Noise":
        """Return the place further down; np.int64(3) and 3 are one address, "3" is another."""
        step = tuple(w if isinstance(w, str) else operator.index(w) for w in where)
        return replace(self, path=self.path + step)

    @property
    def stream(self) -> Stream:
        """All that a backend needs to know of this place."""
        digest = hashlib.blake2b(repr(self.path).encode(), digest_size=12).digest()
        a, b, c = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))
        return operator.index(self.seed), a, b, c

    def normal(
        self,
        shape: Shape,
        *,
        start: int = 0,
        dtype: "type | np.dtype[Any]" = np.float64,
        normals: "Draw | None" = None,
    ) -> Array:
        """Draw standard normals; float64 holds the float32 values, widened.

        They live where `normals` draws: in ordinary memory, or where a backend's own does.
        """
        z = (normals or _normals)(self.stream, start, _size(shape))
        return np.reshape(z.astype(dtype), shape)

    def uniform(self, shape: Shape, *, start: int = 0) -> Array:
        """Draw float64 uniforms, 2⁻³² apart, inside (0, 1)."""
        w = words(self.stream, start, _size(shape))
        return np.reshape((w + 0.5) * 2.0**-32, shape)  # (N.3)

    def integers(
        self, high: int, shape: Shape, *, start: int = 0, words: "Draw | None" = None
    ) -> Array:
        """Draw int64 from 0 .. high − 1, each with probability 1/high to within 2⁻³².

        They live where `words` draws: in ordinary memory, or where a backend's own `words` does.
        """
        if not 0 < high <= 2**32:
            raise ValueError(f"integers are drawn below 1 .. 2**32, not below {high}")
        w = (words or _words)(self.stream, start, _size(shape)).astype(np.uint64)
        return np.reshape((w * np.uint64(high) >> np.uint64(32)).astype(np.int64), shape)


def normals(stream: Stream, start: int, count: int) -> Array:
    """Return standard normals start .. start + count of a stream, (count,) float32."""
    w = _blocks(stream, start, count)  # (B, 4, 16)
    radius = np.sqrt(-2 * _log(w[:, 0::2]))  # (B, 2, 16)
    cos, sin = _cos_sin(w[:, 1::2])
    return _elements(np.stack([radius * cos, radius * sin], axis=2), start, count)  # (N.4)


def normals_like(x: Array, stream: Stream, start: int = 0) -> Array:
    """Return normals from `start` on: of x's shape and type, and an array of x's library."""
    z = normals(stream, start, x.size).astype(x.dtype)
    return np.asarray(np.reshape(z, x.shape), like=x)


def words(stream: Stream, start: int, count: int) -> Array:
    """Return words start .. start + count of a stream, (count,) uint32."""
    return _elements(_blocks(stream, start, count), start, count)


_normals, _words = normals, words


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Return the block of each counter: (4, ...) -> (4, ...) uint32.

    >>> [f"{word:08x}" for word in philox4x32(np.zeros(4, np.uint32), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter.astype(np.uint64)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK  # (N.1)
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def _blocks(stream: Stream, start: int, count: int) -> Array:
    """Return the blocks that hold elements start .. start + count: (B, 4, 16) uint32."""
    seed, a, b, c = stream
    index = np.arange(16 * (start // 64), 16 * -(-(start + count) // 64), dtype=np.uint64)
    hashed = np.full(index.size, b), np.full(index.size, c)
    w = philox4x32(np.stack([index & MASK, index >> 32, *hashed]), (seed, a))
    return np.swapaxes(w.reshape(4, -1, 16), 0, 1)  # (N.2)


def _elements(blocks: Array, start: int, count: int) -> Array:
    return blocks.reshape(-1)[start % 64 : start % 64 + count]


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _log(w: Array) -> Array:
    """Logarithm of u, accurate at both ends of (0, 1)."""
    u = (w.astype(np.float32) + 0.5) * 2.0**-32
    above = u.view(np.int32) - SQRT_HALF
    e = (above >> 23).astype(np.float32)
    s = ((above & 0x7FFFFF) + SQRT_HALF).view(np.float32) - 1
    s = np.where(e == 0, ((~w).astype(np.float32) + 0.5) * -(2.0**-32), s)
    s2 = s * s
    tail = s2 * s * _horner(P, s) + e * LN2[1]
    ln_u: Array = s + (tail - 0.5 * s2) + e * LN2[0]  # (N.5)
    return ln_u


def _cos_sin(w: Array) -> tuple[Array, Array]:
    """Cosine and sine of ½π (q + t): the two polynomials, then q quarter turns."""
    q, t = w >> 30, ((w << 2 >> 1).view(np.int32) - 0x3FFFFFFF).astype(np.float32) * 2.0**-31
    t2 = t * t
    sin, cos = t * _horner(S, t2), t2 * _horner(C, t2) + 1  # (N.6)
    x, y = np.where(q & 1, sin, cos), np.where(q & 1, cos, sin)
    return np.where((q + 1) & 2, -x, x), np.where(q & 2, -y, y)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    p = np.full_like(x, coefficients[0])
    for a in coefficients[1:]:
        p = p * x + a
    return p
