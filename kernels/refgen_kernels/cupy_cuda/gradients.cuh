// Gradients of norms: two sums of each channel, two of each group, and then one line an element.
//
// With s = sum g, t = sum g x_hat over the rows, a what a channel of x_hat was multiplied by, and a
// group of M numbers,
//
//   dx = r [a g + (d + b x_hat)],   d = -sum a s / M,   b = -sum a t / M           (NM.3), (NM.4)
//
// r comes last: where a group is nearly constant it is large, and what it multiplies should be as
// near to 0 as it is on the page. The ways are those of moments.cuh and parts.cuh. A block with a
// bundle keeps x_hat and a g of it in shared memory.
//
// weigh(n, channel, pick) returns what is known of a channel: `a` and `r`, and, called with what
// lies in the two arrays, x_hat and g. pick(numbers) returns the channel's own of numbers that are
// (examples, groups).
#pragma once
#include "parts.cuh"

// Numbers of two kinds: x and dy, x_hat and g, s and t.
template <class T> struct Both { T x, g; };

template <class T> __device__ __forceinline__ Both<T> operator+(Both<T> a, Both<T> b) {
  return {a.x + b.x, a.g + b.g};
}
template <class T> __device__ __forceinline__ Both<T> partner(Both<T> x, int lane) {
  return {partner(x.x, lane), partner(x.g, lane)};
}

struct Ignore {
  template <class T> __device__ __forceinline__ void operator()(int, const Both<T>&) const {}
};

// Both sums of a thread's rows of a channel; see(row, x_hat and g) is told of each of them.
template <class Place, class Read, class Weights, class See>
__device__ __forceinline__ Both<Vector<Place>> own_sums(
    const Seat& seat, int first, int last, Read read, const Weights& weights, See see) {
  using T = Vector<Place>;
  Both<T> sums = {T(), T()};
  walk<ahead<Place>>(seat, first, last, read, [&](int row, const Both<T>& raw) {
    const Both<T> of = weights(raw);
    sums.x = sums.x + of.g * of.x;
    sums.g = sums.g + of.g;
    see(row, of);
  });
  return sums;
}

// Writes dx of a bundle; leave(n, channel, s, t) keeps the sums. Shared memory has two vectors for
// each thread and then `held` rows of the bundle, twice.
template <class Place, class Weigh, class Leave>
__device__ __forceinline__ void gradients_of_groups(
    const float* x, const float* dy, float* dx, const Sizes& sizes, const Bundle& b, int held,
    Weigh weigh, Leave leave) {
  using T = Vector<Place>;
  constexpr int W = wide<Place>;
  const int width = sizes.channels / sizes.groups, each = width / W, columns = b.groups * each;
  const int first = b.group * width, origin = b.example * sizes.places * sizes.channels + first;
  const Seat seat = seat_at(columns);
  const int set = b.example * sizes.groups + b.group + (b.groups == 1 ? 0 : seat.column / each);
  const auto pick = [&](const float* numbers) { return numbers[set]; };
  Both<T>* const room = reinterpret_cast<Both<T>*>(shared);
  float* const kept = shared + 8 * blockDim.x;
  float* const scaled = kept + held * columns * W;
  const auto here = [&](int row, int c) { return Place{origin + row * sizes.channels + c * W}; };
  const auto inner = [&](int row, int c) { return Place{(row * columns + c) * W}; };

  float level = 0, stretch = 0;
  for (int c0 = 0; c0 < columns; c0 += seat.across) {  // all threads meet at the sums
    const int c = c0 + seat.column;
    const bool inside = c < columns;
    const Place channel = {first + min(c, columns - 1) * W};
    const auto weights = weigh(b.example, channel, pick);
    const auto read = [&](int row) {
      return Both<T>{at(x, here(row, c)), at(dy, here(row, c))};
    };
    Both<T> sums = {T(), T()};
    if (inside) {
      sums = own_sums<Place>(seat, 0, held, read, weights, [&](int row, const Both<T>& of) {
        put(kept, inner(row, c), of.x);
        put(scaled, inner(row, c), weights.a * of.g);
      });
      sums = sums + own_sums<Place>(seat, held, sizes.places, read, weights, Ignore());
    }
    sums = sum_down(sums, seat, room);
    if (inside && seat.row == 0) {
      leave(b.example, channel, sums.g, sums.x);
      level += sum(weights.a * sums.g);
      stretch += sum(weights.a * sums.x);
    }
  }
  const float share = -1.0f / ((float)sizes.places * width);
  const float d = share * group_sum(level, seat, b.groups, each);
  const float bend = share * group_sum(stretch, seat, b.groups, each);

  for (int c = seat.column; c < columns; c += seat.across) {
    const auto weights = weigh(b.example, Place{first + c * W}, pick);
    const auto write = [&](int row, const Both<T>& of) {
      put(dx, here(row, c), weights.r * (of.g + (d + bend * of.x)));
    };
    const auto fetch = [&](int row) {
      return Both<T>{at(kept, inner(row, c)), at(scaled, inner(row, c))};
    };
    const auto read = [&](int row) {
      return Both<T>{at(x, here(row, c)), at(dy, here(row, c))};
    };
    walk<ahead<Place>>(seat, 0, held, fetch, write);
    walk<2>(seat, held, sizes.places, read, [&](int row, const Both<T>& raw) {
      const Both<T> of = weights(raw);
      write(row, {of.x, weights.a * of.g});
    });
  }
}

