// Normals in registers, bit for bit those of refgen/noise.py, whose equations are cited.
//
// Only operations that IEEE defines occur, each rounded once: the intrinsics _rn keep the compiler
// from fusing a product and a sum, here and nowhere else.
#pragma once
#include "each.cuh"

// What a kernel is told of a draw. Element 0 of the draw is element `offset` of block `block`.
struct Draw {
  unsigned seed, a, b, c;
  unsigned long long block;
  int offset;  // 0 .. 63
};

// The four words of one counter: words 0 .. 3 of lane l are elements l, 16 + l, 32 + l, 48 + l.
__device__ __forceinline__ uint4 philox(unsigned long long counter, const Draw& d) {
  unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = d.b, c3 = d.c;
  unsigned k0 = d.seed, k1 = d.a;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const unsigned high2 = __umulhi(0xCD9E8D57u, c2), low2 = 0xCD9E8D57u * c2;
    c0 = high2 ^ c1 ^ k0, c1 = low2, c2 = high0 ^ c3 ^ k1, c3 = low0;  // (N.1)
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}

__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float horner(float p, float x, float a) { return plus(mul(p, x), a); }

// Logarithm of u = (w + 1/2) 2^-32, accurate at both ends of (0, 1).
__device__ __forceinline__ float log_uniform(unsigned w) {
  const unsigned sqrt_half = 0x3F3504F3u;  // the bits of the root of 1/2
  const float u = mul(plus(__uint2float_rn(w), 0.5f), 0x1p-32f);  // (N.3)
  const int above = __float_as_int(u) - (int)sqrt_half, exponent = above >> 23;
  const float e = __int2float_rn(exponent);
  float s = plus(__int_as_float((above & 0x7FFFFF) + (int)sqrt_half), -1.0f);
  if (exponent == 0) s = mul(plus(__uint2float_rn(~w), 0.5f), -0x1p-32f);
  float p = -0.0763450041f;
  p = horner(p, s, 0.127615824f);
  p = horner(p, s, -0.131601825f);
  p = horner(p, s, 0.142017573f);
  p = horner(p, s, -0.166233569f);
  p = horner(p, s, 0.200012267f);
  p = horner(p, s, -0.250008196f);
  p = horner(p, s, 0.333333313f);
  const float s2 = mul(s, s);
  const float tail = plus(mul(mul(s2, s), p), mul(e, -2.12194440e-4f));
  return plus(plus(s, plus(tail, -mul(0.5f, s2))), mul(e, 0.693359375f));  // (N.5)
}

// Cosine and sine of a quarter turn times (q + t): two polynomials, then q quarter turns.
__device__ __forceinline__ float2 cos_sin(unsigned w) {
  const unsigned q = w >> 30;
  const float t = mul(__int2float_rn((int)((w << 2) >> 1) - 0x3FFFFFFF), 0x1p-31f);
  const float t2 = mul(t, t);
  float sine = horner(-0.00460165413f, t2, 0.079680033f);
  sine = mul(t, horner(horner(sine, t2, -0.64596343f), t2, 1.57079637f));
  float cosine = horner(0.000903766195f, t2, -0.0208601654f);
  cosine = plus(mul(t2, horner(horner(cosine, t2, 0.253669232f), t2, -1.23370051f)), 1.0f);  // (N.6)
  const float x = q & 1 ? sine : cosine, y = q & 1 ? cosine : sine;
  return make_float2((q + 1) & 2 ? -x : x, q & 2 ? -y : y);
}

__device__ __forceinline__ float4 box_muller(uint4 w) {
  const float r0 = __fsqrt_rn(mul(-2.0f, log_uniform(w.x))), r1 = __fsqrt_rn(mul(-2.0f, log_uniform(w.z)));
  const float2 turn0 = cos_sin(w.y), turn1 = cos_sin(w.w);
  return make_float4(mul(r0, turn0.x), mul(r0, turn0.y), mul(r1, turn1.x), mul(r1, turn1.y));  // (N.4)
}

// Calls body(place, z) for the elements of a draw, whatever the grid.
//
// Four neighbouring counters hold sixteen elements, four times four neighbours, so a thread that
// takes four counters reads and writes 128 bits at once; `fours` says that memory allows it, which
// it does only where the draw begins at a multiple of four.
template <class Body>
__device__ __forceinline__ void each_drawn(int count, bool fours, const Draw& d, Body body) {
  const int threads = gridDim.x * blockDim.x, tasks = (d.offset + count + 63) / 64 * 4;
  for (int task = blockIdx.x * blockDim.x + threadIdx.x; task < tasks; task += threads) {
    const unsigned long long counter = 16 * (d.block + task / 4) + task % 4 * 4;
    float4 z[4];
#pragma unroll
    for (int l = 0; l < 4; ++l) z[l] = box_muller(philox(counter + l, d));
    const float across[4][4] = {{z[0].x, z[1].x, z[2].x, z[3].x}, {z[0].y, z[1].y, z[2].y, z[3].y},
                                {z[0].z, z[1].z, z[2].z, z[3].z}, {z[0].w, z[1].w, z[2].w, z[3].w}};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const int i = task / 4 * 64 + 16 * w + task % 4 * 4 - d.offset;  // (N.2)
      if (fours && i >= 0 && i + 4 <= count) {
        body(Four{i}, make_float4(across[w][0], across[w][1], across[w][2], across[w][3]));
      } else {
#pragma unroll
        for (int l = 0; l < 4; ++l)
          if (i + l >= 0 && i + l < count) body(One{i + l}, across[w][l]);
      }
    }
  }
}
