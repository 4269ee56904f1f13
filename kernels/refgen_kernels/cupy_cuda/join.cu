// Sums of branches, a vector for every pixel, channels in a row. Mirrors refgen/ops/join.py.
//
// Nothing is computed to speak of, so all that counts is that memory is touched once, 128 bits at
// a time: neighbouring channels lie side by side, and four of them belong to one pixel wherever
// the number of channels is a multiple of four.
#include "each.cuh"

extern "C" __global__ void add_up(const float* x, const float* z, float* y, int count) {
  each(count, true, [&](auto i) { put(y, i, at(x, i) + at(z, i)); });  // (JO.1)
}

extern "C" __global__ void add_to_pixels(
    const float* x, const float* v, float* y,  // (samples, pixels, channels), (samples, channels)
    int each_sample, int channels, int count) {
  each(count, channels % 4 == 0, [&](auto i) {
    auto of_v = i;
    of_v.i = i.i / each_sample * channels + i.i % channels;
    put(y, i, at(x, i) + at(v, of_v));  // (JO.2)
  });
}

// A block takes `width` columns, a column being what one access reads, and the rows of one piece.
// Its threads form rows of that width: neighbours read neighbouring columns, and each thread adds
// every blockDim.x / width-th row. A tree in shared memory adds what they found.
template <class Place, int CHANNELS>
__device__ __forceinline__ void sum_columns(
    const float* x, float* y, int rows, int pieces, int channels, int width) {
  using Sum = decltype(at(x, Place()));
  __shared__ Sum part[THREADS];
  const int columns = channels / CHANNELS, tiles = (columns + width - 1) / width;
  const int place = blockIdx.x / tiles, sample = place / pieces;  // place of a piece among all
  const int column = blockIdx.x % tiles * width + threadIdx.x % width;
  const int row = threadIdx.x / width, at_once = blockDim.x / width;
  const int piece = (rows + pieces - 1) / pieces, first = place % pieces * piece;
  const int stop = min(first + piece, rows);
  Sum sum = {};
  if (column < columns) {
#pragma unroll 4
    for (int r = first + row; r < stop; r += at_once)
      sum = sum + at(x, Place{((sample * rows + r) * columns + column) * CHANNELS});
  }
  part[threadIdx.x] = sum;
  for (int left = at_once; left > 1; left = (left + 1) / 2) {
    __syncthreads();
    const int kept = (left + 1) / 2;
    if (row + kept < left) {
      part[threadIdx.x] = part[threadIdx.x] + part[threadIdx.x + kept * width];
    }
  }
  if (row == 0 && column < columns) {
    put(y, Place{(place * columns + column) * CHANNELS}, part[threadIdx.x]);  // (JO.4)
  }
}

extern "C" __global__ void sum_rows(
    const float* x, float* y,  // (samples, rows, channels), (samples, pieces, channels)
    int rows, int pieces, int channels, int width) {
  if (channels % 4 == 0) {
    sum_columns<Four, 4>(x, y, rows, pieces, channels, width);
  } else {
    sum_columns<One, 1>(x, y, rows, pieces, channels, width);
  }
}

extern "C" __global__ void lay_side_by_side(
    const float* x, const float* z, float* y,  // (rows, c), (rows, e), (rows, c + e)
    int c, int e, int count) {
  each(count, c % 4 == 0 && e % 4 == 0, [&](auto i) {
    const int row = i.i / (c + e), channel = i.i % (c + e);
    auto from = i;
    from.i = channel < c ? row * c + channel : row * e + channel - c;
    put(y, i, at(channel < c ? x : z, from));  // (JO.3)
  });
}

extern "C" __global__ void cut_apart(
    const float* y, float* x, float* z,  // (rows, c + e), (rows, c), (rows, e)
    int c, int e, int count) {
  each(count, c % 4 == 0 && e % 4 == 0, [&](auto i) {
    const int row = i.i / (c + e), channel = i.i % (c + e);
    auto to = i;
    to.i = channel < c ? row * c + channel : row * e + channel - c;
    put(channel < c ? x : z, to, at(y, i));  // (JO.4)
  });
}
