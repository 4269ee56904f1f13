// Attention in one pass over the keys, and its adjoint. Mirrors refgen/ops/attention.py.
//
// A tile of scores is made in registers, its weights go to shared memory, and the tile of values
// is added up with them: of the L x M numbers of a head none is ever in memory. The softmax needs
// no second pass, for a sum relative to one maximum is e^(m - m') times as much relative to a new
// one, m'; and every exponent is at most 0, whatever the scores:
//
//   m' = max(m, max_j S_j),   s' = e^(m - m') s + sum_j e^(S_j - m'),
//   o' = e^(m - m') o + sum_j e^(S_j - m') v_j;   in the end  y = o / s,  c = m + log s    (AC.1)
//
// Backward makes the weights again from c. It needs the mean of dA along a row before any dS, so
// its first kernel walks over the keys twice: once for the mean, once for dq. The second takes a
// tile of keys, walks over the queries, and adds up dk and dv. Nothing is added atomically: results
// are the same bits whoever runs first.
//
// A hidden key has the score -infinity. Its weight is 0 in these sums as it is on the page, but
// tiles that nobody sees, half of them under a causal mask, are left out.
#include "attention.cuh"

template <int WIDTH, int ACROSS>
__device__ __forceinline__ void attend(
    float* pair, float* weights, const float* q, const float* k, const float* v,
    const bool* mask, float* y, float* total, const Task& n) {
  using Here = Place<ACROSS>;
  const Here place;
  const Rows queries = rows_of(q, n.head, n.heads, n.queries, n.size);
  const Rows keys = rows_of(k, n.head, n.heads, n.keys, n.size);
  const Rows values = rows_of(v, n.head, n.heads, n.keys, n.taken);
  Sums<WIDTH, ACROSS> taken;
  float top[EACH], sum[EACH];
#pragma unroll
  for (int i = 0; i < EACH; ++i) top[i] = NEVER, sum[i] = 0;
  for (int key = 0; key < n.keys; key += TILE) {
    const Seen found = seen<ACROSS, false>(mask, n.first, key, n);
    if (!__syncthreads_or(found.any)) continue;
    float scores[EACH][Here::COLUMNS], shares[EACH];
    score<ACROSS>(scores, pair, queries, n.first, keys, key, found, n);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      float most = top[i];  // fmaxf leaves NaN out, and the sum brings it in again
#pragma unroll
      for (int j = 0; j < Here::COLUMNS; ++j) most = fmaxf(most, scores[i][j]);
      most = along_row<ACROSS>(most, fmaxf);
      const float base = most == NEVER ? 0 : most;  // nothing seen yet: weights of 0, not of NaN
      float more = 0;
#pragma unroll
      for (int j = 0; j < Here::COLUMNS; ++j) {
        const float weight = expf(scores[i][j] - base);
        weights[place.weight(i, j)] = weight;
        more += weight;
      }
      shares[i] = expf(top[i] - base);
      sum[i] = shares[i] * sum[i] + more;  // (AC.1)
      top[i] = most;
    }
    gather(taken, shares, weights, pair, values, key);  // (AC.1)
  }
  float portions[EACH];
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    const float whole = along_row<ACROSS>(sum[i], add);
    const int row = n.first + place.row(i);
    portions[i] = 1 / whole;
    if (place.across == 0 && row < n.queries) {
      total[n.head * n.queries + row] = top[i] + logf(whole);  // (AT.8)
    }
  }
  float* const here = y + start_of(n.head, n.heads, n.queries, n.taken);
  taken.write(here, n.first, n.queries, n.taken, values.step, portions);  // (AT.3)
}

