// Attention of 16-bit numbers for one head: what the driver and its kernels, compiled once per instruction set, have in
// common. No libtorch here.
#pragma once
#include "cpu/product.h"

namespace nbit::cpu {

// Rows of one head: each dense, `row` elements apart.
template <class T>
struct Head {
  T* data;
  int64_t row;
};

struct AttentionShape {
  Format format;  // half or bfloat
  int64_t queries, keys, width;
  float scale;
  bool causal;  // query i sees keys up to i
};

struct AttentionInputs {
  Head<const void> query, key, value;
};

// Memory is given as `space` numbers of 32 bits, at the alignment of vectors.
struct AttentionKernels {
  int64_t (*space)(const AttentionShape& shape);
  // Queries from ≤ i < to. `logSum` [i * logSumRow]: the logarithm of the sum of exponentials, for backward.
  void (*forward)(const AttentionShape& shape, const AttentionInputs& in, const Head<void>& out, float* logSum,
                  int64_t logSumRow, int64_t from, int64_t to, uint32_t* memory);
  int64_t (*backwardSpace)(const AttentionShape& shape);
  void (*backward)(const AttentionShape& shape, const AttentionInputs& in, const Head<const void>& out,
                   const Head<const void>& gradient, const float* logSum, int64_t logSumRow, const Head<void>& query,
                   const Head<void>& key, const Head<void>& value, uint32_t* memory);
};

#if defined(__x86_64__)
extern const AttentionKernels floatAttention, bfloatAttention;
#endif

}  // namespace nbit::cpu
