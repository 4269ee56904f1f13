// Group norm and SiLU, with or without FiLM between, in one pass. Mirrors refgen/ops/fused.py.
//
// Forward, an element costs 4 bytes read and 4 written; backward 8 and 4: what it needs of x_hat
// and of the image before silu is computed again from x and two numbers of its group. How x is read
// but once, see moments.cuh.
#include "elementary.cuh"
#include "gradients.cuh"

// What stands before silu is a x_hat + lift, with a = gamma (1 + scale) and lift = beta (1 + scale)
// + shift.
template <class T> struct Steer { T a, lift; };

template <class Place>
__device__ __forceinline__ Steer<Vector<Place>> steer(
    const float* gamma, const float* beta,   // (channels,)
    const float* scale, const float* shift,  // (examples, channels), or null
    int channels, int n, Place channel) {
  const auto gain = at(gamma, channel), lift = at(beta, channel);
  if (!scale) return {gain, lift};
  const Place own = {n * channels + channel.i};
  const auto by = 1.0f + at(scale, own);
  return {by * gain, by * lift + at(shift, own)};
}

// Writes what belongs to a place, told x - mean.
template <class T> __device__ __forceinline__ auto bent(T gain, T lift, float* y) {
  return [=](auto i, T centred) {
    const T h = gain * centred + lift;
    put(y, i, h * map([](float one) { return sigmoid(one); }, h));  // (FU.1), (FU.2)
  };
}

// What is known of a channel backward: from x and dy to x_hat and the gradient before silu.
template <class T, class R> struct Unbend {
  R mean, r;
  T a, lift;
  __device__ __forceinline__ Both<T> operator()(const Both<T>& of) const {
    const T x_hat = r * (-1.0f * mean + of.x), h = a * x_hat + lift;  // (FU.3)
    const T weight = map([](float one) { return sigmoid(one); }, h);
    const T slope = weight * (1.0f + h * (1.0f + -1.0f * weight));  // (A.5)
    return {x_hat, of.g * slope};
  }
};

template <class T, class R>
__device__ __forceinline__ Unbend<T, R> unbend(R mean, R r, const Steer<T>& by) {
  return {mean, r, by.a, by.lift};
}

// Keeps the gradients of a channel that are sums over the rows of one example.
struct Sums {
  const float *gamma, *beta, *scale;
  float *of_steered, *dscale, *dshift;
  int channels;

  template <class Place, class T>
  __device__ __forceinline__ void operator()(int n, Place channel, T s, T t) const {
    const Place own = {n * channels + channel.i}, to = {n * channels + own.i};
    if (scale) {
      put(dshift, own, s);
      put(dscale, own, at(gamma, channel) * t + at(beta, channel) * s);
      const T by = 1.0f + at(scale, own);
      s = by * s;
      t = by * t;
    }
    put(of_steered, to, s);
    put(of_steered, Place{to.i + channels}, t);
  }
};

extern "C" __global__ void __launch_bounds__(1024) bend_bundle(
    const float* x,                          // (examples, places, channels)
    const float* gamma, const float* beta,   // (channels,)
    const float* scale, const float* shift,  // (examples, channels), or null
    float* y, float* mean, float* rstd,      // like x, (examples, groups) twice
    int places, int channels, int groups, int bundle, int held, float eps) {
  const Bundle b = bundle_of_block(groups, bundle);
  by_width(channels / groups % 4 == 0, [&](auto place) {
    const auto weigh = [&](int n, auto channel, float r) {
      const auto by = steer(gamma, beta, scale, shift, channels, n, channel);
      return bent(r * by.a, by.lift, y);
    };
    const auto leave = [&](int set, float m, float r) {
      mean[set] = m;
      rstd[set] = r;
    };
    normalize_groups<decltype(place)>(x, {places, channels, groups}, b, held, eps, weigh, leave);
  });
}