template <int WIDTH, int ACROSS>
__device__ __forceinline__ void to_queries(
    float* pair, float* weights, const float* q, const float* k, const float* v,
    const bool* mask, const float* dy, const float* total, float* dq, float* mean,
    const Task& n) {
  using Here = Place<ACROSS>;
  const Here place;
  const Rows queries = rows_of(q, n.head, n.heads, n.queries, n.size);
  const Rows keys = rows_of(k, n.head, n.heads, n.keys, n.size);
  const Rows values = rows_of(v, n.head, n.heads, n.keys, n.taken);
  const Rows gradients = rows_of(dy, n.head, n.heads, n.queries, n.taken);
  Sums<WIDTH, ACROSS> sums;
  float means[EACH], totals[EACH], ones[EACH], scales[EACH];
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    const int row = n.first + place.row(i);
    means[i] = 0, ones[i] = 1, scales[i] = n.scale;
    totals[i] = row < n.queries ? total[n.head * n.queries + row] : 0;
  }
#pragma unroll 1
  for (int pass = 0; pass < 2; ++pass) {
    for (int key = 0; key < n.keys; key += TILE) {
      const Seen found = seen<ACROSS, false>(mask, n.first, key, n);
      if (!__syncthreads_or(found.any)) continue;
      float tile[EACH][Here::COLUMNS];
      score<ACROSS>(tile, pair, queries, n.first, keys, key, found, n);
#pragma unroll
      for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < Here::COLUMNS; ++j)
          weights[place.weight(i, j)] = expf(tile[i][j] - totals[i]);  // (AT.8)
      dot<ACROSS>(tile, pair, gradients, n.first, values, key);       // dA, (AT.5)
      if (pass == 0) {
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
          float more = 0;
#pragma unroll
          for (int j = 0; j < Here::COLUMNS; ++j) more += weights[place.weight(i, j)] * tile[i][j];
          means[i] += more;
        }
      } else {
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
          for (int j = 0; j < Here::COLUMNS; ++j)
            weights[place.weight(i, j)] *= tile[i][j] - means[i];  // dS, (AT.4)
        gather(sums, ones, weights, pair, keys, key);
      }
    }
    if (pass == 0) {
#pragma unroll
      for (int i = 0; i < EACH; ++i) means[i] = along_row<ACROSS>(means[i], add);
    }
  }
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    const int row = n.first + place.row(i);
    if (place.across == 0 && row < n.queries) mean[n.head * n.queries + row] = means[i];
  }
  float* const here = dq + (queries.x - q);
  sums.write(here, n.first, n.queries, n.size, queries.step, scales);  // (AT.6)
}

// Rows are keys here and columns are queries: tiles of the transposed weights.
template <int WIDTH, int ACROSS>
__device__ __forceinline__ void to_keys(
    float* pair, float* weights, const float* q, const float* k, const float* v,
    const bool* mask, const float* dy, const float* total, const float* mean, float* dk,
    float* dv, const Task& n) {
  using Here = Place<ACROSS>;
  const Here place;
  const Rows queries = rows_of(q, n.head, n.heads, n.queries, n.size);
  const Rows keys = rows_of(k, n.head, n.heads, n.keys, n.size);
  const Rows values = rows_of(v, n.head, n.heads, n.keys, n.taken);
  const Rows gradients = rows_of(dy, n.head, n.heads, n.queries, n.taken);
  Sums<WIDTH, ACROSS> sum_k, sum_v;
  float ones[EACH], scales[EACH];
#pragma unroll
  for (int i = 0; i < EACH; ++i) ones[i] = 1, scales[i] = n.scale;
  for (int query = 0; query < n.queries; query += TILE) {
    const Seen found = seen<ACROSS, true>(mask, n.first, query, n);
    if (!__syncthreads_or(found.any)) continue;
    float tile[EACH][Here::COLUMNS];
    score<ACROSS>(tile, pair, keys, n.first, queries, query, found, n);
#pragma unroll
    for (int j = 0; j < Here::COLUMNS; ++j) {
      const int column = query + place.column(j);
      const float sum = column < n.queries ? total[n.head * n.queries + column] : 0;
#pragma unroll
      for (int i = 0; i < EACH; ++i) weights[place.weight(i, j)] = expf(tile[i][j] - sum);
    }  // (AT.8)
    gather(sum_v, ones, weights, pair, gradients, query);        // (AT.5)
    dot<ACROSS>(tile, pair, values, n.first, gradients, query);  // dA, (AT.5)
#pragma unroll
    for (int j = 0; j < Here::COLUMNS; ++j) {
      const int column = query + place.column(j);
      const float middle = column < n.queries ? mean[n.head * n.queries + column] : 0;
#pragma unroll
      for (int i = 0; i < EACH; ++i) weights[place.weight(i, j)] *= tile[i][j] - middle;  // (AT.4)
    }
    gather(sum_k, ones, weights, pair, queries, query);
  }
  sum_k.write(dk + (keys.x - k), n.first, n.keys, n.size, keys.step, scales);  // (AT.6)
  sum_v.write(dv + (values.x - v), n.first, n.keys, n.taken, values.step, ones);
}

