// Functions of one number that CUDA C++ lacks.
#pragma once

// 1 / (1 + exp(-x)) without overflow. Below 0 it is computed as exp(x) / (1 + exp(x)), so small
// values keep their digits; the divisor lies between 1 and 2, where a quick division is accurate.
__device__ __forceinline__ float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return __fdividef(x > 0.0f ? 1.0f : small, 1.0f + small);  // (A.3)
}
