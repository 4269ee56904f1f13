// Adam and the average of its parameters, one pass over memory. Mirrors refgen/ops/adam.py.
//
// Five arrays are read and four written, 36 bytes for a parameter; the page's lines, one operation
// on arrays after another, move four times as much. Root and quotient are those of the special
// function unit, within two units in the last place: exact ones take a call for each parameter,
// and their last bits vanish when lr times the quotient is taken off p.
#include "each.cuh"

// The root of v, 0 and infinity included.
__device__ __forceinline__ float root(float v) {
#ifdef REFGEN_HOST
  return sqrtf(v);
#else
  float r;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#endif
}

extern "C" __global__ void update(
    const float* p, const float* g, const float* m, const float* v,  // (count,), as all others
    const float* average,
    float beta1, float one_less_beta1, float beta2, float one_less_beta2, float decay,
    float one_less_decay, float scale, float unbias, float eps,
    float* new_p, float* new_m, float* new_v, float* new_average, int count) {
  const auto inverse = [=](float v) { return __fdividef(1.0f, root(v) * unbias + eps); };
  each(count, true, [&](auto i) {
    const auto before = at(p, i), slope = at(g, i), averaged = at(average, i);
    const auto first = beta1 * at(m, i) + one_less_beta1 * slope;
    const auto second = beta2 * at(v, i) + one_less_beta2 * (slope * slope);  // (AD.1)
    const auto after = before + (-scale * first) * map(inverse, second);      // (AD.2), (AD.3)
    put(new_p, i, after);
    put(new_m, i, first);
    put(new_v, i, second);
    put(new_average, i, decay * averaged + one_less_decay * after);  // (AD.4)
  });
}
