// Means and variances of groups that are too large for a block: by parts.
//
// A block takes a part of the rows of one example, all channels of it, and reads whole rows. A
// second launch joins what the parts have found, and a third one reads x again.
#pragma once
#include "moments.cuh"

struct Part { int example, first, last; };  // its rows first .. last - 1

__device__ __forceinline__ Part part_of(int block, int places, int rows) {
  const int each = (places + rows - 1) / rows, first = block % each * rows;
  return {block / each, first, min(first + rows, places)};
}

// Calls use(k, g) for k = 0 .. 3, g the group of channel c + k where a group has `each` of them.
template <class Use> __device__ __forceinline__ void four_groups(int c, int each, Use use) {
  int g = c / each, left = each - c % each;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    use(k, g);
    if (--left == 0) ++g, left = each;
  }
}

// The number of each channel's group, of numbers that groups have; channel 0 is of group 0.
__device__ __forceinline__ float of_group(const float* numbers, One channel, int each) {
  return numbers[channel.i / each];
}
__device__ __forceinline__ float4 of_group(const float* numbers, Four channel, int each) {
  if (each == 1) return at(numbers, channel);
  float of[4];
  four_groups(channel.i, each, [&](int k, int g) { of[k] = numbers[g]; });
  return make_float4(of[0], of[1], of[2], of[3]);
}

// The first number of each channel's group, in a row of channels.
__device__ __forceinline__ float first_of_group(const float* row, One channel, int each) {
  return row[channel.i / each * each];
}
__device__ __forceinline__ float4 first_of_group(const float* row, Four channel, int each) {
  if (each == 1) return at(row, channel);
  float of[4];
  four_groups(channel.i, each, [&](int k, int g) { of[k] = row[g * each]; });
  return make_float4(of[0], of[1], of[2], of[3]);
}

// Measures each channel of a part: its mean, less the first number of its group, and the sum of
// squares about that mean. A thread takes eight rows at a time and both from the same registers;
// what it has of earlier ones is joined to them.
extern "C" __global__ void __launch_bounds__(256) measure_part(
    const float* x,  // (examples, places, channels)
    float* shares,   // (examples, parts, 2, channels)
    int places, int channels, int groups, int rows) {
  by_width(channels % 4 == 0, [&](auto place) {
    using Place = decltype(place);
    using T = Vector<Place>;
    constexpr int W = wide<Place>, AHEAD = 8;
    const Part part = part_of(blockIdx.x, places, rows);
    const int columns = channels / W;
    const Seat seat = seat_at(columns);
    const float* const from = x + part.example * places * channels;
    float* const to = shares + 2 * blockIdx.x * channels;
    for (int c0 = 0; c0 < columns; c0 += seat.across) {  // all threads meet at the sums
      const int c = c0 + seat.column;
      const bool inside = c < columns;
      const Place channel = {min(c, columns - 1) * W};
      const T shift = first_of_group(from, channel, channels / groups);
      T mean = T(), squares = T();
      float have = 0;
      if (inside) {
        const auto read = [&](int row) {
          return at(from, Place{row * channels + channel.i}) - shift;
        };
        in_batches<AHEAD>(seat, part.first, part.last, read, [&](int count, int, const auto& of) {
          T own = T(), apart, spread = T();
#pragma unroll
          for (int k = 0; k < AHEAD; ++k)
            if (k < count) own = own + of[k];
          own = (1.0f / count) * own;
#pragma unroll
          for (int k = 0; k < AHEAD; ++k)
            if (k < count) apart = of[k] - own, spread = spread + apart * apart;
          const float all = have + count;
          apart = own - mean;
          mean = mean + (count / all) * apart;
          squares = squares + (spread + (have * count / all) * (apart * apart));
          have = all;
        });
      }
      T* const room = reinterpret_cast<T*>(shared);
      const T centre = (1.0f / (part.last - part.first)) * sum_down(have * mean, seat, room);
      const T apart = mean - centre;
      const T about = sum_down(squares + have * (apart * apart), seat, room);
      if (inside && seat.row == 0) {
        put(to, channel, centre);
        put(to, Place{channels + channel.i}, about);
      }
    }
  });
}

// Joins the parts and channels of a group, a block to each: with n_i numbers of M in share i, mean
// = sum n_i m_i / M and M var = sum [q_i + n_i (m_i - mean)^2].
extern "C" __global__ void __launch_bounds__(256) join_measures(
    float eps, const float* x, const float* shares,      // as in measure_part
    float* apart, float* mean, float* var, float* rstd,  // (examples, groups)
    int places, int channels, int groups, int rows) {
  const int width = channels / groups, parts = (places + rows - 1) / rows;
  const int n = blockIdx.x / groups, first = (int)blockIdx.x % groups * width;
  const float* const from = shares + 2 * n * parts * channels + first;
  const float numbers = (float)places * width;
  // The sum of use(n_i, share i) over all of them.
  const auto all = [&](auto use) {
    float x = 0;
    for (int i = threadIdx.x; i < parts * width; i += blockDim.x) {
      const int part = i / width;
      const float have = min(rows, places - part * rows);
      x += use(have, from + 2 * part * channels + i % width);
    }
    return block_sum(x) / numbers;
  };
  const float m = all([](float have, const float* share) { return have * share[0]; });
  const float v = all([&](float have, const float* share) {
    const float d = share[0] - m;
    return share[channels] + have * d * d;
  });
  if (threadIdx.x == 0) {
    apart[blockIdx.x] = m;
    mean[blockIdx.x] = x[n * places * channels + first] + m;
    var[blockIdx.x] = v;
    rstd[blockIdx.x] = 1.0f / sqrtf(v + eps);  // (NM.1)
  }
}

// Normalizes a part with what was measured; weigh is that of normalize_groups. Parts are taken in
// the opposite order, so those read last come first: they may still lie in a cache.
template <class Place, class Weigh>
__device__ __forceinline__ void normalize_part(
    const float* x, const float* apart, const float* rstd, const Sizes& sizes, int rows,
    Weigh weigh) {
  using T = Vector<Place>;
  constexpr int W = wide<Place>;
  const Part part = part_of(gridDim.x - 1 - blockIdx.x, sizes.places, rows);
  const int columns = sizes.channels / W, each = sizes.channels / sizes.groups;
  const int origin = part.example * sizes.places * sizes.channels;
  const int set = part.example * sizes.groups;
  const Seat seat = seat_at(columns);
  for (int c = seat.column; c < columns; c += seat.across) {
    const Place channel = {c * W};
    const T shift = first_of_group(x + origin, channel, each);
    const T mean = of_group(apart + set, channel, each);
    const auto write = weigh(part.example, channel, of_group(rstd + set, channel, each));
    const auto here = [&](int row) { return Place{origin + row * sizes.channels + channel.i}; };
    const auto read = [&](int row) { return at(x, here(row)) - shift; };
    walk<ahead<Place>>(seat, part.first, part.last, read, [&](int row, T value) {
      write(here(row), value - mean);
    });
  }
}
