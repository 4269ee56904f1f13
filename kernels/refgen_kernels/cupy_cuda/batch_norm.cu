// Batch norm: a group norm of one example, the whole batch, with a channel to a group. Mirrors
// refgen/ops/batch_norm.py.
//
// A batch does not fit on the chip: forward, an element costs 8 bytes read and 8 written, backward
// 16 and 4. The second pass begins where the first one ended, so what a cache still holds is not
// read from memory again.
#include "standard.cuh"

// The gradients of mean and var are a level and a stretch of x_hat more: dx of (BN.4) stays a line.
extern "C" __global__ void __launch_bounds__(256) join_sums(
    const float* shares, const float* gamma, const float* dmean, const float* dvar,
    const float* rstd,         // (channels,), as those before
    float* d, float* b,        // (channels,)
    float* sums,               // (2, channels)
    int places, int channels, int groups, int rows) {
  const auto gain = [&](int, One channel) { return gamma[channel.i]; };
  const auto leave = [&](int, One channel, float s, float t) {
    sums[channel.i] = s;
    sums[channels + channel.i] = t;
  };
  join_gradients(shares, {places, channels, groups}, rows, gain, leave,
                 [&](int c, float level, float stretch) {
    const float r = rstd[c];
    d[c] = (dmean[c] / r - level) / places;
    b[c] = (2.0f * dvar[c] / (r * r) - stretch) / places;  // (BN.4)
  });
}
