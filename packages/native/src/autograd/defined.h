#pragma once
#include "binding/core.h"

#include <torch/csrc/autograd/function.h>  // nodes, which the header of variables only names in libtorch 2.11

#include <vector>

namespace nbit {

/** In a list where 0, which stands for no tensor elsewhere, is an error. */
inline void requireDefined(const std::vector<at::Tensor>& list) {
  for (const auto& t : list)
    if (!t.defined()) failBadHandle(0);
}

}  // namespace nbit
