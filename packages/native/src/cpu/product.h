// Matrix products of 16-bit numbers: what the driver and its kernels, compiled once per instruction set, have in
// common. No libtorch here.
#pragma once
#include <cstdint>

namespace nbit::cpu {

// What memory holds. asHalf and asBfloat: float32 that is rounded to 16 bits when it is read.
enum class Format : uint8_t { float32, half, bfloat, asHalf, asBfloat };

// One side of a product. Rows of the left and columns of the right side are lanes; the sum runs along the depth. One of
// the strides, which count elements, is 1.
struct Operand {
  const void* data;
  Format format;
  int64_t lane, depth;
};

// out = alpha · left · right + beta · added, in float32, rounded once.
struct Result {
  void* data;
  Format format;
  int64_t row;
  const void* added;  // null: nothing
  Format addedFormat;
  int64_t addedRow;
  float alpha, beta;
};

// Both sides are prepared in steps of 32 bits along the depth: a float32, or two bfloat16. The left one row after the
// other, the right one in panels of kLanes columns, step after step.
constexpr int64_t kLanes = 32;
constexpr int64_t kRows = 12;  // of a tile, at most

struct ProductKernels {
  const char* name;
  int64_t perStep;
  void (*left)(const Operand& x, int64_t from, int64_t lanes, int64_t depth, uint32_t* out);
  void (*panel)(const Operand& x, int64_t from, int64_t lanes, int64_t depth, uint32_t* out);
  // `rows` ≤ kRows of the left side (`stride` steps apart) with one panel of `columns` ≤ kLanes.
  void (*tile)(const uint32_t* left, int64_t stride, const uint32_t* panel, int64_t steps, int64_t rows,
               int64_t columns, const Result& result, int64_t row, int64_t column);
};

#if defined(__x86_64__)
extern const ProductKernels floatProducts;   // AVX-512: every product in float32
extern const ProductKernels bfloatProducts;  // AVX-512 with BF16: products of pairs of bfloat16, added in float32
#endif

}  // namespace nbit::cpu
