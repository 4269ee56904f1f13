// Windows of an image as rows of a matrix, P(x) of refgen/ops/conv.py, of which nothing is written.
//
// The depth of a window is (u, v, c): a tap, and the channels of the pixel that it reads. A thread
// keeps its channel and the next place in memory, which both move on pass by pass until a tap ends.
// What is needed once a tap waits in shared memory: registers are dear.
#pragma once
#include "slices.cuh"

// The sizes of a convolution in one group: x (N, H, W, C), w (U, V, C, O), y (N, I, J, O).
struct Geometry {
  int N, H, W, C, I, J, O, U, V;
  int sv, sh, pv, ph;  // strides and paddings, down and across
  int deep;            // stages of a part
};

// How windows lie along one axis: window i reads pixel first + step i + along t at its tap t.
struct Axis {
  int windows, first, step, along, taps;
  int pixels;             // of the image that is read
  int filter, filters;    // tap t is tap filter + filters t of w
  int written, distance;  // window i makes pixel written + distance i of the image that is written
};

__device__ __forceinline__ int parts_of(int whole, int part) { return (whole + part - 1) / part; }

// Which results a block makes, of how many, and which part of the depth it sums over.
struct Work {
  int rows, columns, row, column;  // all of them; the first of the block's
  int depth, start, stages;        // all of it; where the part begins, and how long it is

  __device__ __forceinline__ Work(int rows, int columns, int depth, int part, int deep)
      : rows(rows), columns(columns), depth(depth) {
    const int across = parts_of(columns, TILE), down = blockIdx.x / across;
    row = down * TILE, column = (blockIdx.x - down * across) * TILE;
    const int before = part * deep, all = parts_of(depth, DEPTH);
    start = before * DEPTH, stages = min(deep, max(all - before, 0));
  }
};

// A factor whose row is a window, read along the depth.
struct Windows {
  const float* x;  // (N, down.pixels, across.pixels, C)
  const Axis &down, &across;
  int C, c;
  int place;  // of the next run
  bool inside;

  __device__ __forceinline__ Windows(
      const float* x, const Axis& down, const Axis& across, int C, const Work& work)
      : x(x), down(down), across(across), C(C) {
    const int window = work.row + my_row<true>();
    const int line = window / max(across.windows, 1), n = line / max(down.windows, 1);
    const int i = line - n * down.windows, j = window - line * across.windows;
    const int top = window < work.rows ? down.first + down.step * i : -(1 << 30);  // nowhere
    const int k = work.start + my_word<true>() * PER_WORD, tap = k / max(C, 1);
    c = k - tap * C;
    mine() = {n, top, across.first + across.step * j, tap};
    locate();
  }

  // The tap of the next run: how many lie before it down and across.
  __device__ __forceinline__ int2 tap() const {
    const int tap = mine().tap, u = tap / max(across.taps, 1);
    return make_int2(u, tap - u * across.taps);
  }

  __device__ __forceinline__ void locate() {
    const Mine at = mine();
    const int2 t = tap();
    const int i = at.top + down.along * t.x, j = at.left + across.along * t.y;
    inside = t.x < down.taps && unsigned(i) < unsigned(down.pixels) &&
             unsigned(j) < unsigned(across.pixels);
    place = inside ? ((at.image * down.pixels + i) * across.pixels + j) * C + c : 0;
  }

  __device__ __forceinline__ Run run(int piece) const {
    return run_at(x + (place + piece * WIDE), inside);
  }

  // Goes one pass on. Returns whether the tap is another one now.
  __device__ __forceinline__ bool advance() {
    c += STRIDE, place += STRIDE;
    if (c < C) return false;
    for (; c >= C; c -= C) ++mine().tap;
    locate();
    return true;
  }

 private:
  // What a thread needs once a tap: its window's image, where the window begins in it, its tap.
  struct Mine {
    int image, top, left, tap;
  };
  static __device__ __forceinline__ Mine& mine() {
    __shared__ Mine of[THREADS];
    return of[threadIdx.x];
  }
};

// A factor of lines in memory, (depth, columns), read across them.
struct Lines {
  const float* w;
  int columns, place, end;

  __device__ __forceinline__ Lines(const float* w, const Work& work) : w(w), columns(work.columns) {
    const int column = work.column + my_row<false>();
    place = (work.start + my_word<false>() * PER_WORD) * columns + column;
    end = column < columns ? work.depth * columns : 0;
  }

  __device__ __forceinline__ Run run(int piece) const {
    const int at = place + piece * columns;
    return run_at(w + at, at < end);
  }

  __device__ __forceinline__ void advance() { place += STRIDE * columns; }
};
