// Affine coupling, its log-determinant taken in the same pass. Mirrors refgen/ops/coupling.py.
//
// The sum over a sample costs no memory traffic: its terms are read for y anyway.
#include "sums.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) scale_and_shift(
    const float* x, const float* shift, const float* log_scale,  // (samples, each_sample)
    float* y, float* scale,
    float* logdet,  // (samples,), or (samples, pieces)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed(parts, logdet, [&](auto i) {
    const auto s = at(log_scale, i), still = at(x, i), t = at(shift, i);
    const auto by = map([](float one) { return expf(one); }, s);
    put(scale, i, by);
    put(y, i, still * by + t);  // (AC.1)
    return s;                   // (AC.3)
  });
}

extern "C" __global__ void undo(
    const float* y, const float* shift, const float* log_scale,  // (count,)
    float* x, int count) {
  each(count, true, [&](auto i) {
    const auto s = at(log_scale, i), moved = at(y, i) - at(shift, i);
    put(x, i, moved * map([](float one) { return expf(-one); }, s));  // (AC.2)
  });
}

extern "C" __global__ void pull_back(
    const float* dy, const float* dlogdet,  // (samples, each_sample), (samples,)
    const float* x, const float* scale,     // (samples, each_sample)
    float* dx, float* dlog_scale, int each_sample, int count) {
  each(count, true, [&](auto i) {
    const auto still = at(x, i), d = at(dy, i) * at(scale, i);
    const auto volume = of_sample(dlogdet, i, each_sample);
    put(dx, i, d);
    put(dlog_scale, i, d * still + volume);  // (AC.4)
  });
}
