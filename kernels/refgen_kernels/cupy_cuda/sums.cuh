// Sums over each sample, in the pass that computes their terms. See device/sums.py, which decides
// what each block takes.
//
// A body returns the term of a place, and the block keeps it in shared memory, element by element.
// So the pass itself knows nothing of samples: it reads and writes 128 bits at once wherever
// samples begin. Only then are the terms of each sample added, in an order that follows from the
// sample's size alone:
//
//   each_summed(parts, sums, [&](auto i) { put(y, i, ...); return at(x, i) * at(x, i); });
#pragma once
#include "philox.cuh"
#include "reduce.cuh"

#define SHORT 512    // elements of a sample that some lanes of one warp add, sixteen each at most
#define RESIDENT 16  // blocks on a multiprocessor: 32 registers a thread, and none is idle

// What each block takes: `together` samples of `each` elements, or one of `pieces` of one sample.
struct Parts { int samples, each, together, pieces, piece; };

// A tile holds a number for each of the elements from .. to - 1. Its first place belongs to element
// tile_base(from): what is aligned in memory is aligned in the tile.
__device__ __forceinline__ int tile_base(int from) { return from / 4 * 4; }

// Calls body(place, place in the tile) for elements from .. to - 1, by the threads of one block:
// four at a time, but for up to three at either end.
template <class Body> __device__ __forceinline__ void block_each(int from, int to, Body body) {
  const int base = tile_base(from), first = (from - base + 3) / 4, last = (to - base) / 4;  // fours
  const int head = min(base + 4 * first, to) - from, tail = max(base + 4 * last, from + head);
#pragma unroll 1
  for (int i = first + threadIdx.x; i < last; i += blockDim.x)
    body(Four{base + 4 * i}, Four{4 * i});
  for (int i = threadIdx.x; i < head + to - tail; i += blockDim.x) {
    const int single = i < head ? from + i : tail + i - head;
    body(One{single}, One{single - base});
  }
}

// Leaves the normals of elements from .. to - 1 in a tile, a counter to a thread. A block of 64
// that is cut here is drawn again by whoever takes the rest.
__device__ __forceinline__ void block_draw(int from, int to, const Draw& d, float* tile) {
  const int base = tile_base(from), last = (d.offset + to + 63) / 64 * 16;
  for (int j = (d.offset + from) / 64 * 16 + threadIdx.x; j < last; j += blockDim.x) {
    const float4 z = box_muller(philox(16 * d.block + j, d));
    const float four[4] = {z.x, z.y, z.z, z.w};
    const int i = j / 16 * 64 + j % 16 - d.offset;  // (N.2)
#pragma unroll
    for (int w = 0; w < 4; ++w)
      if (i + 16 * w >= from && i + 16 * w < to) tile[i + 16 * w - base] = four[w];
  }
}

// This thread's part of the sum of `count` terms.
__device__ __forceinline__ float own_sum(const float* terms, int count, int first, int step) {
  float x = 0;
#pragma unroll 1
  for (int i = first; i < count; i += step) x += terms[i];
  return x;
}

// Adds up `runs` runs of `each` terms: a team of lanes to a short run, or the block to a long one.
__device__ __forceinline__ void add_runs(const float* terms, int each, int runs, float* sums) {
  if (each > SHORT) {
    for (int run = 0; run < runs; ++run) {
      const float x = block_sum(own_sum(terms + run * each, each, threadIdx.x, blockDim.x));
      if (threadIdx.x == 0) sums[run] = x;
    }
    return;
  }
  const int team = blockDim.x < 32 ? 1 : 1 << (31 - __clz(min(each, 32)));
  const int teams = blockDim.x / team, lane = threadIdx.x % team;
  for (int first = 0; first < runs; first += teams) {  // all lanes of a warp go round together
    const int run = first + threadIdx.x / team;
    float x = run < runs ? own_sum(terms + run * each, each, lane, team) : 0.0f;
    x = warp_sum(x, team);
    if (run < runs && lane == 0) sums[run] = x;
  }
}

// Calls fill(from, to, tile) to have a tile filled with the terms of elements from .. to - 1, and
// leaves the sum of each sample, or this block's share of one, in sums.
template <class Fill>
__device__ __forceinline__ void summed(const Parts& p, float* sums, Fill fill) {
  __shared__ __align__(16) float tile[TILE + 3];
  const bool cut = p.pieces > 1;
  const int first = cut ? blockIdx.x : blockIdx.x * p.together;  // of the sums that it leaves
  const int sample = cut ? first / p.pieces : first, runs = min(p.together, p.samples - sample);
  const int lo = sample * p.each + (cut ? first % p.pieces * p.piece : 0);
  const int hi = cut ? min(lo + p.piece, (sample + 1) * p.each) : lo + runs * p.each;
  float share = 0;
  for (int from = lo; from < hi; from += TILE) {  // whole samples fill one tile at most
    const int to = min(from + TILE, hi);
    const float* terms = tile + (from - tile_base(from));
    fill(from, to, tile);
    __syncthreads();
    if (cut) {
      share += own_sum(terms, to - from, threadIdx.x, blockDim.x);
      __syncthreads();  // before the next tile
    } else {
      add_runs(terms, p.each, runs, sums + first);
    }
  }
  if (cut) {
    share = block_sum(share);
    if (threadIdx.x == 0) sums[first] = share;
  }
}

// Calls body(place) for every element of every sample; the sums of what it returns go to sums.
template <class Body>
__device__ __forceinline__ void each_summed(const Parts& p, float* sums, Body body) {
  summed(p, sums, [&](int from, int to, float* tile) {
    block_each(from, to, [&](auto i, auto here) { put(tile, here, body(i)); });
  });
}

// Calls body(place, z) with the normals of a draw, which wait where the terms will be.
template <class Body>
__device__ __forceinline__ void each_summed_drawn(
    const Parts& p, float* sums, const Draw& draw, Body body) {
  summed(p, sums, [&](int from, int to, float* tile) {
    block_draw(from, to, draw, tile);
    __syncthreads();
    block_each(from, to, [&](auto i, auto here) { put(tile, here, body(i, at(tile, here))); });
  });
}

// The number of the sample that a place belongs to; of each of four, since samples may meet there.
__device__ __forceinline__ float of_sample(const float* numbers, One i, int each) {
  return numbers[i.i / each];
}
__device__ __forceinline__ float4 of_sample(const float* numbers, Four i, int each) {
  int n = i.i / each, left = (n + 1) * each - i.i;  // elements of sample n from here on
  float4 of;
  of.x = of.y = of.z = of.w = numbers[n];
  if (left >= 4) return of;
  if (--left == 0) ++n, left = each;
  of.y = numbers[n];
  if (--left == 0) ++n, left = each;
  of.z = numbers[n];
  if (--left == 0) ++n;
  of.w = numbers[n];
  return of;
}

// The second launch: the sums of the shares that the blocks of a first one left.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) add_shares(
    const float* shares,  // (samples, each_sample)
    float* sums,          // (samples,)
    int samples, int each_sample, int together, int pieces, int piece) {
  const Parts parts = {samples, each_sample, together, pieces, piece};
  each_summed(parts, sums, [&](auto i) { return at(shares, i); });
}
