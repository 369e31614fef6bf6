// Linear layers whose node knows more than libtorch's composition.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace nbit {

/**
 * `linear` of a 16-bit input with float32 parameters on CUDA, as autocast computes it, as one node: the parameters get
 * float32 gradients straight from the products, which libtorch rounds to 16 bits and then casts back, parameter by
 * parameter. Undefined where this is not the plain case; the caller then casts and calls `linear`.
 */
at::Tensor mixedLinear(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

}  // namespace nbit