// Leaves s and t of a part in shares, (examples, parts, 2, channels).
template <class Place, class Weigh>
__device__ __forceinline__ void sum_gradients(
    const float* x, const float* dy, float* shares, const Sizes& sizes, int rows, Weigh weigh) {
  using T = Vector<Place>;
  constexpr int W = wide<Place>;
  const Part part = part_of(blockIdx.x, sizes.places, rows);
  const int columns = sizes.channels / W, each = sizes.channels / sizes.groups;
  const int origin = part.example * sizes.places * sizes.channels;
  const Seat seat = seat_at(columns);
  float* const to = shares + 2 * blockIdx.x * sizes.channels;
  for (int c0 = 0; c0 < columns; c0 += seat.across) {  // all threads meet at the sums
    const int c = c0 + seat.column;
    const bool inside = c < columns;
    const Place channel = {min(c, columns - 1) * W};
    const auto read = [&](int row) {
      const Place here = {origin + row * sizes.channels + channel.i};
      return Both<T>{at(x, here), at(dy, here)};
    };
    Both<T> sums = {T(), T()};
    if (inside) {
      const auto weights = weigh(part.example, channel, [&](const float* numbers) {
        return of_group(numbers + part.example * sizes.groups, channel, each);
      });
      sums = own_sums<Place>(seat, part.first, part.last, read, weights, Ignore());
    }
    sums = sum_down(sums, seat, reinterpret_cast<Both<T>*>(shared));
    if (inside && seat.row == 0) {
      put(to, channel, sums.g);
      put(to, Place{sizes.channels + channel.i}, sums.x);
    }
  }
}

// Adds up the parts of a group's channels, a block to each group: gain(n, channel) is its a,
// leave(n, channel, s, t) keeps the sums, and finish(group, sum a s, sum a t), the group counted
// over all examples, is called by one thread.
template <class Gain, class Leave, class Finish>
__device__ __forceinline__ void join_gradients(
    const float* shares, const Sizes& sizes, int rows, Gain gain, Leave leave, Finish finish) {
  const int parts = (sizes.places + rows - 1) / rows, width = sizes.channels / sizes.groups;
  const int n = blockIdx.x / sizes.groups, first = (int)blockIdx.x % sizes.groups * width;
  const float* const from = shares + 2 * n * parts * sizes.channels;
  const Seat seat = seat_at(width);
  float level = 0, stretch = 0;
  for (int c0 = 0; c0 < width; c0 += seat.across) {
    const bool inside = c0 + seat.column < width;
    const One channel = {first + min(c0 + seat.column, width - 1)};
    Both<float> sums = {0, 0};
    const auto read = [&](int part) {
      const float* const share = from + 2 * part * sizes.channels + channel.i;
      return Both<float>{share[sizes.channels], share[0]};
    };
    walk<4>(seat, 0, parts, read, [&](int, const Both<float>& of) { sums = sums + of; });
    sums = sum_down(sums, seat, reinterpret_cast<Both<float>*>(shared));
    if (inside && seat.row == 0) {
      const float a = gain(n, channel);
      leave(n, channel, sums.g, sums.x);
      level += a * sums.g;
      stretch += a * sums.x;
    }
  }
  level = block_sum(level);
  stretch = block_sum(stretch);
  if (threadIdx.x == 0) finish((int)blockIdx.x, level, stretch);
}

// Writes dx of a part; d and b, a number of each, belong to groups. The last parts come first, as
// in normalize_part.
template <class Place, class Weigh>
__device__ __forceinline__ void combine_gradients(
    const float* x, const float* dy, const float* d, const float* b, float* dx, const Sizes& sizes,
    int rows, Weigh weigh) {
  using T = Vector<Place>;
  constexpr int W = wide<Place>;
  const Part part = part_of(gridDim.x - 1 - blockIdx.x, sizes.places, rows);
  const int columns = sizes.channels / W, each = sizes.channels / sizes.groups;
  const int origin = part.example * sizes.places * sizes.channels;
  const int set = part.example * sizes.groups;
  const Seat seat = seat_at(columns);
  for (int c = seat.column; c < columns; c += seat.across) {
    const Place channel = {c * W};
    const auto pick = [&](const float* of) { return of_group(of + set, channel, each); };
    const auto weights = weigh(part.example, channel, pick);
    const T level = pick(d), bend = pick(b);
    const auto here = [&](int row) { return Place{origin + row * sizes.channels + channel.i}; };
    const auto read = [&](int row) { return Both<T>{at(x, here(row)), at(dy, here(row))}; };
    walk<2>(seat, part.first, part.last, read, [&](int row, const Both<T>& raw) {
      const Both<T> of = weights(raw);
      put(dx, here(row), weights.r * (weights.a * of.g + (level + bend * of.x)));
    });
  }
}

// Adds up to `rows` of `count` rows of `width` numbers: 32 columns and one run of rows to a block.
extern "C" __global__ void __launch_bounds__(256) add_rows(
    const float* x,  // (count, width)
    float* sums,     // (runs, width)
    int count, int width, int rows) {
  const Seat seat = seat_at(32);
  const int first = blockIdx.y * rows, last = min(first + rows, count);
  for (int c0 = blockIdx.x * 32; c0 < (blockIdx.x + 1) * 32; c0 += seat.across) {
    const int c = c0 + seat.column;
    float own = 0;
    if (c < width) {
      const auto read = [&](int row) { return x[row * width + c]; };
      walk<8>(seat, first, last, read, [&](int, float value) { own += value; });
    }
    own = sum_down(own, seat, shared);
    if (c < width && seat.row == 0) sums[blockIdx.y * width + c] = own;
  }
}
