#pragma once
#include "lowbit/cpu/kernels.h"

#include <atomic>
#include <vector>

namespace nbit::lowbit {
// Tables of kernels that this processor can run, fastest first, and the one in use: the first, unless a test chose
// another.
std::vector<const Kernels*> runnableKernels();
std::atomic<const Kernels*>& chosenKernels();
const Kernels& kernels();
// Look-ups for a map of 2 to 256 ascending values. Thread-safe; the reference stays valid.
const Codebook& codebookOf(const float* values, int n);
// The 256 values of float8 e4m3; only for decoding.
const Codebook& float8Book();
}  // namespace nbit::lowbit
