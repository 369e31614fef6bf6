// Kernels of our own, compiled for the GPU at hand when first used.
#pragma once
#include "cuda/kernels.h"

#include <string>
#include <vector>

namespace nbit::nvrtc {

struct Kernel {
  void* function = nullptr;
};
/**
 * The kernel `name` of a source, compiled with these options for the current device; kept in memory, and its machine
 * code on disk.
 */
Kernel& get(const kernels::Source& source, const char* name, const std::vector<std::string>& options);
/** On PyTorch's current stream; may be captured in a CUDA graph. */
void launch(Kernel& kernel, unsigned blocks, unsigned threads, void** arguments);

}  // namespace nbit::nvrtc
