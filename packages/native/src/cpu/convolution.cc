// Convolutions in 16 bits for which libtorch has only plain loops: its float32 convolution of the same numbers, rounded
// once. Below autograd, so backward comes here, too.
#include "binding/library.h"
#include "cpu/kernels.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/convolution_backward_native.h>
#include <ATen/ops/convolution_native.h>

namespace nbit::cpu {
namespace {

bool takes(const at::Tensor& input, const at::Tensor& weight) {
  return widens(input.scalar_type()) && weight.scalar_type() == input.scalar_type() && input.layout() == at::kStrided &&
         weight.layout() == at::kStrided;
}
at::Tensor wide(const at::Tensor& t) { return t.to(c10::kFloat); }

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef outputPadding, int64_t groups) {
  const bool biased = bias && bias->defined();
  if (!takes(input, weight) || (biased && bias->scalar_type() != input.scalar_type()))
    return at::native::convolution(input, weight, bias, stride, padding, dilation, transposed, outputPadding, groups);
  return at::native::convolution(wide(input), wide(weight), biased ? std::optional(wide(*bias)) : std::nullopt, stride,
                                 padding, dilation, transposed, outputPadding, groups)
      .to(input.scalar_type());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& input,
                                                        const at::Tensor& weight, at::OptionalIntArrayRef biasSizes,
                                                        at::IntArrayRef stride, at::IntArrayRef padding,
                                                        at::IntArrayRef dilation, bool transposed,
                                                        at::IntArrayRef outputPadding, int64_t groups,
                                                        std::array<bool, 3> wanted) {
  if (!takes(input, weight) || grad.scalar_type() != input.scalar_type() || grad.layout() != at::kStrided)
    return at::native::convolution_backward(grad, input, weight, biasSizes, stride, padding, dilation, transposed,
                                            outputPadding, groups, wanted);
  const auto [forInput, forWeight, forBias] =
      at::native::convolution_backward(wide(grad), wide(input), wide(weight), biasSizes, stride, padding, dilation,
                                       transposed, outputPadding, groups, wanted);
  const auto rounded = [&](const at::Tensor& t) { return t.defined() ? t.to(input.scalar_type()) : t; };
  return {rounded(forInput), rounded(forWeight), rounded(forBias)};
}

NBIT_KERNELS(aten, CPU, m) {
  m.impl("convolution", convolution);
  m.impl("convolution_backward", backward);
}

}  // namespace
}  // namespace nbit::cpu
