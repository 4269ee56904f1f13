// The three products of convolutions and dense layers. Mirrors refgen/ops/conv.py and dense.py.
//
// x, w and y of a convolution are tied by one sum over windows, taps, channels and filters; each
// kernel makes one of the three from the others. A dense layer is the convolution of images of one
// pixel by one tap. One text gives a module for each TILE, WIDE and MATH; see slices.cuh.
//
// parts > 1 cuts the depth into parts that blocks sum apart, so that small results fill a GPU, too:
// results are then parts matrices, which add_rows adds in order. No sum depends on the device.
#include "each.cuh"
#include "factors.cuh"
#include "product.cuh"
#include "spread.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate(
    const float* x, const float* w, const float* b,  // (N, H, W, C), (U, V, C, O), (O,) or nothing
    float* y,                                        // (parts, N, I, J, O)
    int N, int H, int W, int C, int I, int J, int O, int U, int V, int sv, int sh, int pv, int ph,
    int deep) {
  const Geometry g = {N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep};
  const int part = blockIdx.z;
  const Axis* axes = shared_axes([&](Axis& down, Axis& across) {
    down = {I, -pv, sv, 1, U, H};
    across = {J, -ph, sh, 1, V, W};
  });
  Correlation of(x, w, g, axes, part);
  Sums sums = multiplied(of);
  write(of, sums, b, y + (size_t)part * (N * I * J * O));
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) spread(
    const float* y, const float* w, const float* b,  // (N, I, J, O), (U, V, C, O), (C,) or nothing
    float* x,                                        // (parts, N, H, W, C)
    int N, int H, int W, int C, int I, int J, int O, int U, int V, int sv, int sh, int pv, int ph,
    int deep) {
  const Geometry g = {N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep};
  const int phase = blockIdx.z % (sv * sh), part = blockIdx.z / (sv * sh);
  const Axis* axes = shared_axes([&](Axis& down, Axis& across) {
    down = phase_axis(phase / sh, sv, pv, U, H, I);
    across = phase_axis(phase % sh, sh, ph, V, W, J);
  });
  Spread of(y, w, g, axes, part);
  if (of.work.row >= of.work.rows) return;  // other phases have more pixels
  Sums sums = multiplied(of);
  write(of, sums, b, x + (size_t)part * (N * H * W * C));
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) collect(
    const float* x, const float* dy,  // (N, H, W, C), (N, I, J, O)
    float* dw,                        // (parts, U V C + 1, O): dw and then db
    int N, int H, int W, int C, int I, int J, int O, int U, int V, int sv, int sh, int pv, int ph,
    int deep) {
  const Geometry g = {N, H, W, C, I, J, O, U, V, sv, sh, pv, ph, deep};
  const int part = blockIdx.z;
  Gradient of(x, dy, g, part);
  Sums sums = multiplied(of);
  float* mine = dw + (size_t)part * ((U * V * C + 1) * O);
  write(of, sums, nullptr, mine);
  if (of.work.row == 0) of.write_sums(mine + U * V * C * O);
}

// y[p] = b + rows p each_part .. (p + 1) each_part of x, added; b repeats along a row.
extern "C" __global__ void add_rows(
    const float* x, const float* b, float* y,  // (rows, row), (period,) or nothing, (parts, row)
    int rows, int row, int each_part, int period, int count) {
  each(count, period % 4 == 0, [&](auto i) {
    const int part = i.i / row, last = min((part + 1) * each_part, rows);
    const float* from = x - (long long)part * row;  // so that i counts from its row's beginning
    decltype(at(x, i)) even = {}, odd = {};
    int r = part * each_part;
#pragma unroll 4
    for (; r + 1 < last; r += 2) {
      even = even + at(from + (long long)r * row, i);
      odd = odd + at(from + (long long)(r + 1) * row, i);
    }
    if (r < last) even = even + at(from + (long long)r * row, i);
    even = even + odd;
    auto column = i;
    column.i = i.i % period;
    put(y, i, b == nullptr ? even : even + at(b, column));
  });
}

// Each of P x Q taps is the sum of four neighbours of R x S, counted from the other end, with its
// channels exchanged (equations UK.1 and UK.2 of device/upsample_conv.py).
extern "C" __global__ void add_taps(
    const float* w, float* sums,  // (R, S, A, B), (P, Q, B, A)
    int R, int S, int A, int B, int P, int Q) {
  __shared__ float tile[TURNED][TURNED + 1];  // one more: a column meets no bank twice
  const int across = parts_of(B, TURNED), down = blockIdx.x / across;
  const int a = down * TURNED, b = (blockIdx.x - down * across) * TURNED;
  const int p = blockIdx.y / Q, q = blockIdx.y - p * Q;
  const int x = threadIdx.x % TURNED, y = threadIdx.x / TURNED, step = blockDim.x / TURNED;
  for (int i = y; i < TURNED && a + i < A; i += step) {
    float sum = 0;
    for (int k = 0; k < 4; ++k) {
      const int r = min(R, P) - 1 - p + k / 2, s = min(S, Q) - 1 - q + k % 2;
      if (r >= 0 && r < R && s >= 0 && s < S && b + x < B)
        sum += w[((r * S + s) * A + a + i) * B + b + x];
    }
    tile[i][x] = sum;
  }
  __syncthreads();
  for (int i = y; i < TURNED && b + i < B; i += step)
    if (a + x < A) sums[((p * Q + q) * B + b + i) * A + a + x] = tile[x][i];
}
