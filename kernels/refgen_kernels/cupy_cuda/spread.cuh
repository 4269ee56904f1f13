// The third product of a convolution: x from y and w, the adjoint in x (CV.4), and as an op of its
// own the transposed convolution (CV.5).
//
// A stride of s puts s - 1 zeros between the entries of y, and most products would be with them.
// But pixels a of the same phase, a modulo s, meet only taps u of the same remainder: those with
// u = a + p modulo s. So each phase is a convolution of its own, of stride 1, by every s-th tap,
// read backwards, and meets no zero. With a = phase + s i and u = first + s t, pixel i of a phase
// reads line (a + p - u) / s = i + (phase + p - first) / s - t of y.
#pragma once
#include "factors.cuh"

// One axis of a phase: `size` pixels of the image that is written, `lines` of the one that is read.
__device__ __forceinline__ Axis phase_axis(
    int phase, int stride, int padding, int U, int size, int lines) {
  const int whole = phase + padding, first = (whole % stride + stride) % stride;  // p may be < 0
  const int pixels = parts_of(max(size - phase, 0), stride);
  const int taps = parts_of(max(U - first, 0), stride);
  return {pixels, (whole - first) / stride, 1, -1, taps, lines, first, stride, phase, stride};
}

// The filters of a phase, read along the depth (t, t', o), of which the windows keep the place.
struct PhaseFilters {
  const float* w;  // (U, V, C, O)
  const Axis &down, &across;
  int V, C, O, place;
  int filter;  // how far from the tap's beginning
  bool inside, any;

  __device__ __forceinline__ PhaseFilters(
      const float* w, const Axis* axes, const Geometry& g, const Work& work, const Windows& at)
      : w(w), down(axes[0]), across(axes[1]), V(g.V), C(g.C), O(g.O) {
    const int c = work.column + my_row<true>();
    any = c < C, filter = c * O;
    locate(at);
  }

  __device__ __forceinline__ void locate(const Windows& at) {
    const int2 t = at.tap();
    inside = any && t.x < down.taps;
    const int u = down.filter + down.filters * t.x, v = across.filter + across.filters * t.y;
    place = inside ? (u * V + v) * C * O + filter + at.c : 0;
  }

  __device__ __forceinline__ Run run(int piece) const {
    return run_at(w + (place + piece * WIDE), inside);
  }
};

// A row is a pixel of the phase, a column a channel.
struct Spread {
  static constexpr bool LEFT_DEEP = true, RIGHT_DEEP = true;
  int H, W;
  Work work;
  Windows left;
  PhaseFilters right;

  __device__ __forceinline__ Spread(
      const float* y, const float* w, const Geometry& g, const Axis* axes, int part)
      : H(g.H), W(g.W),
        work(g.N * axes[0].windows * axes[1].windows, g.C, axes[0].taps * axes[1].taps * g.O, part,
             g.deep),
        left(y, axes[0], axes[1], g.O, work), right(w, axes, g, work, left) {}

  __device__ __forceinline__ void advance() {
    if (left.advance())
      right.locate(left);
    else
      right.place += STRIDE;
  }

  __device__ __forceinline__ void seen(const Held&) {}
  // Which row of x a row is.
  __device__ __forceinline__ int place(int row) const {
    const Axis &down = left.down, &across = left.across;
    if (down.distance * across.distance == 1) return row;
    const int line = row / across.windows, n = line / down.windows;
    const int a = down.written + down.distance * (line - n * down.windows);
    const int e = across.written + across.distance * (row - line * across.windows);
    return (n * H + a) * W + e;
  }
};
