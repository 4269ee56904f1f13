// Sums of arrays with numbers for coefficients, one pass over memory: what a step is.
//
// out = p a + q b + ..., added from the left; every array holds `count` numbers. The last term may
// be noise: four counters of Philox, drawn in registers, are sixteen of its elements, so nothing
// but the arrays themselves moves.
#pragma once
#include "philox.cuh"

extern "C" __global__ void combine_two(
    const float* a, const float* b, float p, float q, float* out, int count) {
  each(count, true, [&](auto i) { put(out, i, p * at(a, i) + q * at(b, i)); });
}

extern "C" __global__ void combine_three(
    const float* a, const float* b, const float* c, float p, float q, float r, float* out,
    int count) {
  each(count, true, [&](auto i) {
    put(out, i, p * at(a, i) + q * at(b, i) + r * at(c, i));
  });
}

extern "C" __global__ void combine_four(
    const float* a, const float* b, const float* c, const float* d, float p, float q, float r,
    float s, float* out, int count) {
  each(count, true, [&](auto i) {
    put(out, i, p * at(a, i) + q * at(b, i) + r * at(c, i) + s * at(d, i));
  });
}

extern "C" __global__ void draw_and_combine_three(
    const float* a, const float* b, float p, float q, float sigma,
    unsigned seed, unsigned h0, unsigned h1, unsigned h2, unsigned long long block, int offset,
    float* out, int count) {
  const Draw draw = {seed, h0, h1, h2, block, offset};
  each_drawn(count, offset % 4 == 0, draw, [&](auto i, auto z) {
    put(out, i, p * at(a, i) + q * at(b, i) + sigma * z);
  });
}

extern "C" __global__ void draw_and_combine_four(
    const float* a, const float* b, const float* c, float p, float q, float r, float sigma,
    unsigned seed, unsigned h0, unsigned h1, unsigned h2, unsigned long long block, int offset,
    float* out, int count) {
  const Draw draw = {seed, h0, h1, h2, block, offset};
  each_drawn(count, offset % 4 == 0, draw, [&](auto i, auto z) {
    put(out, i, p * at(a, i) + q * at(b, i) + r * at(c, i) + sigma * z);
  });
}
