// What a .cu file takes for granted: the words of CUDA C++, its vector types and its functions.
//
// Arithmetic is that of the CPU: each operation of float rounded to nearest, subnormal numbers
// kept, functions as accurate as those of the C library. A GPU may differ in the last bits.
#pragma once

// All standard headers come before the words below, some of which their authors use, too.
#include "launch.h"

#include <float.h>
#include <limits.h>

#include <cmath>
#include <limits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
// One block runs at a time, so its shared memory may be static. `used` has the compiler believe
// that an array no line writes may yet have been written: with NaN, before each block.
#define __shared__ static __attribute__((section("cuda_shared"), used))

// ---- vectors; those of four are read at once, so UBSan reports a float4 that is not aligned

#define HOST_VECTORS(type, name)                                                                 \
    struct alignas(2 * sizeof(type)) name##2 {                                                   \
        type x, y;                                                                               \
    };                                                                                           \
    struct alignas(sizeof(type) > 4 ? 16 : 4 * sizeof(type)) name##4 {                           \
        type x, y, z, w;                                                                         \
    };                                                                                           \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                      \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

HOST_VECTORS(float, float)
HOST_VECTORS(double, double)
HOST_VECTORS(int, int)
HOST_VECTORS(unsigned, uint)
HOST_VECTORS(short, short)
HOST_VECTORS(unsigned short, ushort)
HOST_VECTORS(signed char, char)
HOST_VECTORS(unsigned char, uchar)
HOST_VECTORS(long long, longlong)
HOST_VECTORS(unsigned long long, ulonglong)

struct float3 {
    float x, y, z;
};
struct int3 {
    int x, y, z;
};
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
static inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// ---- barriers and fences

#define HOST_PLACE host::Place place = host::here()
#define HOST_FUNCTION RUNTIME static inline

HOST_FUNCTION void __syncthreads(HOST_PLACE) { host::meet_block(false, place); }
HOST_FUNCTION int __syncthreads_count(int vote, HOST_PLACE) {
    return host::meet_block(vote != 0, place);
}
HOST_FUNCTION int __syncthreads_or(int vote, HOST_PLACE) {
    return host::meet_block(vote != 0, place) > 0;
}
HOST_FUNCTION int __syncthreads_and(int vote, HOST_PLACE) {
    return host::meet_block(vote != 0, place) == host::block.size;
}
HOST_FUNCTION void __syncwarp(unsigned mask = ~0u, HOST_PLACE) {
    host::meet_warp(mask, nullptr, nullptr, place);
}
HOST_FUNCTION void __threadfence() {}
HOST_FUNCTION void __threadfence_block() {}
HOST_FUNCTION void __trap(HOST_PLACE) {
    host::fail("__trap() at line %d of %s", place.line, place.file);
}

// ---- exchanges between the lanes of a warp

namespace host {

template <class T> struct Letter {
    T sent;
    int source;  // the lane whose value is wanted
    T received;
};

// A lane that is not there sends NaN, or the largest number.
template <class T> RUNTIME static void deliver_letters(void* const* messages) {
    for (int l = 0; l < warp_size; ++l) {
        auto* letter = static_cast<Letter<T>*>(messages[l]);
        if (!letter) continue;
        const auto* from = static_cast<const Letter<T>*>(messages[letter->source]);
        if (from) {
            letter->received = from->sent;
        } else {
            memset(&letter->received, 0xFF, sizeof(T));
        }
    }
}

template <class T> RUNTIME static T exchange(unsigned mask, T value, int source, Place place) {
    Unwatched own_bookkeeping;
    Letter<T> letter = {value, source, value};
    meet_warp(mask, &letter, deliver_letters<T>, place);
    return letter.received;
}

struct Vote {
    bool mine;
    unsigned all;
};

RUNTIME static void deliver_votes(void* const* messages) {
    unsigned all = 0;
    for (int l = 0; l < warp_size; ++l) {
        if (messages[l]) all |= unsigned(static_cast<Vote*>(messages[l])->mine) << l;
    }
    for (int l = 0; l < warp_size; ++l) {
        if (messages[l]) static_cast<Vote*>(messages[l])->all = all;
    }
}

RUNTIME static unsigned ballot(unsigned mask, bool mine, Place place) {
    Unwatched own_bookkeeping;
    Vote vote = {mine, 0};
    meet_warp(mask, &vote, deliver_votes, place);
    return vote.all;
}

RUNTIME static int segment_begin(int width) { return lane() & ~(width - 1); }

}  // namespace host

template <class T>
HOST_FUNCTION T __shfl_sync(unsigned mask, T value, int source, int width = 32, HOST_PLACE) {
    const int from = host::segment_begin(width) | (source & (width - 1));
    return host::exchange(mask, value, from, place);
}

template <class T>
HOST_FUNCTION T __shfl_down_sync(
    unsigned mask, T value, unsigned delta, int width = 32, HOST_PLACE) {
    const int from = host::lane() + static_cast<int>(delta);
    const bool inside = from < host::segment_begin(width) + width;
    return host::exchange(mask, value, inside ? from : host::lane(), place);
}

template <class T>
HOST_FUNCTION T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HOST_PLACE) {
    const int from = host::lane() - static_cast<int>(delta);
    const bool inside = from >= host::segment_begin(width);
    return host::exchange(mask, value, inside ? from : host::lane(), place);
}

template <class T>
HOST_FUNCTION T __shfl_xor_sync(
    unsigned mask, T value, int lane_mask, int width = 32, HOST_PLACE) {
    const int from = host::lane() ^ lane_mask;
    const bool inside = from < host::segment_begin(width) + width;  // earlier segments count
    return host::exchange(mask, value, inside ? from : host::lane(), place);
}

HOST_FUNCTION unsigned __ballot_sync(unsigned mask, int vote, HOST_PLACE) {
    return host::ballot(mask, vote != 0, place);
}
HOST_FUNCTION int __any_sync(unsigned mask, int vote, HOST_PLACE) {
    return host::ballot(mask, vote != 0, place) != 0;
}
HOST_FUNCTION int __all_sync(unsigned mask, int vote, HOST_PLACE) {
    return host::ballot(mask, vote == 0, place) == 0;
}

#include "functions.h"
