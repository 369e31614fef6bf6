// What the driver of low-bit optimizer steps and its kernels, compiled once per instruction set, have in common. No
// libtorch here.
#pragma once
#include "lowbit_families.h"

#include <cstdint>

namespace nbit::lowbit {

constexpr int64_t kBlockMax = 4096;

// A product with 1 / x is at most two units in the last place off the quotient by x, and counts double across the edge
// of a binade: this is more.
constexpr int kNear = 8;
// Whether a map has no negative values, or the negative of (nearly) every one: then magnitudes have codes of 7 bits.
enum class Half { no, positive, mirrored };

// The values that codes stand for, and what finds the nearest.
struct Codebook {
  int size;             // values
  const float* values;  // 256, ascending up to size
  const float* mid;     // 256: midpoint above each code; +infinity from the last on
  const uint8_t*
      bins;  // by the upper 16 bits of a float: the code of the smallest value in that bin. No bin holds two midpoints.
  // The same without memory, for wide registers: two straight lines per binade of |x| from 2^-31 to 1, in 256ths of a
  // code; the lower one gives the code or the one below it. `lines` says whether that was found to be so for all
  // numbers.
  bool lines;
  int whole;  // codes of negative numbers: this minus the code of the magnitude, at least 0
  uint16_t slope[2][32], offset[2][32];
  alignas(64) uint8_t valueBytes[4][256], midBytes[4][256];  // values and mid, byte by byte
  Half half;
  int sum;             // where mirrored: of the codes of a number and its negative
  uint32_t edge[256];  // where positive or mirrored: the midpoint above each code of a magnitude (where mirrored, by 7
                       // bits of that code), as bits, less kNear
  alignas(64) uint8_t edgeBytes[4][256];
};

struct Step {
  float lr, beta1, beta2, beta3, alpha, eps, weightDecay;
  float stepSize;                // lr / (1 - beta1^t)
  float inverseCorrection1;      // 1 / (1 - beta1^t)
  float inverseRootCorrection2;  // 1 / sqrt(1 - beta2^t)
  float trust;                   // of this tensor, in this step
  bool first, nesterov;
};

// Where a step finds one state: as codes of a map with 256 values, or (codes null) in float32 where it leaves the new
// state in any case.
struct Source {
  const uint8_t* codes;
  const Codebook* codebook;
  float scale;
};

// One state of many blocks in codes of 8 bits. positive: a value above 0 keeps a code above 0.
struct CodedState {
  uint8_t* codes;
  float* absmax;
  const Codebook* codebook;
  bool positive;
};

struct Kernels {
  const char* name;
  void (*decode)(const uint8_t* codes, const Codebook& codebook, float scale, float* out, int64_t n);
  float (*largest)(const float* x, int64_t n);
  void (*encode)(const float* x, const Codebook& codebook, float absmax, uint8_t* codes, int64_t n, bool positive);
  void (*encodeFloat8)(const float* x, float absmax, uint8_t* codes, int64_t n, bool positive);
  void (*unpack)(const uint8_t* packed, uint8_t* codes, int64_t n);
  void (*pack)(const uint8_t* codes, uint8_t* packed, int64_t n);
  void (*fromHalf)(const uint16_t* in, float* out, int64_t n);
  void (*toHalf)(const float* in, uint16_t* out, int64_t n);
  void (*fromBfloat)(const uint16_t* in, float* out, int64_t n);
  void (*toBfloat)(const float* in, uint16_t* out, int64_t n);
  // absmax: of each new state the largest finite magnitude.
  using OneBlock = void (*)(float* p, const float* g, const Source* sources, float* const* states, int64_t n,
                            const Step& s, float* absmax);
  OneBlock step[kFamilies];
  // Many whole blocks at once: steps and both ways of their codes. Null where a block after the other is as fast.
  using Range = void (*)(float* p, const float* g, const CodedState* states, int64_t block, int64_t blocks,
                         const Step& s);
  Range range[kFamilies];
  // Sums of squares of parameter and update, for layerwise ratios (LAMB, LARS); null for other families.
  using Norms = void (*)(const float* p, const float* g, float* const* states, int64_t n, const Step& s, double* sums);
  Norms norms[kFamilies];
};

// float16, as libtorch converts it.
float floatOfHalf(uint16_t bits);
uint16_t halfOfFloat(float x);

extern const Kernels plainKernels;
#if defined(__x86_64__)
extern const Kernels avx2Kernels, avx512Kernels, vbmiKernels;
#endif

}  // namespace nbit::lowbit
