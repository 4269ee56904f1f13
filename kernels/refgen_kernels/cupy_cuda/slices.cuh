// How a block cuts a product, and which of the numbers each of its threads brings from memory.
//
// A block makes TILE x TILE results and walks in stages along the depth, the axis that is summed
// over. A stage needs a slice of either factor: TILE rows (or columns) of WORDS words of the depth.
// It is brought in PASSES. In a pass a thread brings WIDE words of either factor: a run of numbers
// that lie side by side in memory, a float4 or one float, or two runs where a word is two numbers.
// A factor is DEEP where its runs lie along the depth, as windows of x do, and else across it, as
// lines of w do.
//
// TILE (128 or 64), WIDE (4 or 1) and MATH are defined before this text is compiled.
#pragma once

constexpr int TF32 = 1, BF16 = 2;                 // MATH; 0 is float
constexpr int PER_WORD = MATH == BF16 ? 2 : 1;    // numbers of the depth in 32 bits
constexpr int THREADS = 2 * TILE;                 // of a block
constexpr int BLOCKS = 512 / THREADS;             // of a multiprocessor: 128 registers a thread
constexpr int WORDS = MATH == 0 ? 8 : 16;         // of a stage
constexpr int PASS = 2 * WIDE;                    // words of a pass, two threads to a row
constexpr int PASSES = WORDS / PASS;              // of a stage
constexpr int STRIDE = PASS * PER_WORD;           // numbers of the depth from pass to pass
constexpr int DEPTH = STRIDE * PASSES;            // numbers of the depth in a stage

// Numbers side by side in memory.
struct Run {
  float of[WIDE];
};

// What a thread holds of a pass on its way from memory to shared memory.
struct Held {
  Run run[PER_WORD];
};

__device__ __forceinline__ Run run_at(const float* place, bool inside) {
  Run run = {};
  if constexpr (WIDE == 4) {
    const float4 four = inside ? *reinterpret_cast<const float4*>(place) : make_float4(0, 0, 0, 0);
    run.of[0] = four.x, run.of[1] = four.y, run.of[2] = four.z, run.of[3] = four.w;
  } else {
    run.of[0] = inside ? *place : 0.0f;
  }
  return run;
}

// Where this thread's run lies in a slice: its row, or the first of its rows, and its word in a
// pass, or the first of its words.
template <bool DEEP> __device__ __forceinline__ int my_row() {
  return DEEP ? threadIdx.x / 16 * 8 + threadIdx.x % 8 : threadIdx.x % (TILE / WIDE) * WIDE;
}
template <bool DEEP> __device__ __forceinline__ int my_word() {
  return DEEP ? threadIdx.x / 8 % 2 * WIDE : threadIdx.x / (TILE / WIDE);
}
