// Sampler steps. Mirrors refgen/ops/step.py.
//
// A step is linear in x, the network's answers and the noise, and the page that launches it knows
// the coefficients (ST.1), (ST.3), (ST.6): what is left is a sum of arrays.
#include "linear.cuh"
