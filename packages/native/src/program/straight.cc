// Kernels that a replay calls without the dispatcher, into memory that is given: those that training calls most, where
// they are small. Each is the kernel that the dispatcher would have come to, with the same arguments, so the bits are
// the same.
#include "program/executable.h"

#include <ATen/ops/_log_softmax_backward_data_cpu_dispatch.h>
#include <ATen/ops/_log_softmax_cpu_dispatch.h>
#include <ATen/ops/_softmax_backward_data_cpu_dispatch.h>
#include <ATen/ops/_softmax_cpu_dispatch.h>
#include <ATen/ops/add_cpu_dispatch.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/baddbmm_cpu_dispatch.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/clamp_min_cpu_dispatch.h>
#include <ATen/ops/copy_native.h>
#include <ATen/ops/div_cpu_dispatch.h>
#include <ATen/ops/fill_native.h>
#include <ATen/ops/gelu_backward_cpu_dispatch.h>
#include <ATen/ops/gelu_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <ATen/ops/mul_cpu_dispatch.h>
#include <ATen/ops/nll_loss_backward_cpu_dispatch.h>
#include <ATen/ops/nll_loss_forward_cpu_dispatch.h>
#include <ATen/ops/sigmoid_backward_cpu_dispatch.h>
#include <ATen/ops/sigmoid_cpu_dispatch.h>
#include <ATen/ops/silu_backward_cpu_dispatch.h>
#include <ATen/ops/silu_cpu_dispatch.h>
#include <ATen/ops/sub_cpu_dispatch.h>
#include <ATen/ops/sum_cpu_dispatch.h>
#include <ATen/ops/tanh_backward_cpu_dispatch.h>
#include <ATen/ops/tanh_cpu_dispatch.h>
#include <ATen/ops/threshold_backward_cpu_dispatch.h>

#include <string_view>
#include <unordered_map>

