// Tiles of scores, of TILE rows and TILE columns, and products with them, in registers.
//
// A block is a grid of DOWN x ACROSS threads. A thread owns every DOWN-th row of a tile and every
// ACROSS-th column, and keeps their products in registers: eight numbers read along its rows and
// eight along its columns serve 64 multiplications, so that shared memory keeps pace. Rows lie
// PITCH numbers apart there, which spreads neighbouring rows over all banks.
#pragma once
#include "each.cuh"

constexpr int DOWN = 8;                      // threads of a block along the rows
constexpr int EACH = TILE / DOWN;            // rows of a thread
constexpr int DEPTH = 32;                    // features in shared memory at a time
constexpr int PITCH = DEPTH + 4;             // of a row of features
constexpr int PAIR = 2 * TILE * PITCH;       // numbers that two tiles of rows take
constexpr int WEIGHTS = TILE * (TILE + 16);  // numbers that a tile of weights takes, at most

#define NEVER __int_as_float(0xFF800000)  // the score of a hidden key: minus infinity

// Rows of one head of one example, `step` numbers apart.
struct Rows {
  const float* x;
  int count, features, step;
};

// Where the rows of a head, of all N heads, begin in an array (N, count, heads features).
__device__ __forceinline__ int start_of(int head, int heads, int count, int features) {
  return (head / heads * count * heads + head % heads) * features;
}

__device__ __forceinline__ Rows rows_of(
    const float* x, int head, int heads, int count, int features) {
  return {x + start_of(head, heads, count, features), count, features, heads * features};
}

// What a block works on: a tile of the queries, or of the keys, of one head of one example.
struct Task {
  int heads, queries, keys, size, taken;  // h, L, M, D, E
  float scale;                            // 1 / sqrt(D)
  int head, first;  // which of all heads of all examples; first row of the tile
};

__device__ __forceinline__ Task task_of(
    int heads, int queries, int keys, int size, int taken, float scale, int rows) {
  const int tiles = (rows + TILE - 1) / TILE, block = blockIdx.x;
  return {heads, queries, keys, size, taken, scale, block / tiles, block % tiles * TILE};
}

// A thread's place in its block. The lowest bit counts rows and the next ones count columns, so in
// every four lanes two read the same of either: a warp then reads 128 bits a lane in half the time.
template <int ACROSS> struct Place {
  static constexpr int THREADS = DOWN * ACROSS;
  static constexpr int COLUMNS = TILE / ACROSS;       // of a thread
  static constexpr int WEIGHT_PITCH = TILE + ACROSS;  // of a row of weights
  const int down = threadIdx.x / (2 * ACROSS) * 2 + threadIdx.x % 2;
  const int across = threadIdx.x / 2 % ACROSS;

  __device__ __forceinline__ int row(int i) const { return i * DOWN + down; }
  __device__ __forceinline__ int column(int j) const { return j * ACROSS + across; }
  // Where the weight of the thread's row i and column j lies.
  __device__ __forceinline__ int weight(int i, int j) const {
    return row(i) * WEIGHT_PITCH + column(j);
  }
};

// f of the numbers that the threads of a row hold, in a fixed order; all of them get it.
template <int ACROSS, class F> __device__ __forceinline__ float along_row(float x, F f) {
#pragma unroll
  for (int lane = ACROSS; lane >= 2; lane /= 2) x = f(x, __shfl_xor_sync(0xFFFFFFFFu, x, lane));
  return x;
}

__device__ __forceinline__ float add(float x, float y) { return x + y; }

