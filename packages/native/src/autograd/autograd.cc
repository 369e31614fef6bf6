// Autograd from JavaScript: modes, gradients, backward.
#include "amp/autocast.h"
#include "amp/weight_casts.h"
#include "autograd/defined.h"
#include "binding/core.h"
#include "cuda/branches.h"
#include "entries/autograd.h"
#include "memory/heap.h"
#include "program/recorder.h"
#include "program/session.h"

#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <vector>

namespace nbit {
namespace {

namespace ag = torch::autograd;

const EnvironmentLocal<std::vector<std::unique_ptr<c10::InferenceMode>>> inferenceModes;

// JavaScript nodes need the thread that called backward, and so do recorders, which listen there; CPU graphs stay on it
// anyway. Batches that warm up for a CUDA graph run as the recorded one does: what cuDNN has found out about shapes is
// known to a thread.
struct SingleThreaded {
  const bool before = c10::AutogradState::get_tls_state().get_multithreading_enabled();
  SingleThreaded() {
    if (js->javascriptNodes > 0 || program::recording != nullptr || graphSteps)
      c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  }
  ~SingleThreaded() { c10::AutogradState::get_tls_state().set_multithreading_enabled(before); }
};

/** The gradient with memory of its own: what JavaScript writes to it is the parameter's. */
const at::Tensor& gradOf(const at::Tensor& t) {
  if (t.grad().defined() && t.grad()._is_zerotensor()) t.mutable_grad() = t.grad().clone();
  return t.grad();
}

}  // namespace

bool entries::setGradEnabled(const Args& a) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(a.flag(0));
  return before;
}
bool entries::isGradEnabled() { return c10::GradMode::is_enabled(); }
void entries::inferencePush(const Args& a) {
  inferenceModes().push_back(std::make_unique<c10::InferenceMode>(a.flag(0)));
}
void entries::inferencePop() {
  auto& modes = inferenceModes();
  if (!modes.empty()) modes.pop_back();
}
bool entries::isInferenceMode() { return c10::InferenceMode::is_enabled(); }
void entries::setRequiresGrad(const Args& a) {
  program::needsGraph("requiresGrad is set");
  const at::Tensor& t = get(a.number(0));
  const bool on = a.flag(1);
  if (!on && !t.is_leaf())
    fail("TORCH",
         "you can only change requires_grad flags of leaf variables. Use detach() to get a tensor outside the graph");
  if (on && !(t.is_floating_point() || t.is_complex()))
    fail("TORCH", "only tensors of floating point and complex dtype can require gradients");
  t.requires_grad_(on);
}
double entries::getGrad(const Args& a) { return newHandle(gradOf(get(a.number(0)))); }
void entries::setGrad(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  const double g = a.number(1);
  if (g == 0) {
    if (t.grad().defined()) t.mutable_grad().reset();
    return;
  }
  const at::Tensor& grad = get(g);
  TORCH_CHECK_VALUE(grad.sizes() == t.sizes(), "grad: expected a gradient of shape ", t.sizes(),
                    ". Received: ", grad.sizes());
  TORCH_CHECK_VALUE(grad.scalar_type() == t.scalar_type(), "grad: expected a gradient of dtype ", t.scalar_type(),
                    ". Received: ", grad.scalar_type());
  TORCH_CHECK_VALUE(grad.device() == t.device(), "grad: expected a gradient on ", t.device(),
                    ". Received: ", grad.device());
  t.mutable_grad() = grad;
}
void entries::gradsInto(const Args& a) {
  const int64_t n = a.integer(0);
  double* list = numbers(n);
  for (int64_t i = 0; i < n; i++) get(list[i]);
  reserveSlots(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) list[i] = newHandle(gradOf(get(list[i])));
}
void entries::clearGrads(const Args& a) {
  const int64_t n = a.integer(0);
  const double* list = numbers(n);
  for (int64_t i = 0; i < n; i++) {
    const at::Tensor& t = get(list[i]);
    if (t.grad().defined()) t.mutable_grad().reset();
  }
}
double entries::linkGrads(const Args& a) {
  const int64_t n = a.integer(0);
  const bool keepValues = a.flag(1);
  const double* const list = numbers(n, 2);
  const double* const grads = list + n;
  for (int64_t i = 0; i < n; i++)
    if (grads[i] == 0 && get(list[i]).grad().defined()) return -1.0;
  const at::NoGradGuard noGrad;
  double linked = 0;
  for (int64_t i = 0; i < n; i++) {
    if (grads[i] == 0) continue;
    const at::Tensor& t = get(list[i]);
    const at::Tensor& grad = get(grads[i]);
    const at::Tensor now = t.grad();
    if (now.is_same(grad)) continue;
    if (keepValues) {
      if (now.defined()) grad.copy_(now);
      else grad.zero_();
    }
    t.mutable_grad() = grad;
    linked++;
  }
  return linked;
}
napi_value entries::gradFnName(const Args& a) {
  program::needsGraph("gradFn is looked at");
  const auto& fn = get(a.number(0)).grad_fn();
  if (!fn) return nullptr;
  return toJs(a.env, fn->name());
}
void entries::backward(const Args& a) {
  const int64_t retain = a.integer(0);
  const bool createGraph = a.flag(1);
  const auto eagerly = [&] {
    Reader in = message();
    const auto tensors = in.tensors();
    const auto grads = in.tensors();
    const auto inputs = in.tensors();
    requireDefined(tensors);
    requireDefined(inputs);
    heap::turn();
    const SingleThreaded guard;
    const AutogradKnows told;
    ag::backward(tensors, grads, retain < 0 ? std::nullopt : std::optional<bool>(retain != 0), createGraph, inputs);
  };
  if (program::session != nullptr) [[unlikely]]
    program::backwardInSession(retain > 0 || createGraph, eagerly);
  else eagerly();
  if (js->drainNeeded) drain();
}
void entries::grad(const Args& a) {
  program::needsGraph("autograd.grad is called");
  Reader in = message();
  const auto outputs = in.tensors();
  const auto inputs = in.tensors();
  const auto grads = in.tensors();
  requireDefined(outputs);
  requireDefined(inputs);
  const int64_t retain = a.integer(0);
  heap::turn();
  const SingleThreaded guard;
  const AutogradKnows told;
  auto result = ag::grad(outputs, inputs, grads, retain < 0 ? std::nullopt : std::optional<bool>(retain != 0),
                         a.flag(1), a.flag(2));
  Writer out(result.size(), result.size());
  for (auto& t : result) out.tensor(std::move(t));
  if (js->drainNeeded) drain();
}
void entries::setData(const Args& a) {
  program::unrecorded("a tensor's data is replaced");
  get(a.number(0)).set_data(get(a.number(1)));
  forgetCasts();
  weightsMayHaveChanged();
}
void entries::retainGrad(const Args& a) {
  program::needsGraph("a result keeps its gradient");
  get(a.number(0)).retain_grad();
}

}  // namespace nbit