namespace nbit::program {
namespace {

std::optional<at::Tensor> optional(const Step& s, size_t i) {
  return s.in[i] == nullptr ? std::nullopt : std::optional(*s.in[i]);
}
const auto number = [](const Step& s, size_t i) { return s.form[i].toScalar(); };
const auto dtype = [](const Step& s, size_t i) { return s.form[i].toOptional<at::ScalarType>(); };

void addmm(Step& s) {
  at::cpu::addmm_outf(s.tensor(0), s.tensor(1), s.tensor(2), number(s, 3), number(s, 4), s.result(0));
}
void mm(Step& s) { at::cpu::mm_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void bmm(Step& s) { at::cpu::bmm_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void baddbmm(Step& s) {
  at::cpu::baddbmm_outf(s.tensor(0), s.tensor(1), s.tensor(2), number(s, 3), number(s, 4), s.result(0));
}
void relu(Step& s) { at::cpu::clamp_min_outf(s.tensor(0), 0, s.result(0)); }
void thresholdBackward(Step& s) {
  at::cpu::threshold_backward_outf(s.tensor(0), s.tensor(1), number(s, 2), s.result(0));
}
void add(Step& s) { at::cpu::add_outf(s.tensor(0), s.tensor(1), number(s, 2), s.result(0)); }
void sub(Step& s) { at::cpu::sub_outf(s.tensor(0), s.tensor(1), number(s, 2), s.result(0)); }
void mul(Step& s) { at::cpu::mul_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void div(Step& s) { at::cpu::div_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void gelu(Step& s) { at::cpu::gelu_outf(s.tensor(0), s.form[1].toStringView(), s.result(0)); }
void geluBackward(Step& s) {
  at::cpu::gelu_backward_outf(s.tensor(0), s.tensor(1), s.form[2].toStringView(), s.result(0));
}
void tanh(Step& s) { at::cpu::tanh_outf(s.tensor(0), s.result(0)); }
void tanhBackward(Step& s) { at::cpu::tanh_backward_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void sigmoid(Step& s) { at::cpu::sigmoid_outf(s.tensor(0), s.result(0)); }
void sigmoidBackward(Step& s) { at::cpu::sigmoid_backward_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void silu(Step& s) { at::cpu::silu_outf(s.tensor(0), s.result(0)); }
void siluBackward(Step& s) { at::cpu::silu_backward_outf(s.tensor(0), s.tensor(1), s.result(0)); }
void softmax(Step& s) { at::cpu::_softmax_outf(s.tensor(0), s.form[1].toInt(), s.form[2].toBool(), s.result(0)); }
void logSoftmax(Step& s) {
  at::cpu::_log_softmax_outf(s.tensor(0), s.form[1].toInt(), s.form[2].toBool(), s.result(0));
}
void softmaxBackward(Step& s) {
  at::cpu::_softmax_backward_data_outf(s.tensor(0), s.tensor(1), s.form[2].toInt(),
                                       static_cast<at::ScalarType>(s.form[3].toInt()), s.result(0));
}
void logSoftmaxBackward(Step& s) {
  at::cpu::_log_softmax_backward_data_outf(s.tensor(0), s.tensor(1), s.form[2].toInt(),
                                           static_cast<at::ScalarType>(s.form[3].toInt()), s.result(0));
}
void nllLoss(Step& s) {
  at::cpu::nll_loss_forward_outf(s.tensor(0), s.tensor(1), optional(s, 2), s.form[3].toInt(), s.form[4].toInt(),
                                 s.result(0), s.result(1));
}
void nllLossBackward(Step& s) {
  at::cpu::nll_loss_backward_outf(s.tensor(0), s.tensor(1), s.tensor(2), optional(s, 3), s.form[4].toInt(),
                                  s.form[5].toInt(), s.tensor(6), s.result(0));
}
void sum(Step& s) {
  const auto dims = s.form[1].toIntVector();
  at::cpu::sum_outf(s.tensor(0), at::OptionalIntArrayRef(dims), s.form[2].toBool(), dtype(s, 3), s.result(0));
}
void copy(Step& s) { at::native::copy_(s.result(0), s.tensor(0), false); }
void zeros(Step& s) { at::native::fill_(s.result(0), 0); }
void ones(Step& s) { at::native::fill_(s.result(0), 1); }

struct Entry {
  Step::Kernel kernel;
  // Products in 16 bits may have another kernel than libtorch's: the dispatcher knows which.
  bool wide = false;
};
const std::unordered_map<std::string_view, Entry> kernels{
    {"aten::addmm", {addmm, true}},
    {"aten::mm", {mm, true}},
    {"aten::bmm", {bmm, true}},
    {"aten::baddbmm", {baddbmm, true}},
    {"aten::relu", {relu}},
    {"aten::threshold_backward", {thresholdBackward}},
    {"aten::add.Tensor", {add}},
    {"aten::sub.Tensor", {sub}},
    {"aten::mul.Tensor", {mul}},
    {"aten::div.Tensor", {div}},
    {"aten::gelu", {gelu}},
    {"aten::gelu_backward", {geluBackward}},
    {"aten::tanh", {tanh}},
    {"aten::tanh_backward", {tanhBackward}},
    {"aten::sigmoid", {sigmoid}},
    {"aten::sigmoid_backward", {sigmoidBackward}},
    {"aten::silu", {silu}},
    {"aten::silu_backward", {siluBackward}},
    {"aten::_softmax", {softmax}},
    {"aten::_log_softmax", {logSoftmax}},
    {"aten::_softmax_backward_data", {softmaxBackward}},
    {"aten::_log_softmax_backward_data", {logSoftmaxBackward}},
    {"aten::nll_loss_forward", {nllLoss}},
    {"aten::nll_loss_backward", {nllLossBackward}},
    {"aten::sum.dim_IntList", {sum}},
    {"aten::clone", {copy}},
    {"aten::_to_copy", {copy}},
    {"aten::zeros", {zeros}},
    {"aten::zeros_like", {zeros}},
    {"aten::new_zeros", {zeros}},
    {"aten::ones", {ones}},
    {"aten::ones_like", {ones}},
};

bool isWide(at::ScalarType t) { return t == at::kFloat || t == at::kDouble; }

}  // namespace

Step::Kernel straightKernel(const Operation& operation, const Program& program) {
  const auto& name = operation.op.operator_name();
  const auto found = kernels.find(name.overload_name.empty() ? name.name : name.name + "." + name.overload_name);
  if (found == kernels.end()) return nullptr;
  if (found->second.wide && !isWide(program.values[operation.results[0]].dtype)) return nullptr;
  for (const int32_t v : operation.results)
    if (v < 0) return nullptr;
  // A sum over all dimensions passes none.
  if (found->second.kernel == sum && operation.arguments[1].constant.isNone()) return nullptr;
  return found->second.kernel;
}

}  // namespace nbit::program
