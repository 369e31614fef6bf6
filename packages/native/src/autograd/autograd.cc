// Autograd from JavaScript: modes, gradients, backward, hooks, and nodes whose backward is a JavaScript function.
#include "amp/autocast.h"
#include "amp/weight_casts.h"
#include "autograd/nodes.h"
#include "binding/core.h"
#include "entries/autograd.h"
#include "memory/heap.h"

#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace nbit {
namespace {

namespace ag = torch::autograd;

// A JavaScript function that the graph calls: in its own environment, where it is deleted too.
class JsFunction {
 public:
  JsFunction(const Args& a, size_t i) : home_(js->shared_from_this()), ref_(a.function(i)) { ++home_->javascriptNodes; }
  ~JsFunction() {
    --home_->javascriptNodes;
    deferDelete(*home_, ref_);
  }
  JsFunction(const JsFunction&) = delete;
  JsFunction& operator=(const JsFunction&) = delete;

  Environment& home() const { return *home_; }
  napi_ref ref() const { return ref_; }

 private:
  const std::shared_ptr<Environment> home_;
  const napi_ref ref_;
};

// One call of it, in its environment. The buffer carries the arguments, behind a mark that JavaScript takes away when
// it has read them: handles that nobody read (the stack overflowed, say) are released. An exception stays pending and
// unwinds autograd.
class Calling {
 public:
  explicit Calling(const JsFunction& fn) : fn_(fn) {
    if (!fn.home().onItsThread())
      fail("AUTOGRAD_THREAD",
           "a JavaScript backward or hook was reached on another thread: the graph nests backward calls too deeply, or "
           "runs on a GPU with multithreaded backward. Move it out of the nested backward");
    js = &fn.home();
    napi_open_handle_scope(js->env, &scope_);
  }
  ~Calling() { napi_close_handle_scope(fn_.home().env, scope_); }

  /** Begins the arguments: so many numbers behind the mark, so many tensors among them. */
  Writer begin(size_t numbers, size_t tensors) {
    Writer out(1 + numbers, tensors);
    out.number(kUnread);
    return out;
  }
  void tensor(Writer& out, at::Tensor&& t) {
    given_.push_back(newHandle(std::move(t)));
    out.number(given_.back());
  }
  void run() {
    napi_value fn, undefined, result;
    napi_get_undefined(js->env, &undefined);
    bool done = napi_get_reference_value(js->env, fn_.ref(), &fn) == napi_ok;
    {
      const StayHere stay;
      done = done && napi_call_function(js->env, undefined, fn, 0, nullptr, &result) == napi_ok;
    }
    if (js->buffer[0] == kUnread)
      for (const double handle : given_) release(handle);
    if (!done) throw JsPending{};
  }

 private:
  static constexpr double kUnread = -1;
  const StayHere outer_;
  const JsFunction& fn_;
  napi_handle_scope scope_ = nullptr;
  c10::SmallVector<double, 8> given_;
};

struct State {
  // Where the backward that runs now leaves its gradients. They are taken while its scope is open and the scope then
  // lets go of them: autograd is their only owner, so it may accumulate into their memory and free it as soon as
  // nothing needs it.
  ag::variable_list* returned = nullptr;
  std::vector<std::unique_ptr<c10::InferenceMode>> inferenceModes;
};
const EnvironmentLocal<State> state;

struct Returning {
  State& mine = state();
  ag::variable_list* const outer = mine.returned;
  explicit Returning(ag::variable_list& here) { mine.returned = &here; }
  ~Returning() { mine.returned = outer; }
};

class JsNode : public ag::Node {
 public:
  JsNode(std::shared_ptr<JsFunction> backward, std::string name)
      : backward_(std::move(backward)), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  void save(const at::Tensor& t, bool isOutput) { saved_.emplace_back(t, isOutput); }
  bool materialize = true;

