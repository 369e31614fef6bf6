// Batch norm of 16-bit numbers: what the driver and its kernels have in common. No libtorch here.
#pragma once
#include "cpu/product.h"

namespace nbit::cpu {

// Values of one channel: `runs` of `length` that lie side by side, `stride` elements apart.
struct Channel {
  Format format;  // half or bfloat
  int64_t runs, length, stride;
};
// Rows of all channels side by side.
struct Rows {
  Format format;
  int64_t rows, channels;
};

struct NormKernels {
  void (*moments)(const Channel& c, const void* x, double& mean, double& variance);
  // out = (x - mean) · scale + shift
  void (*normalize)(const Channel& c, const void* x, void* out, float mean, float scale, float shift);
  // Sums of the gradient, and of the gradient times x - mean.
  void (*sums)(const Channel& c, const void* x, const void* gradient, float mean, double& plain, double& centred);
  // out = gradient · scale + (x - mean) · slope + shift
  void (*gradient)(const Channel& c, const void* x, const void* gradient, void* out, float mean, float scale,
                   float slope, float shift);

  // The same of rows, with a number for each channel. Sums are of few rows, and in float32.
  void (*rowSums)(const Rows& r, const void* x, const float* mean, float* sums);  // mean: sums of squares about it
  void (*normalizeRows)(const Rows& r, const void* x, void* out, const float* mean, const float* scale,
                        const float* shift);
  void (*rowGradientSums)(const Rows& r, const void* x, const void* gradient, const float* mean, float* plain,
                          float* centred);
  void (*gradientRows)(const Rows& r, const void* x, const void* gradient, void* out, const float* mean,
                       const float* scale, const float* slope, const float* shift);
};

#if defined(__x86_64__)
extern const NormKernels avx512Norm;
#endif

}  // namespace nbit::cpu
