// Solver steps. Mirrors refgen/ops/solver.py.
//
// Velocities, scores and noise arrive as arrays, so (SO.1), (SO.2) and (SO.4) are sums of arrays,
// with 1 for the coefficient of x.
#include "linear.cuh"
