// Diagonal Gaussians: the draw and its price in one pass. Mirrors refgen/ops/gaussian.py.
//
// With the noise drawn on the way an element costs 8 bytes read and 12 written, and its normal
// never leaves the chip: a block draws what belongs to its samples into shared memory, where the
// terms of the KL take its place.
#include "sums.cuh"

template <class T> __device__ __forceinline__ T exponential(T x) {
  return map([](float one) { return expf(one); }, x);
}

// Writes what belongs to a place; returns its term of the KL.
template <class Place, class T>
__device__ __forceinline__ T move_to(
    Place i, T noise, const float* mu, const float* logvar,
    float* z, float* displacement, float* var) {
  const T m = at(mu, i), v = at(logvar, i);
  const T moved = exponential(0.5f * v) * noise;  // (G.1)
  const T squared = exponential(v);
  put(displacement, i, moved);
  put(z, i, m + moved);  // (G.2)
  put(var, i, squared);
  return 0.5f * (m * m + ((-1.0f + squared) - v));  // (G.3)
}

extern "C" __global__ void move(
    const float* mu, const float* logvar, const float* noise,  // (count,)
    float* z, float* std, float* displacement, int count) {
  each(count, true, [&](auto i) {
    const auto m = at(mu, i), v = at(logvar, i), drawn = at(noise, i);
    const auto s = exponential(0.5f * v);  // (G.1)
    const auto moved = s * drawn;
    put(std, i, s);
    put(displacement, i, moved);
    put(z, i, m + moved);  // (G.2)
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) move_and_price(
    const float* mu, const float* logvar, const float* noise,  // (samples, each_sample)
    float* z, float* displacement, float* var,
    float* kl,  // (samples,), or (samples, pieces)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed(parts, kl, [&](auto i) {
    return move_to(i, at(noise, i), mu, logvar, z, displacement, var);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) draw_and_price(
    const float* mu, const float* logvar,  // (samples, each_sample)
    unsigned seed, unsigned h0, unsigned h1, unsigned h2, unsigned long long block, int offset,
    float* z, float* displacement, float* var,
    float* kl,  // (samples,), or (samples, pieces)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Draw draw = {seed, h0, h1, h2, block, offset};
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed_drawn(parts, kl, draw, [&](auto i, auto noise) {
    return move_to(i, noise, mu, logvar, z, displacement, var);
  });
}

extern "C" __global__ void pull(
    const float* dz, const float* dkl,  // (samples, each_sample), (samples,)
    const float* mu, const float* displacement, const float* var,  // (samples, each_sample)
    float* dmu, float* dlogvar, int each_sample, int count) {
  each(count, true, [&](auto i) {
    const auto d = at(dz, i), m = at(mu, i), moved = at(displacement, i), squared = at(var, i);
    const auto price = of_sample(dkl, i, each_sample);
    put(dmu, i, d + price * m);                                       // (G.4) + (G.5)
    put(dlogvar, i, 0.5f * (d * moved + price * (-1.0f + squared)));  // (G.4) + (G.5)
  });
}
