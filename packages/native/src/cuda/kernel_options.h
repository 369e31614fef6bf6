// Macros that kernels are compiled with at run time.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace nbit {

/** The name of an element type in a kernel's source. */
inline const char* kernelType(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16: return "Bf16";
    case at::kHalf: return "F16";
    default: return "float";
  }
}
inline bool kernelTypeKnown(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
}
inline std::string define(const char* name, const std::string& value) { return std::string("-D") + name + "=" + value; }
inline std::string define(const char* name, int64_t value) { return define(name, std::to_string(value)); }

}  // namespace nbit
