// What both kinds of fused_adam_ share.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>

#include <optional>

namespace nbit {

struct AdamStep {
  at::TensorList p, g, m, v, steps;
  const std::optional<at::Tensor>& lrTensor;
  double lr, beta1, beta2, weightDecay, eps;
  bool decoupled, maximize;
  const std::optional<at::Tensor>&gradScale, &foundInf;
};
/** Lists of as many tensors, side by side in memory of their own, and single numbers: kernels ask no more. */
void checkAdam(const AdamStep& s);
/** By libtorch's own operator. */
void libtorchAdam(const AdamStep& s);

}  // namespace nbit
