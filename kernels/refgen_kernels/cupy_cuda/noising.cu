// Noising, with the noise given or drawn in registers. Mirrors refgen/ops/noising.py.
//
// A sample has one a and one b. Where its entries are a multiple of four, four neighbours share
// them, and one division finds the sample of all four.
#include "philox.cuh"

extern "C" __global__ void mix(
    const float* data, const float* noise,  // (samples, each_sample)
    const float* a, const float* b,         // (samples,)
    float* x, int each_sample, int count) {
  each(count, each_sample % 4 == 0, [&](auto i) {
    const int n = i.i / each_sample;
    put(x, i, a[n] * at(data, i) + b[n] * at(noise, i));  // (X.1)
  });
}

extern "C" __global__ void draw_and_mix(
    const float* data, const float* a, const float* b,  // (samples, each_sample), (samples,) twice
    unsigned seed, unsigned h0, unsigned h1, unsigned h2, unsigned long long block, int offset,
    float* x, float* noise, int each_sample, int count) {
  const Draw draw = {seed, h0, h1, h2, block, offset};
  each_drawn(count, offset % 4 == 0 && each_sample % 4 == 0, draw, [&](auto i, auto z) {
    const int n = i.i / each_sample;
    put(noise, i, z);
    put(x, i, a[n] * at(data, i) + b[n] * z);  // (X.1)
  });
}
