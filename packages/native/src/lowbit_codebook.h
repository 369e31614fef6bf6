#pragma once
#include "lowbit.h"

namespace nbit::lowbit {
// Look-ups for a map of 2 to 256 ascending values. Thread-safe; the reference stays valid.
const Codebook& codebookOf(const float* values, int n);
// The 256 values of float8 e4m3; only for decoding.
const Codebook& float8Book();
}  // namespace nbit::lowbit