extern "C" __global__ void __launch_bounds__(256, 3) bend_part(
    const float* x, const float* apart, const float* rstd,  // as join_measures leaves them
    const float* gamma, const float* beta, const float* scale, const float* shift, float* y,
    int places, int channels, int groups, int rows) {
  by_width(channels % 4 == 0, [&](auto place) {
    const auto weigh = [&](int n, auto channel, auto r) {
      const auto by = steer(gamma, beta, scale, shift, channels, n, channel);
      return bent(r * by.a, by.lift, y);
    };
    normalize_part<decltype(place)>(x, apart, rstd, {places, channels, groups}, rows, weigh);
  });
}

extern "C" __global__ void __launch_bounds__(512, 1) unbend_bundle(
    const float* dy, const float* x,                        // (examples, places, channels)
    const float* gamma, const float* beta,                  // (channels,)
    const float* scale, const float* shift,                 // (examples, channels), or null
    const float* mean, const float* rstd,                   // (examples, groups)
    float* dx, float* sums, float* dscale, float* dshift,  // like x, (examples, 2, channels), ...
    int places, int channels, int groups, int bundle, int held) {
  const Sizes sizes = {places, channels, groups};
  const Bundle b = bundle_of_block(groups, bundle);
  by_width(channels / groups % 4 == 0, [&](auto place) {
    const auto weigh = [&](int n, auto channel, auto pick) {
      const auto by = steer(gamma, beta, scale, shift, channels, n, channel);
      return unbend(pick(mean), pick(rstd), by);
    };
    const Sums leave = {gamma, beta, scale, sums, dscale, dshift, channels};
    gradients_of_groups<decltype(place)>(x, dy, dx, sizes, b, held, weigh, leave);
  });
}

extern "C" __global__ void __launch_bounds__(256) sum_part(
    const float* dy, const float* x, const float* gamma, const float* beta, const float* scale,
    const float* shift, const float* mean, const float* rstd,  // as in unbend_bundle
    float* shares,                                             // (examples, parts, 2, channels)
    int places, int channels, int groups, int rows) {
  const Sizes sizes = {places, channels, groups};
  by_width(channels % 4 == 0, [&](auto place) {
    const auto weigh = [&](int n, auto channel, auto pick) {
      const auto by = steer(gamma, beta, scale, shift, channels, n, channel);
      return unbend(pick(mean), pick(rstd), by);
    };
    sum_gradients<decltype(place)>(x, dy, shares, sizes, rows, weigh);
  });
}

extern "C" __global__ void __launch_bounds__(256) join_sums(
    const float* shares, const float* gamma, const float* beta, const float* scale,
    float* d, float* b,                          // (examples, groups)
    float* sums, float* dscale, float* dshift,  // as in unbend_bundle
    int places, int channels, int groups, int rows) {
  const float share = -1.0f / ((float)places * (channels / groups));
  const auto gain = [&](int n, One channel) {
    return gamma[channel.i] * (scale ? 1.0f + scale[n * channels + channel.i] : 1.0f);
  };
  const Sums leave = {gamma, beta, scale, sums, dscale, dshift, channels};
  join_gradients(shares, {places, channels, groups}, rows, gain, leave,
                 [&](int set, float level, float stretch) {
    d[set] = share * level;
    b[set] = share * stretch;
  });
}

extern "C" __global__ void __launch_bounds__(256, 4) unbend_part(
    const float* dy, const float* x, const float* gamma, const float* beta, const float* scale,
    const float* shift, const float* mean, const float* rstd, const float* d, const float* b,
    float* dx, int places, int channels, int groups, int rows) {
  const Sizes sizes = {places, channels, groups};
  by_width(channels % 4 == 0, [&](auto place) {
    const auto weigh = [&](int n, auto channel, auto pick) {
      const auto by = steer(gamma, beta, scale, shift, channels, n, channel);
      return unbend(pick(mean), pick(rstd), by);
    };
    combine_gradients<decltype(place)>(x, dy, d, b, dx, sizes, rows, weigh);
  });
}