// Copies HEIGHT rows and WIDE features to shared memory; what is not there is 0.
template <int THREADS, int HEIGHT, int WIDE, int STEP>
__device__ __forceinline__ void stage(float* to, const Rows& rows, int first, int feature) {
  constexpr int across = WIDE / 4, apart = THREADS / across;  // rows between two of a thread
  static_assert(THREADS % across == 0 && HEIGHT % apart == 0, "threads share the copy evenly");
  const int r = threadIdx.x / across, c = threadIdx.x % across * 4;
  const int left = rows.features - feature - c;
  const float* x = rows.x + (first + r) * rows.step + feature + c;
  if (rows.features % 4 == 0) {
#pragma unroll 8
    for (int i = 0; i < HEIGHT; i += apart, x += apart * rows.step) {
      const bool there = first + r + i < rows.count && left > 0;
      put(to, Four{(r + i) * STEP + c}, there ? at(x, Four{0}) : make_float4(0, 0, 0, 0));
    }
  } else {
#pragma unroll 1
    for (int i = 0; i < HEIGHT; i += apart, x += apart * rows.step) {
#pragma unroll
      for (int l = 0; l < 4; ++l)
        to[(r + i) * STEP + c + l] = first + r + i < rows.count && left > l ? x[l] : 0;
    }
  }
}

// dots = a b^T, TILE rows of a and of b, from rows a0 and b0 on. Products are summed in the order
// of the features, so whoever asks for the same rows gets the same bits.
template <int ACROSS>
__device__ __forceinline__ void dot(
    float (&dots)[EACH][TILE / ACROSS], float* pair, const Rows& a, int a0, const Rows& b, int b0) {
  using Here = Place<ACROSS>;
  const Here place;
  float* const other = pair + TILE * PITCH;
#pragma unroll
  for (int i = 0; i < EACH; ++i)
#pragma unroll
    for (int j = 0; j < Here::COLUMNS; ++j) dots[i][j] = 0;
  for (int start = 0; start < a.features; start += DEPTH) {
    __syncthreads();  // nobody reads any more what was there
    stage<Here::THREADS, TILE, DEPTH, PITCH>(pair, a, a0, start);
    stage<Here::THREADS, TILE, DEPTH, PITCH>(other, b, b0, start);
    __syncthreads();
    const int depth = min(DEPTH, a.features - start);
#pragma unroll 1
    for (int c = 0; c < depth; c += 4) {
      float4 y[Here::COLUMNS];
#pragma unroll
      for (int j = 0; j < Here::COLUMNS; ++j)
        y[j] = at(other, Four{place.column(j) * PITCH + c});
#pragma unroll
      for (int i = 0; i < EACH; ++i) {
        const float4 x = at(pair, Four{place.row(i) * PITCH + c});
#pragma unroll
        for (int j = 0; j < Here::COLUMNS; ++j) dots[i][j] += x.x * y[j].x;
#pragma unroll
        for (int j = 0; j < Here::COLUMNS; ++j) dots[i][j] += x.y * y[j].y;
#pragma unroll
        for (int j = 0; j < Here::COLUMNS; ++j) dots[i][j] += x.z * y[j].z;
#pragma unroll
        for (int j = 0; j < Here::COLUMNS; ++j) dots[i][j] += x.w * y[j].w;
      }
    }
  }
}

// Which of a thread's rows may see which of its columns: bit i COLUMNS + j. Rows are queries and
// columns are keys or, TURNED, the other way round. Bits beyond these are 1.
struct Seen {
  unsigned long long bits;
  bool any;
};

template <int ACROSS, bool TURNED>
__device__ __forceinline__ Seen seen(
    const bool* mask,  // (queries, keys) or null
    int row, int column, const Task& n) {
  const Place<ACROSS> place;
  Seen found = {~0ull, true};
  const int rows = TURNED ? n.keys : n.queries, columns = TURNED ? n.queries : n.keys;
  if (!mask && row + TILE <= rows && column + TILE <= columns) return found;
  found.any = false;
#pragma unroll 1
  for (int i = EACH - 1; i >= 0; --i) {
#pragma unroll
    for (int j = Place<ACROSS>::COLUMNS - 1; j >= 0; --j) {
      const int r = row + place.row(i), c = column + place.column(j);
      bool open = r < rows && c < columns;
      if (mask && open) open = mask[TURNED ? c * n.keys + r : r * n.keys + c] != 0;
      found.bits = found.bits << 1 | (unsigned)open;
      found.any |= open;
    }
  }
  return found;
}

