// Arguments of an operator from the buffer onto the dispatcher's stack, and its results back.
#pragma once
#include "binding/core.h"
#include "binding/signature.h"

#include <ATen/core/stack.h>

#include <vector>

namespace nbit {

void readArgument(Reader& in, const Kind& kind, torch::jit::Stack& stack);
/** All but those that are a written argument. */
void writeReturns(const std::vector<Return>& returns, torch::jit::Stack& stack);

}  // namespace nbit
