// Linear as one node of the graph. libtorch composes it of a view, a transposition, addmm and a view, each with a node
// of its own, which backward then walks one by one: in a small network that costs more than the arithmetic. Here the
// same matrix products run with the same operands (so the same bits), recorded as one node. Whatever is not the plain
// case goes to libtorch's own composition.
#include "fused/linear.h"

#include "amp/weight_casts.h"
#include "autograd/nodes.h"
#include "binding/core.h"
#include "binding/library.h"
#include "cuda/branches.h"
#include "entries/linear.h"
#include "program/recorder.h"
#include "fused/column_sums.h"
#include "fused/recompute.h"

#include <ATen/ExpandUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linear_native.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

namespace nbit {

std::atomic<bool> graphSteps{false};

namespace {

namespace ag = torch::autograd;
using Maybe = std::optional<at::Tensor>;
std::atomic<bool> enabled{true}, mixedEnabled{true};
// Multiply-adds of a product above which it fills a GPU by itself: 2^30 take an H100 some 3 µs in 16 bits, 35 in
// float32.
std::atomic<double> largestBranch{1 << 30};
std::atomic<int64_t> branched{0};  // nodes whose gradients ran side by side

/** Dense rows one after the other, exactly: then libtorch's backward takes the products that LinearNode takes. */
bool plainRows(const at::Tensor& t) {
  if (t.layout() != at::kStrided || !(t.device().is_cpu() || t.device().is_cuda())) return false;
  int64_t stride = 1;
  for (int64_t d = t.dim() - 1; d >= 0; stride *= t.size(d--))
    if (t.stride(d) != stride) return false;
  return true;
}

at::Tensor rowsOf(const at::Tensor& t) { return t.dim() == 2 ? t : t.reshape({-1, t.size(-1)}); }

class LinearNode : public ag::Node {
 public:
  // As PyTorch calls the node that does this arithmetic.
  std::string name() const override { return biased ? "AddmmBackward0" : "MmBackward0"; }
  ag::SavedVariable input, weight;
  c10::intrusive_ptr<Recipe> inputAgain;  // in place of `input`, where it is made again
  ag::SavedVariable master;               // of a mixed node: the float32 weight, whose cast `weight` is
  std::vector<int64_t> inputSizes;
  bool flattened = false, biased = false, mixed = false, recomputed = false;
  int64_t features = 0;  // of the input

  // Gradients of bias, input and weight, by the products of addmm's own backward.
  ag::variable_list apply(ag::variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ag::variable_list result(3);
    if (!grads[0].defined()) return result;
    std::optional<at::AutoDispatchBelowADInplaceOrView> plain;
    if (!c10::GradMode::is_enabled()) plain.emplace();  // else backward is itself recorded
    const at::Tensor grad = flattened ? grads[0].reshape({-1, grads[0].size(-1)}) : grads[0];
    // A mixed node's parameters get what the products are before they are rounded to 16 bits: no cast back, and 16 more
    // bits of it.
    const bool again = c10::GradMode::is_enabled();
    const auto forBias = [&] {
      if (mixed && !again && keptColumnSums != nullptr) result[0] = keptColumnSums(grads[0]);
      if (result[0].defined()) return;
      const bool dense = plainRows(grad) && !grad.is_neg() && !grad._is_zerotensor();
      result[0] = !mixed                                     ? at::sum_to(grad, at::IntArrayRef{grad.size(1)})
                  : again || !dense || columnSums == nullptr ? at::sum(grad, {0}, false, at::kFloat)
                                                             : columnSums(grad);
    };
    const auto forInput = [&] {
      result[1] = grad.mm(mixed && again ? master.unpack().to(grad.scalar_type()) : weight.unpack());
      if (flattened) result[1] = result[1].view(inputSizes);
    };
    const auto forWeight = [&] {
      TORCH_CHECK(!recomputed || inputAgain, ag::ERR_BACKWARD_TWICE);
      const at::Tensor rows = rowsOf(!inputAgain           ? input.unpack()
                                     : result[1].defined() ? inputAgain->againWith(result[1])
                                                           : inputAgain->again());
      result[2] = !mixed  ? grad.t().mm(rows)
                  : again ? grad.t().mm(rows).to(at::kFloat)
                          : at::mm(grad.t(), rows, at::kFloat);
    };
    // The input's gradient first: it is what the rest of backward waits for.
    c10::SmallVector<Work, 3> parts;
    if (task_should_compute_output(1)) parts.emplace_back(forInput);
    if (task_should_compute_output(2)) parts.emplace_back(forWeight);
    if (task_should_compute_output(0)) parts.emplace_back(forBias);
    if (parts.size() > 1 && !inputAgain && branches(grad)) {
      sideBySide(grad.device(), parts);
      ++branched;
    } else {
      for (const Work& part : parts) part();
    }
    return result;
  }
  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    input.reset_data();
    inputAgain.reset();
    weight.reset_data();
    master.reset_data();
  }

