#include "program/trace.h"

#include "autograd/nodes.h"
#include "program/calls.h"

#include <torch/csrc/autograd/variable.h>

namespace nbit::program {
namespace {

namespace ag = torch::autograd;

/** Stands where the graph of a replayed step would be. */
class ReplayedNode : public ag::Node {
 public:
  std::string name() const override { return "ReplayedBackward"; }
  ag::variable_list apply(ag::variable_list&&) override {
    fail("REPLAY_GRAPH",
         "backward: expected the loss of the step, once. Received: a result of a replayed step, whose graph is in the "
         "recording. Train with replay: false to go backward through it again.");
  }
};

}  // namespace

at::Tensor given(c10::intrusive_ptr<c10::StorageImpl> storage, const Value& v, int64_t shift, bool requiresGrad) {
  Value plain{v.buffer, v.offset, v.sizes, v.strides, v.dtype, false, {}};
  at::Tensor t = tensorOver(std::move(storage), plain, shift);
  if (!requiresGrad) return t;
  auto node = makeNode<ReplayedNode>();
  const uint32_t output = node->add_input_metadata(t);
  ag::impl::set_gradient_edge(t, {std::move(node), output});
  return t;
}

Trace::Trace(Sharing& sharing) : sharing_(sharing) { sharing_.traces.push_back(this); }
Trace::~Trace() { std::erase(sharing_.traces, this); }

void Trace::rest() {
  lent_.clear();
  for (Event& e : events_)
    for (Given& g : e.given) g.tensor = at::Tensor();
  executable_.reset();
}
bool Trace::othersAreFree() const {
  for (const Trace* t : sharing_.traces)
    for (const Given* g : t->lent_)
      if (!t->isFree(*g)) return false;
  return true;
}

void Trace::plan() {
  struct Undo {
    Trace* trace;
    ~Undo() {
      if (trace != nullptr) trace->rest();
    }
  } undo{this};
  executable_ = std::make_unique<Executable>(program_, placement_, sharing_.arena);
  expected_.assign(program_.buffers.size(), 0);
  for (Event& e : events_) {
    e.externals.resize(e.tensors.size());
    e.made.resize(e.tensors.size());
    e.gave.resize(e.given.size());
    for (Given& g : e.given)
      if (program_.isMade(g.value) && executable_->stays(g.value))
        g.tensor = given(storageOf(executable_->tensor(g.value)), program_.values[g.value], 0, g.requiresGrad);
  }
  for (const Event& e : events_)
    for (const Given& g : e.given)
      if (g.tensor.defined()) {
        lent_.push_back(&g);
        expected_[program_.values[g.value].buffer] = static_cast<int64_t>(g.tensor.storage().use_count());
      }
  for (Event& e : events_) {
    e.mustBeFree.clear();
    for (const int32_t buffer : e.letGo)
      for (const Given* g : lent_)
        if (program_.values[g->value].buffer == buffer) e.mustBeFree.push_back(g);
  }
  undo.trace = nullptr;
}
bool Trace::isFree(const Given& g) const {
  return g.tensor.use_count() == 1 &&
         static_cast<int64_t>(g.tensor.storage().use_count()) == expected_[program_.values[g.value].buffer];
}
void Trace::forget() {
  state = State::empty;
  executable_.reset();
  reason.clear();
  program_ = {};
  inputs_.clear();
  events_.clear();
  gradients_.clear();
  generators_.clear();
  state_.clear();
  written_.clear();
  lent_.clear();
}

}  // namespace nbit::program
