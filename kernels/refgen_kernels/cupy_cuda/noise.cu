// Normals and words of a stream. Mirrors refgen/noise.py.
#include "philox.cuh"

// count + 63 must fit an int; the page cuts longer draws.
extern "C" __global__ void draw_normals(
    float* z,  // (count,)
    unsigned seed, unsigned a, unsigned b, unsigned c, unsigned long long block, int offset,
    int count) {
  const Draw draw = {seed, a, b, c, block, offset};
  each_drawn(count, offset % 4 == 0, draw, [&](auto i, auto drawn) { put(z, i, drawn); });
}

extern "C" __global__ void draw_words(
    unsigned* w,  // (count,)
    unsigned seed, unsigned a, unsigned b, unsigned c, unsigned long long block, int offset,
    int count) {
  const Draw draw = {seed, a, b, c, block, offset};
  const int threads = gridDim.x * blockDim.x, counters = (offset + count + 63) / 64 * 16;
  for (int j = blockIdx.x * blockDim.x + threadIdx.x; j < counters; j += threads) {
    const uint4 of = philox(16 * block + j, draw);
    const unsigned four[4] = {of.x, of.y, of.z, of.w};
    for (int k = 0; k < 4; ++k) {
      const int i = j / 16 * 64 + 16 * k + j % 16 - offset;  // (N.2)
      if (i >= 0 && i < count) w[i] = four[k];
    }
  }
}
