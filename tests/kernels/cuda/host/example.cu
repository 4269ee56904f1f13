// Kernels for the tests of the runner: some right, and some with one bug each.

// Sum of the lanes of a warp, in every lane.
__device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// Sum of a block, right in its first warp.
template <int WARPS> __device__ float block_sum(float x) {
  __shared__ float of_warp[WARPS];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  x = warp_sum(x);
  if (lane == 0) of_warp[warp] = x;
  __syncthreads();
  return warp_sum(lane < WARPS ? of_warp[lane] : 0.0f);
}

// y = sum of each row of x; one block per row.
extern "C" __global__ void __launch_bounds__(128) row_sums(
    const float* __restrict__ x, float* __restrict__ y, int columns) {
  float sum = 0.0f;
  for (int j = threadIdx.x; j < columns; j += blockDim.x) sum += x[blockIdx.x * columns + j];
  sum = block_sum<4>(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

// Turns x around by one place, `rounds` times; both barriers are needed, one for each side.
extern "C" __global__ void rotate(const float* x, float* y, int rounds) {
  extern __shared__ __align__(16) float tile[];
  float mine = x[threadIdx.x];
  for (int i = 0; i < rounds; ++i) {
    tile[threadIdx.x] = mine;
    __syncthreads();  // all is written
    mine = tile[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();  // all is read
  }
  y[threadIdx.x] = mine;
}

// y = 2 x, four at a time.
extern "C" __global__ void double_fours(const float* x, float* y, int fours) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= fours) return;
  const float4 v = reinterpret_cast<const float4*>(x)[i];
  reinterpret_cast<float4*>(y)[i] = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w);
}

// How often each of `bins` numbers occurs: counted in shared memory, then added up.
extern "C" __global__ void histogram(const int* x, int* counts, int n, int bins) {
  extern __shared__ int of_block[];
  for (int b = threadIdx.x; b < bins; b += blockDim.x) of_block[b] = 0;
  __syncthreads();
  const int threads = gridDim.x * blockDim.x;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += threads) {
    atomicAdd(&of_block[x[i]], 1);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < bins; b += blockDim.x) atomicAdd(&counts[b], of_block[b]);
}

// ---- products of matrices, row by row in memory; element i of a fragment is where the tables of
// the PTX ISA put it, in the ISA's own words

extern "C" __global__ void product_tf32(
    const float* a,  // (16, 8)
    const float* b,  // (8, 8)
    float* d) {      // (16, 8)
  const int groupID = threadIdx.x >> 2, threadID_in_group = threadIdx.x % 4;
  unsigned as[4], bs[2];
  float ds[4];
  for (int i = 0; i < 4; ++i) {
    const int row = i == 0 || i == 2 ? groupID : groupID + 8;
    const int column = i == 0 || i == 1 ? threadID_in_group : threadID_in_group + 4;
    as[i] = __float_as_uint(a[row * 8 + column]);
  }
  for (int i = 0; i < 2; ++i) {
    const int row = i == 0 ? threadID_in_group : threadID_in_group + 4;
    bs[i] = __float_as_uint(b[row * 8 + groupID]);
  }
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? groupID : groupID + 8, column = threadID_in_group * 2 + (i & 1);
    ds[i] = d[row * 8 + column];
  }
  host_mma_m16n8k8_tf32(ds, as, bs);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? groupID : groupID + 8, column = threadID_in_group * 2 + (i & 1);
    d[row * 8 + column] = ds[i];
  }
}

extern "C" __global__ void product_bf16(
    const unsigned short* a,  // (16, 16)
    const unsigned short* b,  // (16, 8)
    float* d) {               // (16, 8)
  const int groupID = threadIdx.x >> 2, threadID_in_group = threadIdx.x % 4;
  unsigned as[4] = {}, bs[2] = {};
  float ds[4];
  for (int i = 0; i < 8; ++i) {
    const int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? groupID : groupID + 8;
    const int column = threadID_in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    as[i / 2] |= (unsigned)a[row * 16 + column] << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) {
    const int row = threadID_in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
    bs[i / 2] |= (unsigned)b[row * 8 + groupID] << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? groupID : groupID + 8, column = threadID_in_group * 2 + (i & 1);
    ds[i] = d[row * 8 + column];
  }
  host_mma_m16n8k16_bf16(ds, as, bs);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? groupID : groupID + 8, column = threadID_in_group * 2 + (i & 1);
    d[row * 8 + column] = ds[i];
  }
}

// ---- one bug each; n is the length of both arrays

extern "C" __global__ void outside_global(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[0];  // BUG outside_global
}

extern "C" __global__ void outside_static(const float* x, float* y, int n) {
  __shared__ float row[32];
  row[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row[threadIdx.x + n];  // BUG outside_static
}

// Not inlined, so that no compiler sees how long the array is.
template <int SIZE> __device__ __noinline__ float* row_of_template() {
  __shared__ float row[SIZE];
  return row;
}

extern "C" __global__ void outside_template(const float* x, float* y, int n) {
  row_of_template<32>()[threadIdx.x + 1] = x[threadIdx.x];  // BUG outside_template
}

extern "C" __global__ void outside_dynamic(const float* x, float* y, int n) {
  extern __shared__ float row[];
  row[threadIdx.x + 1] = x[threadIdx.x];  // BUG outside_dynamic
  __syncthreads();
  y[threadIdx.x] = row[threadIdx.x + 1];
}

extern "C" __global__ void misaligned(const float* x, float* y, int n) {
  const float4 v = *reinterpret_cast<const float4*>(x + 1);  // BUG misaligned
  y[threadIdx.x] = v.x;
}

extern "C" __global__ void divergent(const float* x, float* y, int n) {
  if (threadIdx.x >= 16) return;
  __syncthreads();  // BUG divergent
  y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void two_barriers(const float* x, float* y, int n) {
  if (threadIdx.x < 32) {
    __syncthreads();  // BUG two_barriers
  } else {
    __syncthreads();
  }
}

extern "C" __global__ void unwritten(const float* x, float* y, int n) {
  __shared__ float nothing[64];
  extern __shared__ float dynamic[];
  y[threadIdx.x] = threadIdx.x % 2 ? nothing[threadIdx.x] : dynamic[threadIdx.x];
}