// The kernels, for heads of up to 32, 64 and 128 features.

extern "C" __global__ void __launch_bounds__(ATTEND_32) attend_32(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    float* y, float* total,                          // (N, L, h E), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  attend<32, ATTEND_32 / DOWN>(pair, weights, q, k, v, mask, y, total, task);
}

extern "C" __global__ void __launch_bounds__(ATTEND_64) attend_64(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    float* y, float* total,                          // (N, L, h E), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  attend<64, ATTEND_64 / DOWN>(pair, weights, q, k, v, mask, y, total, task);
}

extern "C" __global__ void __launch_bounds__(ATTEND_128) attend_128(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    float* y, float* total,                          // (N, L, h E), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  attend<128, ATTEND_128 / DOWN>(pair, weights, q, k, v, mask, y, total, task);
}

extern "C" __global__ void __launch_bounds__(TO_QUERIES_32) to_queries_32(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total,             // (N, L, h E), (N, h, L)
    float* dq, float* mean,                          // (N, L, h D), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  to_queries<32, TO_QUERIES_32 / DOWN>(pair, weights, q, k, v, mask, dy, total, dq, mean, task);
}

extern "C" __global__ void __launch_bounds__(TO_QUERIES_64) to_queries_64(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total,             // (N, L, h E), (N, h, L)
    float* dq, float* mean,                          // (N, L, h D), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  to_queries<64, TO_QUERIES_64 / DOWN>(pair, weights, q, k, v, mask, dy, total, dq, mean, task);
}

extern "C" __global__ void __launch_bounds__(TO_QUERIES_128) to_queries_128(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total,             // (N, L, h E), (N, h, L)
    float* dq, float* mean,                          // (N, L, h D), (N, h, L)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, queries);
  to_queries<128, TO_QUERIES_128 / DOWN>(pair, weights, q, k, v, mask, dy, total, dq, mean, task);
}

extern "C" __global__ void __launch_bounds__(TO_KEYS_32) to_keys_32(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total, const float* mean,  // (N, L, h E), (N, h, L) twice
    float* dk, float* dv,                                    // (N, M, h D), (N, M, h E)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, keys);
  to_keys<32, TO_KEYS_32 / DOWN>(pair, weights, q, k, v, mask, dy, total, mean, dk, dv, task);
}

extern "C" __global__ void __launch_bounds__(TO_KEYS_64) to_keys_64(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total, const float* mean,  // (N, L, h E), (N, h, L) twice
    float* dk, float* dv,                                    // (N, M, h D), (N, M, h E)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, keys);
  to_keys<64, TO_KEYS_64 / DOWN>(pair, weights, q, k, v, mask, dy, total, mean, dk, dv, task);
}

extern "C" __global__ void __launch_bounds__(TO_KEYS_128) to_keys_128(
    const float* q, const float* k, const float* v,  // (N, L, h D), (N, M, h D), (N, M, h E)
    const bool* mask,                                // (L, M) or null
    const float* dy, const float* total, const float* mean,  // (N, L, h E), (N, h, L) twice
    float* dk, float* dv,                                    // (N, M, h D), (N, M, h E)
    int heads, int queries, int keys, int size, int taken, float scale) {
  __shared__ __align__(16) float pair[PAIR];
  __shared__ __align__(16) float weights[WEIGHTS];
  const Task task = task_of(heads, queries, keys, size, taken, scale, keys);
  to_keys<128, TO_KEYS_128 / DOWN>(pair, weights, q, k, v, mask, dy, total, mean, dk, dv, task);
}
