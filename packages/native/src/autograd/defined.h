#pragma once
#include "binding/core.h"

#include <vector>

namespace nbit {

/** In a list where 0, which stands for no tensor elsewhere, is an error. */
inline void requireDefined(const std::vector<at::Tensor>& list) {
  for (const auto& t : list)
    if (!t.defined()) failBadHandle(0);
}

}  // namespace nbit
