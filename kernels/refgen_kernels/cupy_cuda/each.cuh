// Loops over elements, four at a time where memory allows it: one body for both widths.
//
// A place in an array is Four{i}, elements i .. i + 3 in one access of 128 bits, or One{i}. A body
// takes a place of either type and uses at() and put(), so it is written once:
//
//   each(count, fours, [&](auto i) { put(y, i, p * at(x, i)); });
#pragma once

struct Four { int i; };
struct One { int i; };

__device__ __forceinline__ float4 at(const float* x, Four p) {
  return *reinterpret_cast<const float4*>(x + p.i);
}
__device__ __forceinline__ float at(const float* x, One p) { return x[p.i]; }
__device__ __forceinline__ void put(float* x, Four p, float4 v) {
  *reinterpret_cast<float4*>(x + p.i) = v;
}
__device__ __forceinline__ void put(float* x, One p, float v) { x[p.i] = v; }

__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 operator-(float4 a, float4 b) {
  return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 operator*(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
__device__ __forceinline__ float4 operator*(float a, float4 b) {
  return make_float4(a * b.x, a * b.y, a * b.z, a * b.w);
}
__device__ __forceinline__ float4 operator+(float a, float4 b) {
  return make_float4(a + b.x, a + b.y, a + b.z, a + b.w);
}

// f of every element.
template <class F> __device__ __forceinline__ float map(F f, float x) { return f(x); }
template <class F> __device__ __forceinline__ float4 map(F f, float4 x) {
  return make_float4(f(x.x), f(x.y), f(x.z), f(x.w));
}
__device__ __forceinline__ float sum(float x) { return x; }
__device__ __forceinline__ float sum(float4 x) { return (x.x + x.y) + (x.z + x.w); }

// Calls body for elements 0 .. count - 1, whatever the grid. `fours` must be the same for all
// threads; elements beyond the last four are taken one by one.
template <class Body> __device__ __forceinline__ void each(int count, bool fours, Body body) {
  const int threads = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
  const int whole = fours ? count / 4 : 0;
  for (int i = first; i < whole; i += threads) body(Four{4 * i});
  for (int i = 4 * whole + first; i < count; i += threads) body(One{i});
}
