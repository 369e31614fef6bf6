// The texts of the kernels that NVRTC compiles at run time: .cu files that are part of the addon
// (manifest/kernels.json).
#pragma once

namespace nbit::kernels {

struct Source {
  const char* name;
  const char* text;
};
#define NBIT_KERNEL_HEADER(id, include, path)
#define NBIT_KERNEL_SOURCE(id, path) extern const Source id;
#include "kernels.inc"
#undef NBIT_KERNEL_HEADER
#undef NBIT_KERNEL_SOURCE

// What sources include: the name in the directive, and the text.
extern const Source headers[];
extern const int headerCount;

}  // namespace nbit::kernels
