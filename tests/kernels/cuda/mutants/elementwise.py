"""Bugs of steps, Adam, joins and activations."""

from tests.kernels.cuda.mutants import Mutant

MUTANTS = [
    Mutant("linear", "cupy_cuda", "offset % 4 == 0, draw, [&](auto i, auto z) {\n"
           "    put(out, i, p * at(a, i) + q * at(b, i) + sigma * z);", "true, draw, "
           "[&](auto i, auto z) {\n    put(out, i, p * at(a, i) + q * at(b, i) + sigma * z);",
           "four that are not aligned", "address"),
    Mutant("join", "cupy_cuda", "    __syncthreads();\n    const int kept",
           "    if (left < at_once) __syncthreads();\n    const int kept",
           "missing barrier", "thread"),
    Mutant("join", "cupy_cuda", "if (row == 0 && column < columns) {", "if (row == 0) {",
           "out of bounds", "address"),
    Mutant("join", "cupy_cuda", "if (row + kept < left)", "if (row + kept <= left)",
           "beyond shared memory", "address"),
    Mutant("join", "cupy_cuda", "const int kept = (left + 1) / 2;", "const int kept = left / 2;",
           "wrong sum", "host"),
    Mutant("join", "cupy_cuda", "i.i / each_sample * channels", "i.i / each_sample * each_sample",
           "wrong stride", "host"),
    Mutant("activation", "cupy_cuda", "t < 0.0f ? 0.0f : t", "fmaxf(t, 0.0f)",
           "not a number is lost", "host"),
    Mutant("adam", "cupy_cuda", "root(v) * unbias + eps", "root(v) * unbias + 1e-8",
           "float64 creep", "nvrtc"),
    Mutant("activation", "numba_cuda", "(ONE + x[i] * (ONE - s[i]))", "(1.0 + x[i] * (1.0 - s[i]))",
           "float64 creep", "ptx"),
    Mutant("join", "numba_cuda", "if channel < channels:\n            for",
           "if channel <= channels:\n            for", "out of bounds", "simulator"),
    Mutant("adam", "device", "scale, unbias, eps, *after", "scale, unbias, step > 1, *after",
           "wrong argument type", "launch"),
]  # fmt: skip
