// JavaScript hooks of tensors and of the end of a backward.
#include "autograd/js_function.h"
#include "binding/core.h"
#include "entries/hooks.h"
#include "program/recorder.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace nbit {
namespace {

namespace ag = torch::autograd;

constexpr const char* kHook = "a hook runs in backward";

struct PostAccumulateHook : ag::PostAccumulateGradHook {
  std::shared_ptr<JsFunction> fn;
  explicit PostAccumulateHook(std::shared_ptr<JsFunction> f) : fn(std::move(f)) {}
  void operator()(const at::Tensor& parameter) override {
    program::unrecorded(kHook);
    Calling call(*fn);
    Writer out = call.begin(1, 1);
    call.tensor(out, at::Tensor(parameter));
    call.run();
  }
};

}  // namespace

double entries::registerHook(const Args& a) {
  program::needsGraph("a hook is registered");
  const at::Tensor& t = get(a.number(0));
  if (t.is_leaf()) program::settingChanges();  // backward will call it in every step
  const auto fn = std::make_shared<JsFunction>(a, 1);
  const unsigned id = t.register_hook([fn](const at::Tensor& grad) -> at::Tensor {
    program::unrecorded(kHook);
    Calling call(*fn);
    Writer out = call.begin(1, 1);
    call.tensor(out, at::Tensor(grad));
    call.run();
    const double replaced = js->buffer[0];
    return replaced > 0 ? get(replaced) : at::Tensor();
  });
  return static_cast<double>(id);
}
void entries::removeHook(const Args& a) { get(a.number(0)).remove_hook(static_cast<unsigned>(a.integer(1))); }
void entries::setPostAccumulateHook(const Args& a) {
  program::needsGraph("a hook is registered");
  program::settingChanges();
  const at::Tensor& t = get(a.number(0));
  if (!t.is_leaf() || !t.requires_grad())
    fail("TORCH", "post accumulate grad hooks need a leaf tensor that requires gradients");
  std::unique_ptr<ag::PostAccumulateGradHook> hook;
  if (const auto type = a.type(1); type != napi_null && type != napi_undefined)
    hook = std::make_unique<PostAccumulateHook>(std::make_shared<JsFunction>(a, 1));
  ag::impl::set_post_acc_grad_hooks(t, std::move(hook));
}
void entries::whenBackwardEnds(const Args& a) {
  const auto fn = std::make_shared<JsFunction>(a, 0);
  ag::Engine::get_default_engine().queue_callback([fn] {
    program::unrecorded(kHook);
    Calling call(*fn);
    call.begin(0, 0);
    call.run();
  });
}

}  // namespace nbit