  // buffer → JavaScript: mark, n, gradients…, m, saved…, k, needed…; JavaScript leaves the inputs' gradients by
  // returnGradients
  ag::variable_list apply(ag::variable_list&& grads) override {
    Calling call(*backward_);
    if (released_)
      fail("AUTOGRAD_FREED",
           name_ + ": trying to go backward through the graph a second time. Pass retainGraph: true the first time");
    std::vector<at::Tensor> saved;
    for (auto& s : saved_) saved.push_back(s.unpack(ownerOf<NodePtr>(this)));
    for (size_t i = 0; i < grads.size(); i++)
      if (!grads[i].defined() && materialize) grads[i] = input_metadata(i).zeros_like();
    Writer out = call.begin(3 + grads.size() + saved.size() + num_outputs(), grads.size() + saved.size());
    out.number(static_cast<double>(grads.size()));
    for (auto& g : grads) call.tensor(out, std::move(g));
    out.number(static_cast<double>(saved.size()));
    for (auto& s : saved) call.tensor(out, std::move(s));
    out.number(static_cast<double>(num_outputs()));
    for (size_t i = 0; i < num_outputs(); i++) out.number(task_should_compute_output(i));
    ag::variable_list result;
    {
      const Returning here(result);
      call.run();
    }
    if (result.size() != num_outputs())
      fail("AUTOGRAD_COUNT", name_ + ": expected backward to return " + std::to_string(num_outputs()) +
                                 " gradients (null where none). Received: " + std::to_string(result.size()));
    return result;
  }
  void release_variables() override {
    for (auto& s : saved_) s.reset_data();
    if (!saved_.empty()) released_ = true;
  }

 private:
  template <class Pointer>
  static Pointer ownerOf(typename std::conditional_t<true, JsNode, Pointer>* node) {
    if constexpr (requires { Pointer::reclaim_copy(static_cast<ag::Node*>(nullptr)); })
      return Pointer::reclaim_copy(static_cast<ag::Node*>(node));
    else return sharedFrom(node);
  }
  template <class N>
  static auto sharedFrom(N* node) {
    return node->shared_from_this();
  }
  const std::shared_ptr<JsFunction> backward_;
  std::string name_;
  std::vector<ag::SavedVariable> saved_;
  bool released_ = false;
};

struct PostAccumulateHook : ag::PostAccumulateGradHook {
  std::shared_ptr<JsFunction> fn;
  explicit PostAccumulateHook(std::shared_ptr<JsFunction> f) : fn(std::move(f)) {}
  void operator()(const at::Tensor& parameter) override {
    Calling call(*fn);
    Writer out = call.begin(1, 1);
    call.tensor(out, at::Tensor(parameter));
    call.run();
  }
};

// JavaScript nodes need the thread that called backward; CPU graphs stay on it anyway.
struct SingleThreaded {
  const bool before = c10::AutogradState::get_tls_state().get_multithreading_enabled();
  SingleThreaded() {
    if (js->javascriptNodes > 0) c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  }
  ~SingleThreaded() { c10::AutogradState::get_tls_state().set_multithreading_enabled(before); }
};

void requireDefined(const std::vector<at::Tensor>& list) {
  for (const auto& t : list)
    if (!t.defined()) failBadHandle(0);
}

}  // namespace

