// Products of slices in float, on the ordinary units.
//
// A thread makes 8 x 8 results (8 x 4 in the small tile) from registers: for 64 multiplications it
// reads 16 floats of shared memory, four at a time. Slices lie there word by word, so deep runs
// are turned when they are put down. Lanes are numbered so that those that read the same four
// floats are neighbours, or neighbours but one: the hardware then answers 16 lanes at once.
#pragma once
#include "slices.cuh"

using Word = float;

template <bool DEEP> struct Slice {
  // Lines are longer than a tile, so that a warp that puts its runs down meets no bank twice.
  static constexpr int LINE = TILE + (WIDE == 4 ? 4 : 16), SIZE = WORDS * LINE;

  static __device__ __forceinline__ void put(Word* slice, int pass, const Held& held) {
    const float* of = held.run[0].of;
    Word* place = slice + (pass * PASS + my_word<DEEP>()) * LINE + my_row<DEEP>();
    if constexpr (DEEP || WIDE == 1) {
#pragma unroll
      for (int j = 0; j < WIDE; ++j) place[j * LINE] = of[j];
    } else {
      *reinterpret_cast<float4*>(place) = make_float4(of[0], of[1], of[2], of[3]);
    }
  }
};

struct Sums {
  static constexpr int RUN = 4;             // results side by side
  static constexpr int COLUMNS = TILE / 64;  // runs of a thread, 16 columns apart
  float sum[2][4][COLUMNS][4] = {};

  static __device__ __forceinline__ int first_row() {
    return threadIdx.x / 128 * 64 + threadIdx.x % 32 / 2 % 8 * 4;
  }
  static __device__ __forceinline__ int first_column() {
    const int lane = threadIdx.x % 32;
    return threadIdx.x / 32 % 4 * (16 * COLUMNS) + (lane / 16 * 2 + lane % 2) * 4;
  }

  template <bool LEFT_DEEP, bool RIGHT_DEEP>
  __device__ __forceinline__ void multiply(const Word* left, const Word* right, int from, int to) {
    left += first_row(), right += first_column();
#pragma unroll
    for (int k = from; k < to; ++k) {
      float a[2][4], b[COLUMNS][4];
#pragma unroll
      for (int r = 0; r < 2; ++r) read(left + k * Slice<LEFT_DEEP>::LINE + 32 * r, a[r]);
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c) read(right + k * Slice<RIGHT_DEEP>::LINE + 16 * c, b[c]);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int c = 0; c < COLUMNS; ++c)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[r][i][c][j] = fmaf(a[r][i], b[c][j], sum[r][i][c][j]);
    }
  }

  // Adds value(column) to every result.
  template <class Value> __device__ __forceinline__ void add_to_columns(Value value) {
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float more = value(first_column() + 16 * c + j);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum[i / 4][i % 4][c][j] += more;
      }
  }

  // Calls body(row, column, run) for every run of this thread's results.
  template <class Body> __device__ __forceinline__ void each_run(Body body) const {
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c)
          body(first_row() + 32 * r + i, first_column() + 16 * c, sum[r][i][c]);
  }

 private:
  static __device__ __forceinline__ void read(const Word* from, float (&to)[4]) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  }
};
