// Groups of channels: how blocks share them, and their means and variances.
//
// Channels last: the numbers of a group are `places` rows of K neighbours, C numbers apart. There
// are two ways, and device/moments.py chooses. Here, a block takes a bundle of neighbouring groups
// of one example, wide enough for each of its rows to fill whole sectors of memory. It keeps as
// many rows as fit in shared memory and goes back to memory, where they still lie in a cache, for
// the rest. So x is read once, and the variance is taken of differences from the mean all the same.
// Where a bundle is too large, parts.cuh is for it.
//
// Threads sit at a table of vectors. Neighbours take neighbours of a row, and a thread keeps to its
// column: what belongs to a channel, it reads once. It reads back only what it has kept itself.
#pragma once
#include "each.cuh"
#include "reduce.cuh"

extern __shared__ __align__(16) float shared[];

template <class Place> using Vector = decltype(at((const float*)nullptr, Place{0}));
template <class Place> constexpr int wide = sizeof(Vector<Place>) / sizeof(float);
template <class Place> constexpr int ahead = wide<Place> == 4 ? 4 : 8;  // loads of a thread at once

struct Sizes { int places, channels, groups; };  // of an example
struct Bundle { int example, group, groups; };   // its first group, and how many
struct Seat { int across, down, column, row; };  // seats in a row, rows of them, one's own

__device__ __forceinline__ Bundle bundle_of_block(int groups, int bundle) {
  const int each = (groups + bundle - 1) / bundle, first = (int)blockIdx.x % each * bundle;
  return {(int)blockIdx.x / each, first, min(bundle, groups - first)};
}
__device__ __forceinline__ Seat seat_at(int columns) {
  const int threads = blockDim.x, across = min(columns, threads), own = threadIdx.x;
  return {across, threads / across, own % across, own / across};  // the last few may have no seat
}

// Calls body(Four{0}) or body(One{0}): a kernel's body is written once for both.
template <class Body> __device__ __forceinline__ void by_width(bool fours, Body body) {
  if (fours) body(Four{0});
  else body(One{0});
}

__device__ __forceinline__ float4 partner(float4 x, int lane) {
  return make_float4(
      partner(x.x, lane), partner(x.y, lane), partner(x.z, lane), partner(x.w, lane));
}

// Calls use(count, first, values) for a thread's rows of first .. last - 1, AHEAD of them at a
// time: `count` values, of rows first, first + down, ... All are asked for before one is used. Only
// the last batch may be short; it reads the last row again for want of others.
template <int AHEAD, class Load, class Use>
__device__ __forceinline__ void in_batches(
    const Seat& seat, int first, int last, Load load, Use use) {
  int row = seat.row < seat.down ? first + seat.row : last;
  for (; row + (AHEAD - 1) * seat.down < last; row += AHEAD * seat.down) {
    decltype(load(0)) values[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) values[k] = load(row + k * seat.down);
    use(AHEAD, row, values);
  }
  if (AHEAD > 1 && row < last) {
    decltype(load(0)) values[AHEAD];
    int count = 0;
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) {
      values[k] = load(min(row + k * seat.down, last - 1));
      count += row + k * seat.down < last;
    }
    use(count, row, values);
  }
}

// Calls use(row, value) for a thread's rows of first .. last - 1.
template <int AHEAD, class Load, class Use>
__device__ __forceinline__ void walk(const Seat& seat, int first, int last, Load load, Use use) {
  in_batches<AHEAD>(seat, first, last, load, [&](int count, int row, const auto& values) {
#pragma unroll
    for (int k = 0; k < AHEAD; ++k)
      if (k < count) use(row + k * seat.down, values[k]);
  });
}

