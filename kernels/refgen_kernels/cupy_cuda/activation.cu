// SiLU and ReLU, one pass over memory. Mirrors refgen/ops/activation.py.
//
// What is not a number stays so: fmaxf(x, 0) would make it 0, a comparison keeps it.
#include "each.cuh"
#include "elementary.cuh"

__device__ __forceinline__ float if_positive(float x, float then) { return x > 0.0f ? then : 0.0f; }
__device__ __forceinline__ float4 if_positive(float4 x, float4 then) {
  return make_float4(if_positive(x.x, then.x), if_positive(x.y, then.y), if_positive(x.z, then.z),
                     if_positive(x.w, then.w));
}

extern "C" __global__ void weigh_by_sigmoid(
    const float* x, float* y, float* s, int count) {  // (count,), as every array here
  each(count, true, [&](auto i) {
    const auto entry = at(x, i);
    const auto weight = map([](float t) { return sigmoid(t); }, entry);  // (A.3)
    put(s, i, weight);
    put(y, i, entry * weight);
  });
}

extern "C" __global__ void weigh_by_slope(
    const float* dy, const float* x, const float* s, float* dx, int count) {
  each(count, true, [&](auto i) {
    const auto weight = at(s, i), rest = 1.0f + -1.0f * weight;
    put(dx, i, at(dy, i) * weight * (1.0f + at(x, i) * rest));  // (A.5)
  });
}

extern "C" __global__ void cut_at_zero(const float* x, float* y, int count) {
  each(count, true, [&](auto i) {
    put(y, i, map([](float t) { return t < 0.0f ? 0.0f : t; }, at(x, i)));  // (A.1)
  });
}

extern "C" __global__ void keep_where_positive(
    const float* dy, const float* x, float* dx, int count) {
  each(count, true, [&](auto i) { put(dx, i, if_positive(at(x, i), at(dy, i))); });
}
