// Sums over the threads of a warp and of a block, in an order that is always the same.
//
// Partners exchange what they have and both add it: after five exchanges every lane of a warp holds
// the sum of all, with the same bits, since a + b = b + a. Warps then meet in shared memory. Blocks
// are one-dimensional and hold a multiple of 32 threads, or fewer than 32.
#pragma once

__device__ __forceinline__ float2 operator+(float2 a, float2 b) {
  return make_float2(a.x + b.x, a.y + b.y);
}
__device__ __forceinline__ float partner(float x, int lane) {
  return __shfl_xor_sync(0xFFFFFFFFu, x, lane);
}
__device__ __forceinline__ float2 partner(float2 x, int lane) {
  return make_float2(partner(x.x, lane), partner(x.y, lane));
}

// The sum over a team: `team` neighbouring lanes, a power of two up to 32. Every lane of the team
// gets it. All 32 lanes of the warp must call.
template <class T> __device__ __forceinline__ T warp_sum(T x, int team = 32) {
  for (int lane = team / 2; lane > 0; lane /= 2) x = x + partner(x, lane);
  return x;
}

// The sum over all threads of the block, for float or float2; every thread gets it. All threads
// must call.
template <class T> __device__ __forceinline__ T block_sum(T x) {
  __shared__ T held[32];  // the sum of each warp, or what each thread of a small block has
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  __syncthreads();  // an earlier sum may still be read
  if (warps == 0) {
    held[lane] = x;
    __syncthreads();
    T all = held[0];
#pragma unroll 1
    for (int i = 1; i < (int)blockDim.x; ++i) all = all + held[i];
    return all;
  }
  x = warp_sum(x);
  if (lane == 0) held[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(lane < warps ? held[lane] : T());
}
