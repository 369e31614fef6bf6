// What the driver of low-bit optimizer steps and its kernels, compiled once per instruction set, have in common. No libtorch here.
#pragma once
#include <cstdint>

namespace nbit::lowbit {

constexpr int64_t kBlockMax = 4096;
constexpr int kStates = 3;

// The values that codes stand for, and what finds the nearest.
struct Codebook {
  int size;              // values
  const float* values;   // 256, ascending up to size
  const float* mid;      // 256: midpoint above each code; +infinity from the last on
  const uint8_t* bins;   // by the upper 16 bits of a float: the code of the smallest value in that bin. No bin holds two midpoints.
  // Without tables: codes of |x| lie on straight lines between a few bounds (`curve` says whether these lines were found to be exact for this map).
  bool curve;
  bool mirrored;         // negative values in the lower half
  int zero;              // code of the smallest magnitude
  float bound[32];       // by exponent, from 2^-31 to 1: where the next line begins in that binade
  int32_t line[32];      // the line at the start of a binade
  float slope[16], offset[16], last[16];
};

enum Family : int { kMomentum = 0, kLion = 1, kRmsprop = 2, kAdagrad = 3, kAdam = 4, kAdamW = 5, kLamb = 6, kLars = 7, kAdemamix = 8, kFamilies = 9 };

struct Step {
  float lr, beta1, beta2, beta3, alpha, eps, weightDecay;
  float stepSize;     // lr / (1 - beta1^t)
  float correction;   // 1 / (1 - beta1^t)
  float rootInverse;  // 1 / sqrt(1 - beta2^t)
  float trust;        // of this tensor, in this step
  bool first, nesterov;
};

struct Kernels {
  const char* name;
  void (*decode)(const uint8_t* codes, const Codebook& book, float scale, float* out, int64_t n);
  float (*largest)(const float* x, int64_t n);
  void (*encode)(const float* x, const Codebook& book, float absmax, uint8_t* codes, int64_t n, bool positive);
  void (*encodeFloat8)(const float* x, float absmax, uint8_t* codes, int64_t n, bool positive);
  void (*unpack)(const uint8_t* packed, uint8_t* codes, int64_t n);
  void (*pack)(const uint8_t* codes, uint8_t* packed, int64_t n);
  void (*fromHalf)(const uint16_t* in, float* out, int64_t n);
  void (*toHalf)(const float* in, uint16_t* out, int64_t n);
  void (*fromBfloat)(const uint16_t* in, float* out, int64_t n);
  void (*toBfloat)(const float* in, uint16_t* out, int64_t n);
  void (*step[kFamilies])(float* p, const float* g, float* const* states, int64_t n, const Step& s);
  // Sums of squares of parameter and update, for layerwise ratios (LAMB, LARS); null for other families.
  void (*norms[kFamilies])(const float* p, const float* g, float* const* states, int64_t n, const Step& s, double* sums);
};

extern const Kernels plainKernels;
#if defined(__x86_64__)
extern const Kernels avx2Kernels, avx512Kernels;
#endif
const Kernels& kernels();

}  // namespace nbit::lowbit
