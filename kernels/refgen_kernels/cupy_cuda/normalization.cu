// Group and layer norm. Mirrors refgen/ops/normalization.py.
//
// Forward, an element costs 4 bytes read and 8 written, y and x_hat; backward 8 and 4. Groups are
// read by bundles or parts, see moments.cuh; rows of a layer norm by teams of threads, which keep
// them in registers.
#include "standard.cuh"

// Keeps the gradients of a channel that are sums over the rows of one example: (examples, 2, C).
struct Sums {
  float* to;
  int channels;
  template <class Place, class T>
  __device__ __forceinline__ void operator()(int n, Place channel, T s, T t) const {
    const Place own = {2 * n * channels + channel.i};
    put(to, own, s);
    put(to, Place{own.i + channels}, t);
  }
};

// ---- group norm, by bundles; by parts, the rest is in standard.cuh

extern "C" __global__ void __launch_bounds__(1024) standardize_bundle(
    const float* x,                         // (examples, places, channels)
    const float* gamma, const float* beta,  // (channels,)
    float* y, float* x_hat, float* rstd,   // like x twice, (examples, groups)
    int places, int channels, int groups, int bundle, int held, float eps) {
  const Bundle b = bundle_of_block(groups, bundle);
  by_width(channels / groups % 4 == 0, [&](auto place) {
    const auto weigh = [&](int, auto channel, float r) {
      return standardized(at(gamma, channel), at(beta, channel), r, y, x_hat);
    };
    const auto leave = [&](int set, float, float r) { rstd[set] = r; };
    normalize_groups<decltype(place)>(x, {places, channels, groups}, b, held, eps, weigh, leave);
  });
}

extern "C" __global__ void __launch_bounds__(512, 1) gradients_of_bundle(
    const float* dy, const float* x_hat,      // (examples, places, channels)
    const float* gamma, const float* rstd,    // (channels,), (examples, groups)
    float* dx, float* sums,                   // like dy, (examples, 2, channels)
    int places, int channels, int groups, int bundle, int held) {
  const Bundle b = bundle_of_block(groups, bundle);
  by_width(channels / groups % 4 == 0, [&](auto place) {
    const auto weigh = [&](int, auto channel, auto pick) {
      return scaled(at(gamma, channel), pick(rstd));
    };
    gradients_of_groups<decltype(place)>(
        x_hat, dy, dx, {places, channels, groups}, b, held, weigh, Sums{sums, channels});
  });
}

extern "C" __global__ void __launch_bounds__(256) join_sums(
    const float* shares, const float* gamma,  // as in sum_part, (channels,)
    float* d, float* b, float* sums,          // (examples, groups) twice, (examples, 2, channels)
    int places, int channels, int groups, int rows) {
  const float share = -1.0f / ((float)places * (channels / groups));
  const auto gain = [&](int, One channel) { return gamma[channel.i]; };
  join_gradients(shares, {places, channels, groups}, rows, gain, Sums{sums, channels},
                 [&](int set, float level, float stretch) {
    d[set] = share * level;
    b[set] = share * stretch;
  });
}

// ---- layer norm

// The sum over a team: up to 32 neighbouring lanes, or the block. All threads must call.
template <class T> __device__ __forceinline__ T team_sum(T x, int team) {
  return team > 32 ? block_sum(x) : warp_sum(x, team);
}

