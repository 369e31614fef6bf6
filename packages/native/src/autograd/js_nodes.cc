// Nodes of the graph whose backward is a JavaScript function.
#include "autograd/defined.h"
#include "autograd/js_function.h"
#include "autograd/nodes.h"
#include "binding/core.h"
#include "entries/nodes.h"
#include "functorch/transforms.h"
#include "program/recorder.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace nbit {
namespace {

namespace ag = torch::autograd;

// Where the backward that runs now leaves its gradients. They are taken while its scope is open and the scope then lets
// go of them: autograd is their only owner, so it may accumulate into their memory and free it as soon as nothing needs
// it.
struct Returned {
  ag::variable_list* here = nullptr;
};
const EnvironmentLocal<Returned> returned;

struct Returning {
  Returned& mine = returned();
  ag::variable_list* const outer = mine.here;
  explicit Returning(ag::variable_list& here) { mine.here = &here; }
  ~Returning() { mine.here = outer; }
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

}  // namespace

void entries::attachNode(const Args& a) {
  program::needsGraph("a custom autograd function is used");
  if (insideTransform())
    fail("ERR_FUNC_TRANSFORM",
         a.text(1) +
             ": a function whose backward is JavaScript cannot run inside of func.vmap, func.grad and the like, "
             "which would need to know how to map and differentiate that backward. Write it of operators");
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
  if (returned().here == nullptr) fail("ERR_ARGUMENT", "expected to be called by a backward");
  Reader in = message();
  *returned().here = in.tensors();
}
double entries::javascriptNodeCount() { return static_cast<double>(js->javascriptNodes.load()); }

}  // namespace nbit