// The sum of what the threads of a column have: every thread of the column gets it, and that of
// column c is left in room[c]. All threads must call; `room` holds a T for each of them.
template <class T> __device__ __forceinline__ T sum_down(T x, const Seat& seat, T* room) {
  int rows = seat.down, row = seat.row;
  bool mine = row < rows;
  if (blockDim.x % 32 == 0 && 32 % seat.across == 0) {  // columns meet within a warp first
    for (int lane = 16; lane >= seat.across; lane /= 2) x = x + partner(x, lane);
    rows = blockDim.x / 32, row = threadIdx.x / 32;
    mine = (int)threadIdx.x % 32 < seat.across;
  }
  T* const own = room + row * seat.across + seat.column;
  __syncthreads();  // an earlier sum may still be read
  if (mine) *own = x;
  __syncthreads();
  for (int left = rows; left > 1;) {  // then a tree of what is left
    const int moved = left / 2, kept = left - moved;
    if (mine && row < moved) *own = *own + own[kept * seat.across];
    __syncthreads();
    left = kept;
  }
  return room[seat.column];
}

// The sum over each group of a bundle: every thread gets that of its own. A group has `each`
// columns; where a bundle has more than one group, there is a seat for every column.
__device__ __forceinline__ float group_sum(float x, const Seat& seat, int groups, int each) {
  if (groups == 1) return block_sum(x);
  sum_down(x, seat, shared);
  float all = 0;
  for (int c = 0, first = seat.column / each * each; c < each; ++c) all += shared[first + c];
  return all;
}

// Normalizes a bundle. weigh(n, channel, r) returns what writes a vector of the channel, told its
// place and x - mean; leave(set, mean, r) keeps what was measured of a group, counted over all
// examples. Shared memory has a number for each thread and then `held` rows of the bundle.
//
// All is computed of x - c, c the first number of the group: so no digits are lost where the mean
// is large, neither of the mean nor of what is left when it is taken off.
template <class Place, class Weigh, class Leave>
__device__ __forceinline__ void normalize_groups(
    const float* x, const Sizes& sizes, const Bundle& b, int held, float eps, Weigh weigh,
    Leave leave) {
  using T = Vector<Place>;
  constexpr int W = wide<Place>;
  const int width = sizes.channels / sizes.groups, each = width / W, columns = b.groups * each;
  const int first = b.group * width, origin = b.example * sizes.places * sizes.channels + first;
  const Seat seat = seat_at(columns);
  const int group = b.groups == 1 ? 0 : seat.column / each;
  const float shift = x[origin + group * width], numbers = (float)sizes.places * width;
  float* const kept = shared + blockDim.x;
  const auto read = [&](int row, int c) {
    return -shift + at(x, Place{origin + row * sizes.channels + c * W});
  };
  // Calls use(row, x - c) for all rows of a column.
  const auto each_row = [&](int c, auto use) {
    const auto fetch = [&](int row) { return at(kept, Place{(row * columns + c) * W}); };
    walk<ahead<Place>>(seat, 0, held, fetch, use);
    walk<2>(seat, held, sizes.places, [&](int row) { return read(row, c); }, use);
  };

  T sums = T();
  for (int c = seat.column; c < columns; c += seat.across) {
    const auto of_column = [&](int row) { return read(row, c); };
    walk<ahead<Place>>(seat, 0, held, of_column, [&](int row, T value) {
      put(kept, Place{(row * columns + c) * W}, value);
      sums = sums + value;
    });
    walk<ahead<Place>>(seat, held, sizes.places, of_column, [&](int, T value) {
      sums = sums + value;
    });
  }
  const float mean = group_sum(sum(sums), seat, b.groups, each) / numbers;

  T squares = T();
  for (int c = seat.column; c < columns; c += seat.across) {
    each_row(c, [&](int, T value) {
      const T apart = -mean + value;
      squares = squares + apart * apart;
    });
  }
  const float var = group_sum(sum(squares), seat, b.groups, each) / numbers;
  const float r = 1.0f / sqrtf(var + eps);  // (NM.1)
  if (seat.row == 0 && seat.column % each == 0)
    leave(b.example * sizes.groups + b.group + group, shift + mean, r);

  for (int c = seat.column; c < columns; c += seat.across) {
    const auto write = weigh(b.example, Place{first + c * W}, r);
    each_row(c, [&](int row, T value) {
      write(Place{origin + row * sizes.channels + c * W}, -mean + value);
    });
  }
}