 private:
  bool branches(const at::Tensor& grad) const {
    return graphSteps && grad.is_cuda() && sideBySide != nullptr && !c10::GradMode::is_enabled() &&
           static_cast<double>(grad.numel()) * static_cast<double>(features) <= largestBranch;
  }
};

bool hasTangent(const at::Tensor& t) { return t._fw_grad(0).defined(); }

bool takes(const at::Tensor& input, const at::Tensor& weight, const Maybe& bias) {
  if (!enabled || !c10::GradMode::is_enabled() ||
      !(input.requires_grad() || weight.requires_grad() || (bias && bias->defined() && bias->requires_grad())))
    return false;
  if ((input.dim() != 2 && input.dim() != 3) || weight.dim() != 2 || input.numel() == 0) return false;
  const int64_t features = weight.size(1);
  if (features < 2 || input.size(-1) != features || !input.is_floating_point() ||
      weight.scalar_type() != input.scalar_type())
    return false;
  if (!plainRows(input) || !plainRows(weight) || hasTangent(input) || hasTangent(weight)) return false;
  if (!bias || !bias->defined()) return true;
  return bias->dim() == 1 && bias->size(0) == weight.size(0) && bias->scalar_type() == input.scalar_type() &&
         plainRows(*bias) && !hasTangent(*bias);
}

// The products, behind `node`.
template <class N>
at::Tensor behind(const N& node, const at::Tensor& input, const at::Tensor& weight, const Maybe& bias) {
  at::Tensor out;
  {
    const at::AutoDispatchBelowADInplaceOrView plain;
    const at::Tensor rows = rowsOf(input), turned = weight.t();
    out = node->biased ? at::addmm(*bias, rows, turned) : at::mm(rows, turned);
    if (node->flattened) out = out.view({input.size(0), input.size(1), out.size(1)});
  }
  ag::set_history(out, node);
  return out;
}
auto nodeOf(const at::Tensor& input, const at::Tensor& weight, const Maybe& bias) {
  auto node = makeNode<LinearNode>();
  node->biased = bias && bias->defined();
  node->set_next_edges(ag::collect_next_edges(node->biased ? *bias : at::Tensor(), input, weight));
  if (weight.requires_grad()) {
    node->inputAgain = recipeOf(input);
    node->recomputed = static_cast<bool>(node->inputAgain);
    if (!node->recomputed) node->input = ag::SavedVariable(input, false);
  }
  node->flattened = input.dim() == 3;
  node->features = weight.size(1);
  if (node->flattened) node->inputSizes = input.sizes().vec();
  return node;
}

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const Maybe& bias) {
  if (!takes(input, weight, bias)) return at::native::linear(input, weight, bias);
  const auto node = nodeOf(input, weight, bias);
  if (input.requires_grad()) node->weight = ag::SavedVariable(weight, false);
  return behind(node, input, weight, bias);
}

/** The cast of a float32 parameter as a value: kept, or made for this use. */
at::Tensor valueOf(const at::Tensor& parameter, at::ScalarType dtype, const at::Tensor& kept) {
  if (kept.defined()) return kept;
  const at::AutoDispatchBelowADInplaceOrView plain;
  return parameter.to(dtype);
}

/** Whether backward of what made `t` will ask for the sums of its gradient's columns. */
int64_t takesColumnSums(const at::Tensor& t) {
  const auto* node = dynamic_cast<const LinearNode*>(t.grad_fn().get());
  return node != nullptr && node->mixed && node->biased && node->next_edge(0).is_valid() ? 1 : 0;
}

bool isMaster(const at::Tensor& t, int64_t dim) {
  return t.dim() == dim && t.scalar_type() == at::kFloat && t.is_cuda() && plainRows(t) && !hasTangent(t);
}

NBIT_KERNELS(aten, AutogradCPU, m) { m.impl("linear", linear); }
NBIT_KERNELS(aten, AutogradCUDA, m) { m.impl("linear", linear); }

NBIT_OPERATORS(m) { m.def("takes_column_sums(Tensor x) -> int"); }
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("takes_column_sums", [](const at::Tensor&) -> int64_t { return 0; });
}
NBIT_KERNELS(nbit, CUDA, m) { m.impl("takes_column_sums", takesColumnSums); }

}  // namespace

at::Tensor mixedLinear(const at::Tensor& input, const at::Tensor& weight, const Maybe& bias) {
  const bool biased = bias && bias->defined();
  if (!enabled || !mixedEnabled || !c10::GradMode::is_enabled() || c10::InferenceMode::is_enabled() ||
      !weight.requires_grad() || !isMaster(weight, 2) || (biased && !isMaster(*bias, 1)))
    return {};
  const at::ScalarType dtype = input.scalar_type();
  if ((dtype != at::kHalf && dtype != at::kBFloat16) || (input.dim() != 2 && input.dim() != 3) || input.numel() == 0 ||
      input.size(-1) != weight.size(1) || weight.size(1) < 2)
    return {};
  if (!input.is_cuda() || !plainRows(input) || hasTangent(input) || (biased && bias->size(0) != weight.size(0)))
    return {};
  const at::Tensor kept = cachedWeightCastValue(dtype, weight);
  // Autocast's own cache shares a cast, with its node, among the uses of a region.
  if (!kept.defined() && at::autocast::is_autocast_cache_enabled()) return {};
  const auto node = nodeOf(input, weight, bias);
  node->mixed = true;
  const at::Tensor cast = valueOf(weight, dtype, kept);
  if (input.requires_grad()) {
    node->weight = ag::SavedVariable(cast, false);
    node->master = ag::SavedVariable(weight, false);
  }
  return behind(node, input, cast,
                biased ? Maybe(valueOf(*bias, dtype, cachedWeightCastValue(dtype, *bias))) : Maybe());
}

void entries::setLinearNode(const Args& a) {
  program::settingChanges();
  enabled = a.flag(0);
}

double entries::setLinearBranches(const Args& a) {
  largestBranch = a.number(0);
  return static_cast<double>(branched.load());
}

void entries::setMixedLinear(const Args& a) { mixedEnabled = a.flag(0); }

}  // namespace nbit
