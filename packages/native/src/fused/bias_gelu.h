// What both kinds of bias_gelu share.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace nbit {

/** Gradients of x and bias, and no result once more. */
using GeluGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

/** Those that were computed of this very gradient when the result was made again (recompute.h), if they are what
 * backward asks for. */
std::optional<GeluGradients> keptGelu(const at::Tensor& grad, const at::Tensor& x, bool needBias);

}  // namespace nbit
