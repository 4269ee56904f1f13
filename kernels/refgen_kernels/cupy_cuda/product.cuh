// One block's share of a product: bring slices of both factors, multiply, write.
//
// Shared memory holds two stages. While one is multiplied, the next is on its way into registers,
// pass by pass; it is put beside the first when that is done, so there is one barrier a stage. Two
// blocks or more share a multiprocessor, and one multiplies while the other waits.
#pragma once
#include "slices.cuh"
#if MATH == 0
#include "floats.cuh"
#else
#include "tensor.cuh"
#endif

// A block's way through the stages; Factors say where their runs lie.
template <class Factors> struct Stages {
  using Left = Slice<Factors::LEFT_DEEP>;
  using Right = Slice<Factors::RIGHT_DEEP>;
  Factors& of;
  Word *left, *right;  // two slices each
  Held next_left, next_right;

  // Asks for the runs of the next pass.
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int piece = 0; piece < PER_WORD; ++piece) {
      next_left.run[piece] = of.left.run(piece);
      next_right.run[piece] = of.right.run(piece);
    }
    of.advance();
  }
  // Waits for them, and puts them into a pass of stage 0 or 1.
  __device__ __forceinline__ void put(int pass, int stage) {
    Left::put(left + stage * Left::SIZE, pass, next_left);
    Right::put(right + stage * Right::SIZE, pass, next_right);
    of.seen(next_right);
  }
  // Multiplies stage 0 or 1 and brings the other one meanwhile, if there is more to come.
  __device__ __forceinline__ void step(Sums& sums, int stage, bool more) {
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) {
      if (more) fetch();
      sums.template multiply<Factors::LEFT_DEEP, Factors::RIGHT_DEEP>(
          left + stage * Left::SIZE, right + stage * Right::SIZE, pass * PASS, (pass + 1) * PASS);
      if (more) put(pass, 1 - stage);
    }
    __syncthreads();
  }
};

template <class Factors> __device__ __forceinline__ Sums multiplied(Factors& of) {
  using Left = Slice<Factors::LEFT_DEEP>;
  using Right = Slice<Factors::RIGHT_DEEP>;
  constexpr int UNROLL = MATH == 0 ? 2 : 1;  // 2 makes addresses constant, if there are registers
  __shared__ __align__(16) Word left[2 * Left::SIZE];
  __shared__ __align__(16) Word right[2 * Right::SIZE];
  Stages<Factors> stages = {of, left, right};
  Sums sums;
  const int count = of.work.stages;
  if (count > 0) {
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) stages.fetch(), stages.put(pass, 0);
  }
  __syncthreads();
#pragma unroll UNROLL
  for (int stage = 0; stage < count; ++stage) stages.step(sums, stage % 2, stage + 1 < count);
  return sums;
}

__device__ __forceinline__ void put_run(float* to, const float (&run)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(run[0], run[1], run[2], run[3]);
}
__device__ __forceinline__ void put_run(float* to, const float (&run)[2]) {
  *reinterpret_cast<float2*>(to) = make_float2(run[0], run[1]);
}

// Writes a block's results, plus b, to a matrix; b may be nothing.
template <class Factors> __device__ __forceinline__ void write(
    const Factors& of, Sums& sums, const float* b, float* to) {
  const int columns = of.work.columns;
  if (b != nullptr)
    sums.add_to_columns([&](int j) {
      const int column = of.work.column + j;
      return column < columns ? b[column] : 0.0f;
    });
  sums.each_run([&](int i, int j, const auto& run) {
    const int row = of.work.row + i, column = of.work.column + j;
    if (row >= of.work.rows || column >= columns) return;
    float* place = to + (of.place(row) * columns + column);
    if (columns % 4 == 0) {
      put_run(place, run);
    } else {
#pragma unroll
      for (int e = 0; e < Sums::RUN; ++e)
        if (column + e < columns) place[e] = run[e];
    }
  });
}