// A team takes a row. A lane keeps up to eight vectors of it; what lies beyond is read again.
extern "C" __global__ void __launch_bounds__(512, 1) standardize_rows(
    const float* x, const float* gamma, const float* beta,  // (rows, channels), (channels,) twice
    float* y, float* x_hat, float* rstd,                   // like x twice, (rows,)
    int rows, int channels, int team, float eps) {
  by_width(channels % 4 == 0, [&](auto place) {
    using Place = decltype(place);
    using T = Vector<Place>;
    constexpr int W = wide<Place>, KEPT = 8;
    const int own = blockIdx.x * (blockDim.x / team) + threadIdx.x / team;
    const int lane = threadIdx.x % team;
    const int row = min(own, rows - 1), columns = own < rows ? channels / W : 0;
    const float* const from = x + row * channels;
    const float shift = from[0];
    const auto read = [&](int c) { return -shift + at(from, Place{c * W}); };
    T kept[KEPT];
    // Calls use(column, x - shift) for a lane's columns.
    const auto each_column = [&](auto use) {
#pragma unroll
      for (int k = 0; k < KEPT; ++k)
        if (lane + k * team < columns) use(lane + k * team, kept[k]);
      for (int c = lane + KEPT * team; c < columns; c += team) use(c, read(c));
    };

#pragma unroll
    for (int k = 0; k < KEPT; ++k)
      if (lane + k * team < columns) kept[k] = read(lane + k * team);
    float level = 0, squares = 0;
    each_column([&](int, T value) { level += sum(value); });
    const float mean = team_sum(level, team) / channels;
    each_column([&](int, T value) {
      const T apart = -mean + value;
      squares += sum(apart * apart);
    });
    const float r = 1.0f / sqrtf(team_sum(squares, team) / channels + eps);  // (NM.1)
    if (lane == 0 && own < rows) rstd[own] = r;
    each_column([&](int c, T value) {
      const Place channel = {c * W}, i = {row * channels + c * W};
      const T normal = r * (-mean + value);
      put(x_hat, i, normal);
      put(y, i, at(gamma, channel) * normal + at(beta, channel));  // (NM.2)
    });
  });
}

// A team takes a row, then one further on. A lane keeps to its columns, four vectors at most, and
// adds up what gamma and beta are owed there; at the end the teams of a block add up theirs.
extern "C" __global__ void __launch_bounds__(512, 1) gradients_of_rows(
    const float* dy, const float* x_hat,    // (rows, channels)
    const float* gamma, const float* rstd,  // (channels,), (rows,)
    float* dx, float* shares,               // like dy, (blocks, 2, channels)
    int rows, int channels, int team) {
  by_width(channels % 4 == 0, [&](auto place) {
    using Place = decltype(place);
    using T = Vector<Place>;
    constexpr int W = wide<Place>, KEPT = 4;
    const int teams = blockDim.x / team, lane = threadIdx.x % team, columns = channels / W;
    const Seat seat = {team, teams, lane, (int)threadIdx.x / team};
    Both<T> sums[KEPT];
#pragma unroll
    for (int k = 0; k < KEPT; ++k) sums[k] = {T(), T()};
    for (int first = blockIdx.x * teams; first < rows; first += gridDim.x * teams) {
      const int row = min(first + seat.row, rows - 1);
      const bool there = first + seat.row < rows;
      Both<T> of[KEPT];
      float2 both = {0, 0};
#pragma unroll
      for (int k = 0; k < KEPT; ++k) {
        const Place i = {row * channels + (lane + k * team) * W};
        if (there && lane + k * team < columns) of[k] = {at(x_hat, i), at(dy, i)};
      }
#pragma unroll
      for (int k = 0; k < KEPT; ++k) {
        if (!there || lane + k * team >= columns) continue;
        sums[k] = sums[k] + Both<T>{of[k].g * of[k].x, of[k].g};
        of[k].g = at(gamma, Place{(lane + k * team) * W}) * of[k].g;
        both = both + make_float2(sum(of[k].g), sum(of[k].g * of[k].x));
      }
      both = team_sum(both, team);
      const float r = rstd[row], d = -both.x / channels, b = -both.y / channels;
#pragma unroll
      for (int k = 0; k < KEPT; ++k) {
        const Place i = {row * channels + (lane + k * team) * W};
        if (there && lane + k * team < columns)
          put(dx, i, r * (of[k].g + (d + b * of[k].x)));  // (NM.4)
      }
    }
    const Sums leave = {shares, channels};
#pragma unroll
    for (int k = 0; k < KEPT; ++k) {
      const Both<T> all = sum_down(sums[k], seat, reinterpret_cast<Both<T>*>(shared));
      const int c = lane + k * team;
      if (seat.row == 0 && c < columns) leave(blockIdx.x, Place{c * W}, all.g, all.x);
    }
  });
}
