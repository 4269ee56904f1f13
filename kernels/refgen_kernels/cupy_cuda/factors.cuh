// Two of the three products of a convolution, each as two factors that a block reads slices of:
// y from x and w, and dw from x and dy. The third is in spread.cuh.
#pragma once
#include "windows.cuh"

// Both axes, in shared memory; one thread finds them.
template <class Find> __device__ __forceinline__ const Axis* shared_axes(Find find) {
  __shared__ Axis axes[2];
  if (threadIdx.x == 0) find(axes[0], axes[1]);
  __syncthreads();
  return axes;
}

// y = P(x) w  (CV.2). A row is a window, a column a filter, the depth that of windows.
struct Correlation {
  static constexpr bool LEFT_DEEP = true, RIGHT_DEEP = false;
  Work work;
  Windows left;
  Lines right;

  __device__ __forceinline__ Correlation(
      const float* x, const float* w, const Geometry& g, const Axis* axes, int part)
      : work(g.N * g.I * g.J, g.O, g.U * g.V * g.C, part, g.deep),
        left(x, axes[0], axes[1], g.C, work), right(w, work) {}

  __device__ __forceinline__ void advance() { left.advance(), right.advance(); }
  __device__ __forceinline__ void seen(const Held&) {}
  // Which row of y a row is.
  __device__ __forceinline__ int place(int row) const { return row; }
};

// The same windows with the depth as rows: row (u, v, c) of P(x), turned, read across windows.
struct TurnedWindows {
  const float* x;  // (N, H, W, C)
  Geometry g;
  int down, across, tap;  // where the run lies in a window, and in a pixel
  int n, i, j;            // the window

  __device__ __forceinline__ TurnedWindows(const float* x, const Geometry& g, const Work& work)
      : x(x), g(g) {
    const int row = work.row + my_row<false>(), at = row / max(g.C, 1), u = at / g.V;
    down = row < work.rows ? u - g.pv : -(1 << 30);  // outside of every image
    across = at - u * g.V - g.ph;
    tap = row - at * g.C;
    const int k = work.start + my_word<false>() * PER_WORD, I = max(g.I, 1), J = max(g.J, 1);
    const int line = k / J;
    j = k - line * J, n = line / I, i = line - n * I;
    if (threadIdx.x == 0) stride() = {STRIDE / J / I, STRIDE / J % I, STRIDE % J};
    __syncthreads();
  }

  __device__ __forceinline__ Run run(int piece) const {
    int n = this->n, i = this->i, j = this->j + piece;
    carry(n, i, j);
    const int a = g.sv * i + down, e = g.sh * j + across;
    const bool inside = n < g.N && unsigned(a) < unsigned(g.H) && unsigned(e) < unsigned(g.W);
    return run_at(x + (inside ? ((n * g.H + a) * g.W + e) * g.C + tap : 0), inside);
  }

  __device__ __forceinline__ void advance() {
    const int3 more = stride();
    n += more.x, i += more.y, j += more.z;
    carry(n, i, j);
  }

 private:
  __device__ __forceinline__ void carry(int& n, int& i, int& j) const {
    if (j >= g.J) j -= g.J, ++i;
    if (i >= g.I) i -= g.I, ++n;
  }
  // How far a pass goes, in images, lines and windows.
  static __device__ __forceinline__ int3& stride() {
    __shared__ int3 of;
    return of;
  }
};

// dw = P(x)' dy and db, the sums of dy  (CV.3). A row is (u, v, c), a column a filter, the depth
// all windows. All of dy passes through the blocks of the first rows, which add it on its way.
struct Gradient {
  static constexpr bool LEFT_DEEP = false, RIGHT_DEEP = false;
  Work work;
  TurnedWindows left;
  Lines right;

  __device__ __forceinline__ Gradient(
      const float* x, const float* dy, const Geometry& g, int part)
      : work(g.U * g.V * g.C, g.O, g.N * g.I * g.J, part, g.deep), left(x, g, work),
        right(dy, work) {
#pragma unroll
    for (int e = 0; e < WIDE; ++e) mine()[e] = 0.0f;
  }

  __device__ __forceinline__ void advance() { left.advance(), right.advance(); }
  __device__ __forceinline__ void seen(const Held& dy) {
    if (work.row > 0) return;
#pragma unroll
    for (int e = 0; e < WIDE; ++e) {
      float sum = dy.run[0].of[e];
#pragma unroll
      for (int piece = 1; piece < PER_WORD; ++piece) sum += dy.run[piece].of[e];
      mine()[e] += sum;
    }
  }
  __device__ __forceinline__ int place(int row) const { return row; }

  // Writes the sums of the block's columns.
  __device__ __forceinline__ void write_sums(float* db) const {
    __syncthreads();
    const int column = work.column + threadIdx.x;
    if (threadIdx.x >= TILE || column >= work.columns) return;
    float sum = 0;
#pragma unroll
    for (int word = 0; word < PASS; ++word) sum += sums()[word * TILE + threadIdx.x];
    db[column] = sum;
  }

 private:
  // Of each word of a pass and each column, over all passes; a thread adds where it brings.
  static __device__ __forceinline__ float* sums() {
    __shared__ __align__(16) float of[PASS * TILE];
    return of;
  }
  static __device__ __forceinline__ float* mine() {
    return sums() + my_word<false>() * TILE + my_row<false>();
  }
};
