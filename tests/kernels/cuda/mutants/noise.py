"""Bugs of the noise and of noising."""

from tests.kernels.cuda.mutants import Mutant

MUTANTS = [
    Mutant("noise", "cupy_cuda", "if (i >= 0 && i < count) w[i]", "if (i < count) w[i]",
           "out of bounds", "address"),
    Mutant("noise", "cupy_cuda", "j / 16 * 64 + 16 * k", "j / 16 * 64 + 4 * k",
           "wrong stride", "host"),
    Mutant("philox", "cupy_cuda", "const unsigned long long counter = 16 *",
           "const unsigned counter = 16 *", "index overflow", "host"),
    Mutant("noising", "cupy_cuda", "each_sample % 4 == 0, [&](auto i)", "true, [&](auto i)",
           "four elements of two samples", "host"),
    Mutant("noising", "numba_cuda", "a[n] * data[i] + b[n] * noise[i]",
           "1.0 * a[n] * data[i] + b[n] * noise[i]", "float64 creep", "ptx"),
    Mutant("noise", "numba_cuda", "+ 16 * k\n            if 0 <= i < count:\n                z[i]",
           "+ 16 * k\n            if i < count:\n                z[i]", "out of bounds",
           "simulator"),
    Mutant("noising", "device", "_each_sample(data), x.size)\n    return x, NoisingCache",
           "float(data.size) + 0.5, x.size)\n    return x, NoisingCache", "wrong argument type",
           "launch"),
]  # fmt: skip
