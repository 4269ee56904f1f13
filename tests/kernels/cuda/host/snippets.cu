// Small kernels for the tests of the runner, each for one test.

extern "C" __global__ void visit(int* next, int* visited) {
  const int row = threadIdx.y + blockDim.y * threadIdx.z;
  const int thread = threadIdx.x + blockDim.x * row;
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  visited[atomicAdd(next, 1)] = thread + block * blockDim.x * blockDim.y * blockDim.z;
}

extern "C" __global__ void shuffles(const int* x, int* all, int width) {
  int (*y)[32] = reinterpret_cast<int (*)[32]>(all);
  const int l = threadIdx.x;
  y[0][l] = __shfl_sync(~0u, x[l], 5, width);
  y[1][l] = __shfl_up_sync(~0u, x[l], 3, width);
  y[2][l] = __shfl_down_sync(~0u, x[l], 3, width);
  y[3][l] = __shfl_xor_sync(~0u, x[l], 3, width);
}

extern "C" __global__ void absent(float* y) { y[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 8); }

// Halves of a warp exchange by themselves, one of them more often, then all together.
extern "C" __global__ void halves(int* y) {
  const int l = threadIdx.x;
  const unsigned mine = l < 16 ? 0xFFFFu : 0xFFFF0000u;
  int sum = 1;
  for (int i = 0; i < (l < 16 ? 1 : 4); ++i) sum += __shfl_xor_sync(mine, sum, 1 << i);
  y[l] = __shfl_xor_sync(~0u, sum, 16);
}

extern "C" __global__ void wrong_mask(int* y) {
  y[threadIdx.x] = __shfl_sync(threadIdx.x < 16 ? 0x1FFFFu : ~0u, 1, 0);  // BUG wrong_mask
}

extern "C" __global__ void outside_mask(int* y) { y[threadIdx.x] = __shfl_sync(0xFFu, 1, 0); }

extern "C" __global__ void lanes_exit(int* y) {
  if (threadIdx.x > 2) return;
  __syncwarp();  // BUG lanes_exit
}

extern "C" __global__ void trap() { if (threadIdx.x == 3 && blockIdx.y == 2) __trap(); }

extern "C" __global__ void votes(const int* x, unsigned* y) {
  const int vote = x[threadIdx.x];
  const unsigned ballot = __ballot_sync(~0u, vote);
  const int any = __any_sync(~0u, vote), all = __all_sync(~0u, vote);
  const int count = __syncthreads_count(vote);
  const int some = __syncthreads_or(vote), every = __syncthreads_and(vote);
  const unsigned found[6] = {ballot, any, all, count, some, every};
#pragma unroll
  for (int i = 0; i < 6; ++i) y[6 * threadIdx.x + i] = found[i];
}

extern "C" __global__ void atomics(float* f, int* i, unsigned* u) {
  const int t = threadIdx.x;
  atomicAdd(f, 0.5f);
  atomicMax(&i[0], t);
  atomicMin(&i[1], -t);
  i[2 + t] = atomicExch(&u[0], t);
  while (atomicCAS(&u[1], t, t + 1) != t && t % 2) {}
}

extern "C" __global__ void __launch_bounds__(2 * 32, 1) types(
    const float* a, int* b, unsigned long long c, int d, float e, bool f, const void* g) {
  if (b) *b = d + (a == nullptr) + f + (int)e + (int)c;
}

extern "C" __global__ void numbers(const float* x, float* y, unsigned* u) {
  y[0] = __fmaf_rn(x[0], x[0], -1.0f);
  y[1] = __fsub_rn(__fmul_rn(x[0], x[0]), 1.0f);
  y[2] = x[0] * x[0] - 1.0f;
  y[3] = __fdiv_rn(1.0f, 3.0f) + __fsqrt_rn(2.0f);
  sincospif(1e6f + 0.5f, &y[4], &y[5]);
  y[6] = sinpif(-1.0f), y[7] = cospif(0.25f);
  y[8] = rsqrtf(4.0f) + fmaxf(0.0f / 0.0f, 1.0f) + __expf(0.0f);
  y[9] = __uint2float_rn(0xFFFFFFFFu), y[10] = __int2float_rn(-3);
  u[0] = __umulhi(0xD2511F53u, 0xFFFFFFFFu);
  u[1] = __float_as_uint(1.0f), u[2] = __float_as_int(__uint_as_float(7u));
  u[3] = __float2uint_rn(-1.0f), u[4] = __float2int_rz(1e20f), u[5] = __float2int_rn(2.5f);
  u[6] = __popc(0xF0F0u), u[7] = __clz(1), u[8] = __ffs(8), u[9] = max(3, 5u), u[10] = min(-1, 2);
  u[11] = alignof(float4) + alignof(uint4) + 2 * alignof(float2) + sizeof(float3);
  u[12] = host_tf32(1.0f + 0x1p-11f), u[13] = host_bf16x2(1.0f, -2.0f + 0x1p-8f);
  u[14] = warpSize + blockDim.x;
}

// Declared over several lines, which must not move the lines below.
extern __shared__ alignas(16)
    double
    spread[];

extern "C" __global__ void lines(int* y) {
#line 100 "other.cuh"
  if (threadIdx.x) __syncthreads();
}
