// Norms that keep x_hat: group norm by parts, and batch norm, which is a group norm of one example
// with a channel to a group.
#pragma once
#include "gradients.cuh"

// Writes what belongs to a place: x_hat and y.
template <class T, class R>
__device__ __forceinline__ auto standardized(T gain, T lift, R r, float* y, float* x_hat) {
  return [=](auto i, T centred) {
    const T normal = r * centred;
    put(x_hat, i, normal);
    put(y, i, gain * normal + lift);  // (NM.2), (BN.2)
  };
}

// What is known of a channel backward: x_hat and g are what lies in the arrays.
template <class T, class R> struct Scaled {
  T a;
  R r;
  __device__ __forceinline__ Both<T> operator()(const Both<T>& of) const { return of; }
};
template <class T, class R> __device__ __forceinline__ Scaled<T, R> scaled(T a, R r) {
  return {a, r};
}

extern "C" __global__ void __launch_bounds__(256, 4) standardize_part(
    const float* x, const float* apart, const float* rstd,  // as join_measures leaves them
    const float* gamma, const float* beta,                  // (channels,)
    float* y, float* x_hat, int places, int channels, int groups, int rows) {
  by_width(channels % 4 == 0, [&](auto place) {
    const auto weigh = [&](int, auto channel, auto r) {
      return standardized(at(gamma, channel), at(beta, channel), r, y, x_hat);
    };
    normalize_part<decltype(place)>(x, apart, rstd, {places, channels, groups}, rows, weigh);
  });
}

extern "C" __global__ void __launch_bounds__(256) sum_part(
    const float* dy, const float* x_hat,  // (examples, places, channels)
    float* shares,                        // (examples, parts, 2, channels)
    int places, int channels, int groups, int rows) {
  by_width(channels % 4 == 0, [&](auto place) {
    const auto as_they_are = [](int, auto, auto) { return [](const auto& of) { return of; }; };
    sum_gradients<decltype(place)>(
        x_hat, dy, shares, {places, channels, groups}, rows, as_they_are);
  });
}

extern "C" __global__ void __launch_bounds__(256, 4) combine_part(
    const float* dy, const float* x_hat, const float* gamma,  // like x twice, (channels,)
    const float* rstd, const float* d, const float* b,        // (examples, groups)
    float* dx, int places, int channels, int groups, int rows) {
  by_width(channels % 4 == 0, [&](auto place) {
    const auto weigh = [&](int, auto channel, auto pick) {
      return scaled(at(gamma, channel), pick(rstd));
    };
    combine_gradients<decltype(place)>(
        x_hat, dy, d, b, dx, {places, channels, groups}, rows, weigh);
  });
}
