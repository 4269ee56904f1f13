// The logistic loss and the squared error, with their gradients. Mirrors refgen/ops/likelihood.py.
//
// A logit costs one exponential and one division: with e = exp(-|a|), which cannot overflow,
//
//   softplus(a) = max(a, 0) + log(1 + e) = max(a, 0) + 2 artanh(r),   r = e / (2 + e)      (LK.1)
//   artanh(r) = r (1 + r^2 / 3 + r^4 / 5 + ... + r^14 / 15),   r <= 1/3                    (LK.2)
//   sigmoid(a) = 1 / (1 + e) for a >= 0,   e / (1 + e) for a < 0                           (LK.3)
//
// r keeps the digits of an e far below 1, which 1 + e would lose; what (LK.2) leaves out is below
// 2e-9 of the sum.
#include "sums.cuh"

__device__ __forceinline__ float tail_of(float a) { return expf(-fabsf(a)); }

__device__ __forceinline__ float softplus(float a) {
  const float e = tail_of(a), r = __fdividef(e, 2.0f + e), r2 = r * r;
  float p = 1.0f / 15;
  p = p * r2 + 1.0f / 13;
  p = p * r2 + 1.0f / 11;
  p = p * r2 + 1.0f / 9;
  p = p * r2 + 1.0f / 7;
  p = p * r2 + 1.0f / 5;
  p = p * r2 + 1.0f / 3;
  return fmaxf(a, 0.0f) + 2.0f * (r * r2 * p + r);  // (LK.1), (LK.2); NaN comes through r
}

__device__ __forceinline__ float sigmoid(float a) {
  const float e = tail_of(a);
  return __fdividef(a < 0.0f ? e : 1.0f, 1.0f + e);  // (LK.3)
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) add_surprises(
    const float* x, const float* logits,  // (samples, each_sample)
    float* nll,                           // (samples,), or (samples, pieces)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed(parts, nll, [&](auto i) {
    const auto a = at(logits, i), seen = at(x, i);
    return map(softplus, a) - seen * a;  // (L.2)
  });
}

extern "C" __global__ void price_logits(
    const float* x, const float* logits,  // (samples, each_sample)
    const float* dnll,                    // (samples,)
    float* dx, float* dlogits, int each_sample, int count) {
  each(count, true, [&](auto i) {
    const auto a = at(logits, i), seen = at(x, i);
    const auto d = of_sample(dnll, i, each_sample);
    put(dx, i, -1.0f * d * a);
    put(dlogits, i, d * (map(sigmoid, a) - seen));  // (L.5)
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) add_squares(
    const float* x, const float* target,  // (samples, each_sample)
    float* loss,                          // (samples,), or (samples, pieces)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed(parts, loss, [&](auto i) {
    const auto residual = at(x, i) - at(target, i);
    return residual * residual;  // (L.7)
  });
}

extern "C" __global__ void pull_together(
    const float* x, const float* target,  // (samples, each_sample)
    const float* dloss,                   // (samples,)
    float* dx, float* dtarget, int each_sample, int count) {
  each(count, true, [&](auto i) {
    const auto pull = 2.0f * of_sample(dloss, i, each_sample) * (at(x, i) - at(target, i));
    put(dx, i, pull);
    put(dtarget, i, -1.0f * pull);  // (L.8)
  });
}
