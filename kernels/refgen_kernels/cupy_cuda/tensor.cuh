// Products of slices on tensor cores.
//
// A warp makes 64 x 32 results (32 x 32 in the small tile). Both kinds of slices stay as they come
// from memory: deep ones lie row by row, the others word by word, and the length of a line is such
// that neither putting a run of four words nor reading a small matrix meets a bank twice.
#pragma once
#include "mma.cuh"

using Word = unsigned;

template <bool DEEP> struct Slice {
  static constexpr int LINE = DEEP ? WORDS + 4 : TILE + 8;
  static constexpr int SIZE = (DEEP ? TILE : WORDS) * LINE;

  static __device__ __forceinline__ int place(int row, int word) {
    return DEEP ? row * LINE + word : word * LINE + row;
  }

  static __device__ __forceinline__ void put(Word* slice, int pass, const Held& held) {
    const Run(&run)[PER_WORD] = held.run;
    unsigned word[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (PER_WORD == 1)
        word[j] = packed(run[0].of[j], 0.0f);
      else if constexpr (DEEP)  // eight numbers of the depth
        word[j] = packed(run[j / 2].of[j % 2 * 2], run[j / 2].of[j % 2 * 2 + 1]);
      else  // two numbers of the depth, four rows
        word[j] = packed(run[0].of[j], run[1].of[j]);
    }
    *reinterpret_cast<uint4*>(slice + place(my_row<DEEP>(), pass * PASS + my_word<DEEP>())) =
        make_uint4(word[0], word[1], word[2], word[3]);
  }
};

struct Sums {
  static constexpr int RUN = 2;  // results side by side
  static constexpr int ROWS = TILE / 32, COLUMNS = 4;  // small matrices of a warp
  float sum[ROWS][COLUMNS][4] = {};

  static __device__ __forceinline__ int group() { return threadIdx.x % 32 / 4; }
  static __device__ __forceinline__ int member() { return threadIdx.x % 4; }
  static __device__ __forceinline__ int first_row() {
    return threadIdx.x / 32 % 2 * (16 * ROWS);
  }
  static __device__ __forceinline__ int first_column() {
    return threadIdx.x / 64 * (8 * COLUMNS);
  }

  template <bool LEFT_DEEP, bool RIGHT_DEEP>
  __device__ __forceinline__ void multiply(const Word* left, const Word* right, int from, int to) {
    left += Slice<LEFT_DEEP>::place(first_row(), 0);
    right += Slice<RIGHT_DEEP>::place(first_column(), 0);
#pragma unroll
    for (int k = from; k < to; k += 8) {
      unsigned a[ROWS][4], b[COLUMNS / 2][4];  // of b two small matrices
#pragma unroll
      for (int r = 0; r < ROWS; ++r) read<LEFT_DEEP, true>(a[r], left, 16 * r, k);
#pragma unroll
      for (int c = 0; c < COLUMNS / 2; ++c) read<RIGHT_DEEP, false>(b[c], right, 16 * c, k);
#pragma unroll
      for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c)
          multiply_add(sum[r][c], a[r], b[c / 2][c % 2 * 2], b[c / 2][c % 2 * 2 + 1]);
    }
  }

  // Adds value(column) to every result.
  template <class Value> __device__ __forceinline__ void add_to_columns(Value value) {
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float more = value(first_column() + 8 * c + 2 * member() + j);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum[r][c][j] += more, sum[r][c][2 + j] += more;
      }
  }

  // Calls body(row, column, run) for every run of this thread's results.
  template <class Body> __device__ __forceinline__ void each_run(Body body) const {
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c) {
          const float run[2] = {sum[r][c][2 * i], sum[r][c][2 * i + 1]};
          body(first_row() + group() + 16 * r + 8 * i, first_column() + 8 * c + 2 * member(), run);
        }
  }

 private:
  // Four quarters of 16 rows x 8 words, 8 x 4 each: upper and lower first, or before and behind.
  template <bool DEEP, bool DOWN_FIRST>
  static __device__ __forceinline__ void read(
      unsigned (&to)[4], const Word* slice, int row, int word) {
    if constexpr (DEEP) {
      const int lane = threadIdx.x % 32, one = lane / 8 % 2, two = lane / 16;
      const int down = DOWN_FIRST ? one : two, along = DOWN_FIRST ? two : one;
      const int mine = Slice<DEEP>::place(lane % 8 + 8 * down, 4 * along);
      load_matrices(to, slice + mine + Slice<DEEP>::place(row, word));
    } else {
      const Word* mine = slice + Slice<DEEP>::place(group(), member());
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int down = DOWN_FIRST ? i % 2 : i / 2, along = DOWN_FIRST ? i / 2 : i % 2;
        to[i] = mine[Slice<DEEP>::place(row + 8 * down, word + 4 * along)];
      }
    }
  }
};
