// Tensor cores: products of 16 x 8 results by a warp, with operands of tf32 or bf16.
//
// Operands are rounded, to nearest; their products are exact and are summed in float. The lanes of
// a warp hold parts of each small matrix, as the PTX manual draws for mma.m16n8k8 and m16n8k16:
// with words of 32 bits, which hold one tf32 or two bf16, both draw the same picture.
#pragma once
#include "slices.cuh"

#if !defined(REFGEN_HOST) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "precision tf32 or bf16 needs a GPU of compute capability 8.0 or later"
#endif

// One number as tf32, or two as bf16, the first in the lower half.
__device__ __forceinline__ unsigned packed(float first, float second) {
#ifdef REFGEN_HOST
  return MATH == TF32 ? host_tf32(first) : host_bf16x2(first, second);
#else
  unsigned word;
  if constexpr (MATH == TF32)
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(first));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
#endif
}

// Four matrices of 8 rows x 4 words in shared memory; lane l tells where row l % 8 of matrix l / 8
// begins, and gets word l % 4 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const unsigned* row) {
#ifdef REFGEN_HOST
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) to[i] = __shfl_sync(~0u, row, 8 * i + lane / 4)[lane % 4];
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"((unsigned)__cvta_generic_to_shared(row))
               : "memory");
#endif
}

// sum += left right, for 16 x 8 words of left and 8 words x 8 columns of right.
__device__ __forceinline__ void multiply_add(
    float (&sum)[4], const unsigned (&left)[4], unsigned right0, unsigned right1) {
#ifdef REFGEN_HOST
  const unsigned right[2] = {right0, right1};
  if constexpr (MATH == TF32)
    host_mma_m16n8k8_tf32(sum, left, right);
  else
    host_mma_m16n8k16_bf16(sum, left, right);
#else
  if constexpr (MATH == TF32)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
#endif
}