// scores = S, of TILE rows of a and of b. Each is rounded before anything is subtracted from it, as
// it is the second time: S - c is exactly 0 for a query that sees one key.
template <int ACROSS>
__device__ __forceinline__ void score(
    float (&scores)[EACH][TILE / ACROSS], float* pair, const Rows& a, int a0, const Rows& b, int b0,
    const Seen& found, const Task& n) {
  constexpr int COLUMNS = TILE / ACROSS;
  dot<ACROSS>(scores, pair, a, a0, b, b0);
#pragma unroll
  for (int i = 0; i < EACH; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) scores[i][j] = __fmul_rn(scores[i][j], n.scale);  // (AT.2)
  if (~found.bits == 0) return;
#pragma unroll
  for (int i = 0; i < EACH; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j)
      if (!(found.bits >> (i * COLUMNS + j) & 1)) scores[i][j] = NEVER;
}

// What a thread adds up: of each of its rows, features in groups of four neighbours.
template <int WIDTH, int ACROSS> struct Sums {
  static constexpr int GROUPS = WIDTH / (4 * ACROSS);
  float4 of[EACH][GROUPS];

  __device__ __forceinline__ Sums() {
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
      for (int g = 0; g < GROUPS; ++g) of[i][g] = make_float4(0, 0, 0, 0);
  }

  // Writes scales[i] this to the rows of a head from `first` on; y is where the head begins.
  __device__ __forceinline__ void write(
      float* y, int first, int count, int features, int step, const float (&scales)[EACH]) const {
    const Place<ACROSS> place;
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      const int row = first + place.row(i);
#pragma unroll
      for (int g = 0; g < GROUPS; ++g) {
        const int feature = 4 * place.column(g), left = row < count ? features - feature : 0;
        float* const to = y + row * step + feature;
        const float4 sum = scales[i] * of[i][g];
        if (features % 4 == 0) {
          if (left > 0) put(to, Four{0}, sum);
        } else {
          if (left > 0) to[0] = sum.x;
          if (left > 1) to[1] = sum.y;
          if (left > 2) to[2] = sum.z;
          if (left > 3) to[3] = sum.w;
        }
      }
    }
  }
};

// sums = shares sums + weights times the rows from `first` on. The TILE products are summed first,
// on their own: a long sum is then one of short ones, and loses fewer digits. They are 64 features
// at most at a time, so that they fit into the registers that scores have left.
template <int WIDTH, int ACROSS>
__device__ __forceinline__ void gather(
    Sums<WIDTH, ACROSS>& sums, const float (&shares)[EACH], const float* weights, float* memory,
    const Rows& rows, int first) {
  using Here = Place<ACROSS>;
  constexpr int PART = WIDTH < 64 ? WIDTH : 64, GROUPS = PART / (4 * ACROSS);
  static_assert(TILE * PART <= PAIR, "a tile of rows fits into memory");
  const Here place;
  const int count = (min(TILE, rows.count - first) + 3) / 4 * 4;
#pragma unroll
  for (int part = 0; part < WIDTH / PART; ++part) {
    Sums<PART, ACROSS> more;
    __syncthreads();  // the weights are all written, and nobody reads what memory held
    stage<Here::THREADS, TILE, PART, PART>(memory, rows, first, part * PART);
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < count; k += 4) {
      float4 y[4][GROUPS];
#pragma unroll
      for (int l = 0; l < 4; ++l)
#pragma unroll
        for (int g = 0; g < GROUPS; ++g)
          y[l][g] = at(memory, Four{(k + l) * PART + 4 * place.column(g)});
#pragma unroll
      for (int i = 0; i < EACH; ++i) {
        const float4 w = at(weights, Four{place.row(i) * Here::WEIGHT_PITCH + k});
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
          float4& sum = more.of[i][g];
          sum = sum + w.x * y[0][g];
          sum = sum + w.y * y[1][g];
          sum = sum + w.z * y[2][g];
          sum = sum + w.w * y[3][g];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
      for (int g = 0; g < GROUPS; ++g) {
        float4& sum = sums.of[i][part * GROUPS + g];
        sum = shares[i] * sum + more.of[i][g];
      }
  }
}
