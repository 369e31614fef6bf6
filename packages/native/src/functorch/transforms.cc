// Transforms of functions: levels of functorch, the part of libtorch that maps and differentiates what runs inside
// them. JavaScript enters a level, hands its tensors in, runs the function, takes the results out and leaves the level.
#include "functorch/transforms.h"

#include "binding/core.h"
#include "entries/transforms.h"
#include "program/recorder.h"

#include <ATen/ATen.h>
#include <ATen/SavedTensorHooks.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/functorch/DynamicLayer.h>
#include <ATen/functorch/TensorWrapper.h>
#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <vector>

namespace nbit {
namespace {

namespace ft = at::functorch;
namespace forward = torch::autograd::forward_ad;

/** Whether forward-mode gradients were on before a level, where it has switched them on. */
thread_local std::vector<bool> forwardBefore;
thread_local std::optional<uint64_t> dualLevel;

bool forwardEnabled() { return c10::AutogradState::get_tls_state().get_fw_grad_mode(); }
void enableForward(bool on) { c10::AutogradState::get_tls_state().set_fw_grad_mode(on); }

const ft::DynamicLayer& current(int64_t level) {
  const auto& stack = ft::getDynamicLayerStack();
  if (stack.empty() || stack.back().layerId() != level)
    fail("ERR_ARGUMENT", "expected the level of the innermost function transform. Received: " + std::to_string(level));
  return stack.back();
}
void refuseDepth() {
  if (ft::getDynamicLayerStack().size() >= 60)
    fail("ERR_FUNC_TRANSFORM", "expected at most 60 function transforms inside of one another");
}
void refuseInferenceMode(const char* what) {
  if (c10::InferenceMode::is_enabled())
    fail("ERR_FUNC_TRANSFORM", std::string(what) + " cannot differentiate in inference mode. Use noGrad instead");
}

/** In-place `requires_grad_` is refused inside of a level, for all but the level itself. */
struct MayRequireGrad {
  const bool before = ft::getInplaceRequiresGradAllowed();
  MayRequireGrad() { ft::setInplaceRequiresGradAllowed(true); }
  ~MayRequireGrad() { ft::setInplaceRequiresGradAllowed(before); }
};

}  // namespace

bool insideTransform() { return !ft::getDynamicLayerStack().empty(); }
at::Tensor withValues(const at::Tensor& given) {
  at::Tensor t = given;
  for (;;) {
    if (ft::isBatchedTensor(t))
      fail("ERR_FUNC_TRANSFORM",
           "expected a tensor with values of its own. Received: one inside of func.vmap, where it stands for all "
           "samples "
           "(func.debugUnwrap shows them)");
    const auto* wrapper = ft::maybeGetTensorWrapper(t);
    if (wrapper == nullptr) return t;
    t = at::Tensor(wrapper->value());
  }
}

double entries::vmapEnter(const Args& a) {
  program::unrecorded("a function is mapped by func.vmap");
  const int64_t size = a.integer(0);
  const int randomness = codeBelow(a.number(1), 3, "the code of a randomness");
  if (size < 0) a.failAt(0, "a whole number ≥ 0");
  refuseDepth();
  return static_cast<double>(ft::initAndPushDynamicLayer(ft::TransformType::Vmap, c10::SymInt(size),
                                                         static_cast<ft::RandomnessType>(randomness)));
}
double entries::gradEnter() {
  program::unrecorded("a function is differentiated by func.grad");
  refuseInferenceMode("func.grad");
  if (!at::SavedTensorDefaultHooks::get_tls_state().stack.empty())
    fail("ERR_FUNC_TRANSFORM", "func.grad cannot differentiate under hooks of saved tensors. Call it outside of them");
  refuseDepth();
  return static_cast<double>(
      ft::initAndPushDynamicLayer(ft::TransformType::Grad, std::nullopt, std::nullopt, c10::GradMode::is_enabled()));
}
double entries::jvpEnter() {
  program::unrecorded("a function is differentiated by func.jvp");
  refuseInferenceMode("func.jvp");
  refuseDepth();
  const bool before = forwardEnabled();
  const int64_t level =
      ft::initAndPushDynamicLayer(ft::TransformType::Jvp, std::nullopt, std::nullopt, std::nullopt, before);
  // libtorch has one level of dual numbers; nested ones are told apart by the levels of functions.
  if (forwardBefore.empty()) dualLevel = forward::enter_dual_level();
  forwardBefore.push_back(before);
  enableForward(true);
  return static_cast<double>(level);
}
void entries::transformLeave(const Args& a) {
  const auto kind = current(a.integer(0)).key();
  if (kind == ft::TransformType::Jvp) {
    enableForward(forwardBefore.back());
    forwardBefore.pop_back();
    if (forwardBefore.empty() && dualLevel) {
      forward::exit_dual_level(*dualLevel);
      dualLevel.reset();
    }
  }
  ft::popDynamicLayerAndDeleteMetadata();
}
double entries::transformDepth() { return static_cast<double>(ft::getDynamicLayerStack().size()); }

double entries::addBatchDim(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  current(a.integer(2));
  return newHandle(ft::addBatchDim(t, at::maybe_wrap_dim(a.integer(1), t.dim()), a.integer(2)));
}
bool entries::hasBatchDim(const Args& a) {
  const auto* batched = ft::maybeGetBatchedImpl(get(a.number(0)));
  return batched != nullptr && batched->level() == a.integer(1);
}
double entries::removeBatchDim(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  const int64_t level = a.integer(1), size = a.integer(2);
  current(level);
  const int64_t to = at::maybe_wrap_dim(a.integer(3), t.dim() + 1);
  const auto* batched = ft::maybeGetBatchedImpl(t);
  if (batched != nullptr && batched->level() == level) return newHandle(batched->value().movedim(batched->bdim(), to));
  // The same for all: it does not depend on what is mapped over.
  std::vector<int64_t> sizes = t.sizes().vec();
  sizes.insert(sizes.begin() + to, size);
  return newHandle(t.unsqueeze(to).expand(sizes));
}
double entries::wrapForLevel(const Args& a) {
  current(a.integer(1));
  at::Tensor wrapped = ft::makeTensorWrapper(get(a.number(0)), a.integer(1));
  if (a.flag(2)) {
    const MayRequireGrad allowed;
    wrapped.requires_grad_();
  }
  return newHandle(std::move(wrapped));
}
double entries::unwrapFromLevel(const Args& a) {
  const at::Tensor t = ft::unwrapIfDead(get(a.number(0)));
  const auto* wrapper = ft::maybeGetTensorWrapper(t);
  return newHandle(wrapper != nullptr && wrapper->level() == a.integer(1) ? wrapper->value() : t);
}
double entries::innermost(const Args& a) {
  at::Tensor t = ft::unwrapIfDead(get(a.number(0)));
  const bool all = a.flag(1);
  do {
    const auto* batched = ft::maybeGetBatchedImpl(t);
    const auto* wrapper = batched == nullptr ? ft::maybeGetTensorWrapper(t) : nullptr;
    if (batched == nullptr && wrapper == nullptr) break;
    t = at::Tensor(batched != nullptr ? batched->value() : wrapper->value());
  } while (all);
  return newHandle(std::move(t));
}
double entries::makeDual(const Args& a) { return newHandle(at::_make_dual(get(a.number(0)), get(a.number(1)), 0)); }
void entries::unpackDual(const Args& a) {
  auto [primal, tangent] = at::_unpack_dual(get(a.number(0)), 0);
  Writer out(2, 2);
  out.tensor(std::move(primal));
  out.tensor(std::move(tangent));
}

}  // namespace nbit