bool entries::setGradEnabled(const Args& a) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(a.flag(0));
  return before;
}
bool entries::isGradEnabled() { return c10::GradMode::is_enabled(); }
void entries::inferencePush(const Args& a) {
  state().inferenceModes.push_back(std::make_unique<c10::InferenceMode>(a.flag(0)));
}
void entries::inferencePop() {
  auto& modes = state().inferenceModes;
  if (!modes.empty()) modes.pop_back();
}
bool entries::isInferenceMode() { return c10::InferenceMode::is_enabled(); }
void entries::setRequiresGrad(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  const bool on = a.flag(1);
  if (!on && !t.is_leaf())
    fail("TORCH",
         "you can only change requires_grad flags of leaf variables. Use detach() to get a tensor outside the graph");
  if (on && !(t.is_floating_point() || t.is_complex()))
    fail("TORCH", "only tensors of floating point and complex dtype can require gradients");
  t.requires_grad_(on);
}
/** The gradient with memory of its own: what JavaScript writes to it is the parameter's. */
namespace {
const at::Tensor& gradOf(const at::Tensor& t) {
  if (t.grad().defined() && t.grad()._is_zerotensor()) t.mutable_grad() = t.grad().clone();
  return t.grad();
}
}  // namespace
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
  const auto& fn = get(a.number(0)).grad_fn();
  if (!fn) return nullptr;
  return toJs(a.env, fn->name());
}
void entries::backward(const Args& a) {
  Reader in = message();
  const auto tensors = in.tensors();
  const auto grads = in.tensors();
  const auto inputs = in.tensors();
  requireDefined(tensors);
  requireDefined(inputs);
  const int64_t retain = a.integer(0);
  heap::turn();
  const SingleThreaded guard;
  const AutogradKnows told;
  ag::backward(tensors, grads, retain < 0 ? std::nullopt : std::optional<bool>(retain != 0), a.flag(1), inputs);
  if (js->drainNeeded) drain();
}
void entries::grad(const Args& a) {
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
void entries::attachNode(const Args& a) {
  Reader in = message();
  const auto inputs = in.tensors();
  auto outputs = in.tensors();
  const auto flags = in.integers();
  const auto saved = in.tensors();
  const auto isOutput = in.integers();
  if (flags.size() != outputs.size() || isOutput.size() != saved.size()) failShort();
  requireDefined(outputs);
  requireDefined(saved);
  const auto fn = std::make_shared<JsFunction>(a, 0);
  bool needed = false;
  for (const auto& t : inputs) needed |= t.defined() && t.requires_grad();
  if (needed && c10::GradMode::is_enabled()) {
    auto node = makeNode<JsNode>(fn, a.text(1));
    node->materialize = a.flag(2);
    node->set_next_edges(ag::collect_next_edges(inputs));
    for (size_t i = 0; i < outputs.size(); i++) {
      at::Tensor& t = outputs[i];
      if (flags[i] & 2) {
        ag::impl::bump_version(t);
        ag::impl::rebase_history(t, {node, node->add_input_metadata(t)});
        continue;
      }
      const bool differentiable = (flags[i] & 1) && (t.is_floating_point() || t.is_complex());
      if (t.requires_grad() || t.is_view()) t = t.detach();
      if (differentiable) ag::set_history(t, node);
      else node->add_input_metadata(ag::Node::undefined_input());
    }
    for (size_t i = 0; i < saved.size(); i++) {
      // A saved output carries this node itself: SavedVariable keeps it without a cycle.
      bool output = isOutput[i] != 0;
      const at::Tensor* t = &saved[i];
      if (output)
        for (const auto& o : outputs)
          if (o.unsafeGetTensorImpl() == t->unsafeGetTensorImpl() ||
              (o.has_storage() && t->has_storage() && o.const_data_ptr() == t->const_data_ptr() &&
               o.sizes() == t->sizes()))
            t = &o;
      node->save(*t, output && t->grad_fn().get() == static_cast<ag::Node*>(node.get()));
    }
  }
  Writer out(outputs.size(), outputs.size());
  for (auto& t : outputs) out.tensor(std::move(t));
}
void entries::returnGradients() {
  if (state().returned == nullptr) fail("ERR_ARGUMENT", "expected to be called by a backward");
  Reader in = message();
  *state().returned = in.tensors();
}
double entries::registerHook(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  const auto fn = std::make_shared<JsFunction>(a, 1);
  const unsigned id = t.register_hook([fn](const at::Tensor& grad) -> at::Tensor {
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
    Calling call(*fn);
    call.begin(0, 0);
    call.run();
  });
}
void entries::setData(const Args& a) {
  get(a.number(0)).set_data(get(a.number(1)));
  forgetCasts();
  weightsMayHaveChanged();
}
void entries::retainGrad(const Args& a) { get(a.number(0)).retain_grad(); }
double entries::javascriptNodeCount() { return static_cast<double>(js->javascriptNodes.load()); }

}  // namespace nbit
