// Functions of one CUDA thread: atomics, loads, arithmetic, conversions, bits.
#pragma once

// ---- atomics: indivisible anyhow, and ThreadSanitizer must know them as such

namespace host {

// Replaces *address by change(*address) and returns what was there.
template <class T, class Change> static inline T replace(T* address, Change change) {
    T before, after;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    do {
        after = change(before);
    } while (!__atomic_compare_exchange(
        address, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return before;
}

template <class T> struct Same {  // keeps a parameter out of the deduction of T
    using type = T;
};
template <class T> using same = typename Same<T>::type;

}  // namespace host

template <class T> static inline T atomicAdd(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return static_cast<T>(old + value); });
}
template <class T> static inline T atomicSub(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return static_cast<T>(old - value); });
}
template <class T> static inline T atomicMax(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return value > old ? value : old; });
}
template <class T> static inline T atomicMin(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return value < old ? value : old; });
}
template <class T> static inline T atomicAnd(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return old & value; });
}
template <class T> static inline T atomicOr(T* address, host::same<T> value) {
    return host::replace(address, [=](T old) { return old | value; });
}
template <class T> static inline T atomicExch(T* address, host::same<T> value) {
    return host::replace(address, [=](T) { return value; });
}
template <class T>
static inline T atomicCAS(T* address, host::same<T> expected, host::same<T> value) {
    // Bits are compared, as on a GPU; T is an integer there, too.
    return host::replace(address, [=](T old) { return old == expected ? value : old; });
}

// ---- loads and stores that name a cache

template <class T> static inline T __ldg(const T* address) { return *address; }
template <class T> static inline T __ldcg(const T* address) { return *address; }
template <class T> static inline T __ldca(const T* address) { return *address; }
template <class T> static inline T __ldcs(const T* address) { return *address; }
template <class T> static inline void __stcg(T* address, host::same<T> v) { *address = v; }
template <class T> static inline void __stcs(T* address, host::same<T> v) { *address = v; }

// ---- arithmetic, rounded once: the build forbids g++ to fuse products and sums by itself

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __frsqrt_rn(float x) { return float(1.0 / sqrt(double(x))); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
static inline float rsqrtf(float x) { return __frsqrt_rn(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }

// The C library has functions of its own by these names; macros go before them.
#define __expf(x) expf(x)
#define __exp10f(x) powf(10.0f, x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __sincosf(x, sine, cosine) sincosf(x, sine, cosine)

// Sine and cosine of pi x: the nearest quarter turn is taken off first, which is exact.
static inline void sincospif(float x, float* sine, float* cosine) {
    const double turn = remainder(double(x), 2.0), quarter = rint(2.0 * turn);
    const double angle = M_PI * (turn - 0.5 * quarter);
    const float s = float(sin(angle)), c = float(cos(angle));
    const int quarters = std::isfinite(x) ? int(quarter) & 3 : 0;
    *sine = quarters == 0 ? s : quarters == 1 ? c : quarters == 2 ? -s : -c;
    *cosine = quarters == 0 ? c : quarters == 1 ? -s : quarters == 2 ? -c : s;
}
static inline float sinpif(float x) {
    float sine, cosine;
    sincospif(x, &sine, &cosine);
    return sine;
}
static inline float cospif(float x) {
    float sine, cosine;
    sincospif(x, &sine, &cosine);
    return cosine;
}

template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b));
    return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b));
    return T(a) < T(b) ? T(b) : T(a);
}

static inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned(uint64_t(a) * b >> 32);
}
static inline int __mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// ---- bits

namespace host {

template <class To, class From> static inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace host

static inline float __int_as_float(int x) { return host::same_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return host::same_bits<float>(x); }
static inline int __float_as_int(float x) { return host::same_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return host::same_bits<unsigned>(x); }
static inline double __longlong_as_double(long long x) { return host::same_bits<double>(x); }
static inline long long __double_as_longlong(double x) { return host::same_bits<long long>(x); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
    return reversed;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return unsigned(((uint64_t(high) << 32 | low) << (by & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return unsigned((uint64_t(high) << 32 | low) >> (by & 31));
}

// ---- conversions; to an integer they stop at its ends, and NaN becomes 0

namespace host {

template <class Integer> static inline Integer to_integer(double whole) {
    using limits = std::numeric_limits<Integer>;
    if (std::isnan(whole)) return 0;
    if (whole <= double(limits::min())) return limits::min();
    if (whole >= double(limits::max())) return limits::max();
    return Integer(whole);
}

}  // namespace host

#define HOST_CONVERSIONS(name, type)                                                             \
    static inline type __float2##name##_rn(float x) { return host::to_integer<type>(rintf(x)); }  \
    static inline type __float2##name##_rz(float x) { return host::to_integer<type>(truncf(x)); } \
    static inline type __float2##name##_rd(float x) { return host::to_integer<type>(floorf(x)); } \
    static inline type __float2##name##_ru(float x) { return host::to_integer<type>(ceilf(x)); }  \
    static inline float __##name##2float_rn(type x) { return float(x); }

HOST_CONVERSIONS(int, int)
HOST_CONVERSIONS(uint, unsigned)
HOST_CONVERSIONS(ll, long long)
HOST_CONVERSIONS(ull, unsigned long long)
#undef HOST_CONVERSIONS

static inline float __double2float_rn(double x) { return float(x); }
static inline double __int2double_rn(int x) { return x; }
