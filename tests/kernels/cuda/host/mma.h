// Products of small matrices by a whole warp, as mma.sync of PTX computes them.
//
// The lanes of a warp hold the matrices between them: a lane's registers are its fragment. With
//   group = lane / 4   and   place = lane % 4
// the PTX ISA ("Matrix Fragments for mma.m16n8k8" and "... for mma.m16n8k16") lays them out so:
//
//   d, 16 x 8, both shapes    d[r] is row group + 8 (r / 2), column 2 place + r % 2
//   m16n8k8, tf32
//     a, 16 x 8               a[r] is row group + 8 (r % 2), column place + 4 (r / 2)
//     b,  8 x 8               b[r] is row place + 4 r, column group
//   m16n8k16, bf16; each word holds two neighbours along k, the lower half being the lower k
//     a, 16 x 16              a[r] is row group + 8 (r % 2), columns 2 place + 8 (r / 2) and + 1
//     b, 16 x 8               b[r] is rows 2 place + 8 r and + 1, column group
//
// Products are exact and summed in float, in order of k from d on. A GPU sums in another order
// and truncates, so it differs in the last bits.
#pragma once

#include "cuda.h"

namespace host {

struct Fragments {
    float* d;
    const unsigned *a, *b;
};

struct Tile {
    float a[16][16], b[16][8], d[16][8];
};

// Hardware takes 32 bits for a tf32 and ignores the low 13.
RUNTIME static float tf32_value(unsigned word) {
    return same_bits<float>(word & 0xFFFFE000u);
}

RUNTIME static float bf16_value(unsigned word, int half) {
    return same_bits<float>(half ? word & 0xFFFF0000u : word << 16);
}

RUNTIME static void gather_tf32(Tile& tile, const Fragments& of, int group, int place) {
    for (int r = 0; r < 4; ++r) {
        tile.a[group + 8 * (r % 2)][place + 4 * (r / 2)] = tf32_value(of.a[r]);
    }
    for (int r = 0; r < 2; ++r) tile.b[place + 4 * r][group] = tf32_value(of.b[r]);
}

RUNTIME static void gather_bf16(Tile& tile, const Fragments& of, int group, int place) {
    for (int half = 0; half < 2; ++half) {
        const int k = 2 * place + half;
        for (int r = 0; r < 4; ++r) {
            tile.a[group + 8 * (r % 2)][k + 8 * (r / 2)] = bf16_value(of.a[r], half);
        }
        for (int r = 0; r < 2; ++r) tile.b[k + 8 * r][group] = bf16_value(of.b[r], half);
    }
}

// Puts the matrices together, multiplies them, and gives every lane its part of the result.
template <int K, class Gather>
RUNTIME static void multiply(void* const* messages, Gather gather) {
    Tile tile;
    for (int l = 0; l < warp_size; ++l) {
        const auto& of = *static_cast<const Fragments*>(messages[l]);
        gather(tile, of, l / 4, l % 4);
        for (int r = 0; r < 4; ++r) tile.d[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2] = of.d[r];
    }
    for (int k = 0; k < K; ++k) {
        for (int i = 0; i < 16; ++i) {
            for (int j = 0; j < 8; ++j) tile.d[i][j] += tile.a[i][k] * tile.b[k][j];
        }
    }
    for (int l = 0; l < warp_size; ++l) {
        float* d = static_cast<const Fragments*>(messages[l])->d;
        for (int r = 0; r < 4; ++r) d[r] = tile.d[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2];
    }
}

RUNTIME static void multiply_tf32(void* const* messages) { multiply<8>(messages, gather_tf32); }
RUNTIME static void multiply_bf16(void* const* messages) { multiply<16>(messages, gather_bf16); }

RUNTIME static void meet_to_multiply(Fragments fragments, Deliver multiply, Place place) {
    Unwatched own_bookkeeping;
    if (block.current->thread - lane() + warp_size > block.size) {
        fail("a product of matrices needs all 32 lanes, line %d of %s", place.line, place.file);
    }
    meet_warp(~0u, &fragments, multiply, place);
}

}  // namespace host

// d += a b, for a of 16 x 8 and b of 8 x 8, both tf32
HOST_FUNCTION void host_mma_m16n8k8_tf32(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], HOST_PLACE) {
    host::meet_to_multiply({d, a, b}, host::multiply_tf32, place);
}

// d += a b, for a of 16 x 16 and b of 16 x 8, both bf16
HOST_FUNCTION void host_mma_m16n8k16_bf16(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], HOST_PLACE) {
    host::meet_to_multiply({d, a, b}, host::multiply_bf16, place);
}

// ---- what rounds a float to an operand

// cvt.rna.tf32.f32: to nearest, ties away from zero
static inline unsigned host_tf32(float x) {
    const unsigned bits = __float_as_uint(x);
    return std::isnan(x) ? 0x7FFFFFFFu : (bits + 0x1000u) & 0xFFFFE000u;
}

// cvt.rn.bf16.f32: to nearest, ties to even
static inline unsigned short host_bf16(float x) {
    const unsigned bits = __float_as_uint(x);
    if (std::isnan(x)) return 0x7FFF;
    return static_cast<unsigned short>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// cvt.rn.bf16x2.f32, but with the lower half first
static inline unsigned host_bf16x2(float low, float high) {
    return unsigned(host_bf16(high)) << 16 | host_bf16(low);
}

static inline float host_bf16_to_float(unsigned short bits) {
    return __uint_as_float(unsigned(bits) << 16);
}
