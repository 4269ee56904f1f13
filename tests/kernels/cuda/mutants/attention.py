"""Bugs of attention."""

from tests.kernels.cuda.mutants import Mutant

MUTANTS = [
    Mutant("attention", "cupy_cuda", "__syncthreads();  // the weights are all written", "//",
           "missing barrier", "thread"),
    Mutant("attention", "cupy_cuda", "__syncthreads();  // nobody reads any more", "//",
           "missing barrier", "thread"),
    Mutant("attention", "cupy_cuda", "first + r + i < rows.count && left > 0;", "left > 0;",
           "out of bounds", "address"),
    Mutant("attention", "cupy_cuda", "shares[i] = expf(top[i] - base)", "shares[i] = 1",
           "sum not rescaled to a new maximum", "host"),
    Mutant("attention", "cupy_cuda", "expf(scores[i][j] - base)", "expf(scores[i][j])",
           "maximum not subtracted", "host"),
    Mutant("attention", "cupy_cuda", "bool open = r < rows && c < columns;",
           "bool open = r < rows;", "keys beyond the last not hidden", "host"),
    Mutant("attention", "cupy_cuda", "head / heads * count * heads + head % heads",
           "head / heads * count + head % heads", "wrong stride between heads", "host"),
    Mutant("attention", "cupy_cuda", "TURNED ? c * n.keys + r", "TURNED ? r * n.keys + c",
           "mask not transposed", "host"),
    Mutant("attention", "cupy_cuda", "base = most == NEVER ? 0 : most", "base = most",
           "infinity less infinity", "host"),
    Mutant("attention", "device", "mask, y, total, *sizes", "mask, total, y, *sizes",
           "out of bounds", "address"),
    Mutant("attention", "device", "1 / math.sqrt(size)", "str(1 / math.sqrt(size))",
           "wrong argument type", "launch"),
    Mutant("attention", "numba_cuda", "dots[at] = math.exp(dots[at] - base)",
           "dots[at] = math.exp(1.0 * dots[at] - base)", "float64 creep", "ptx"),
    Mutant("attention", "numba_cuda", "shares[row] * y[at]", "y[at]",
           "sum not rescaled to a new maximum", "simulator"),
    Mutant("attention", "numba_cuda", "if first + row < count and column < features:",
           "if column < features:", "out of bounds", "simulator"),
]  # fmt: skip
