#include "program/session.h"

#include "amp/policy.h"
#include "autograd/nodes.h"
#include "binding/boxed_values.h"
#include "binding/core.h"
#include "binding/dispatch.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace nbit::program {

constinit thread_local Session* session __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

namespace ag = torch::autograd;

uint64_t modesNow() {
  return uint64_t{c10::GradMode::is_enabled()} | uint64_t{at::autocast::is_autocast_enabled(c10::kCPU)} << 1 |
         uint64_t{at::autocast::is_autocast_cache_enabled()} << 2 | uint64_t{c10::InferenceMode::is_enabled()} << 3 |
         static_cast<uint64_t>(at::autocast::get_autocast_dtype(c10::kCPU)) << 8 |
         static_cast<uint64_t>(c10::get_default_dtype_as_scalartype()) << 16;
}
/** While it lives, the modes are those of a call. */
struct Modes {
  const uint64_t before = modesNow();
  explicit Modes(uint64_t modes) { set(modes); }
  ~Modes() { set(before); }
  static void set(uint64_t modes) {
    c10::GradMode::set_enabled((modes & 1) != 0);
    at::autocast::set_autocast_enabled(c10::kCPU, (modes & 2) != 0);
    at::autocast::set_autocast_cache_enabled((modes & 4) != 0);
    at::autocast::set_autocast_dtype(c10::kCPU, static_cast<at::ScalarType>(modes >> 8 & 0xff));
    c10::set_default_dtype(c10::scalarTypeToTypeMeta(static_cast<at::ScalarType>(modes >> 16)));
  }
};

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

/** What JavaScript is given of a value. */
at::Tensor given(c10::intrusive_ptr<c10::StorageImpl> storage, const Value& v, int64_t shift, bool requiresGrad) {
  Value plain{v.buffer, v.offset, v.sizes, v.strides, v.dtype, false, {}};
  at::Tensor t = tensorOver(std::move(storage), plain, shift);
  if (!requiresGrad) return t;
  auto node = makeNode<ReplayedNode>();
  const uint32_t output = node->add_input_metadata(t);
  ag::impl::set_gradient_edge(t, {std::move(node), output});
  return t;
}
c10::intrusive_ptr<c10::StorageImpl> storageOf(const at::Tensor& t) {
  return c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(t.storage().unsafeGetStorageImpl());
}

/** Calls `use` with the position of every tensor of a message, and its handle. */
template <class Use>
void eachTensor(const double* from, const double* end, const std::vector<Kind>& kinds, Use use) {
  Reader in(from, end);
  torch::jit::Stack skipped;
  const auto one = [&] {
    const double h = in.peek();
    const auto at = static_cast<uint32_t>(in.at - from);
    in.number();
    if (h != h) in.scalar();
    else if (h != 0) use(at, h);
  };
  for (const Kind& k : kinds) {
    if (k.kind != 't') {
      readArgument(in, k, skipped);
      skipped.clear();
    } else if (!k.list) {
      one();
    } else if (in.peek() < 0) {
      in.number();
    } else {
      for (size_t n = in.count(); n > 0; n--) one();
    }
  }
}
const std::vector<Kind>& backwardKinds() {
  static const std::vector<Kind> kinds(3, Kind{'t', false, true, true});
  return kinds;
}

bool equalBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }
bool sameForm(const Value& v, const at::Tensor& t) {
  return t.scalar_type() == v.dtype && t.sizes() == v.sizes && t.strides() == v.strides &&
         t.layout() == c10::kStrided && t.device().is_cpu() && t.has_storage();
}

void leaveSession(const char* reason) {
  if (session != nullptr) session->leave(reason);
}

}  // namespace

void callInSession(uint32_t op, const char*& name) {
  if (session->isHere()) session->call(op, name);
  else callOperator(op, name);  // of another context of this thread, whose tensors are none of the step's
}
void backwardInSession(bool keepsGraph, const std::function<void()>& eagerly) {
  if (session->isHere()) session->backward(keepsGraph, eagerly);
  else eagerly();
}

Trace::Trace(Sharing& sharing) : sharing_(sharing) { sharing_.traces.push_back(this); }
Trace::~Trace() { std::erase(sharing_.traces, this); }

void Trace::rest() {
  for (Event& e : events_)
    for (Given& g : e.given) g.tensor = at::Tensor();
  lent_.clear();
  executable_.reset();
}
bool Trace::othersAreFree() const {
  for (const Trace* t : sharing_.traces)
    for (const Given* g : t->lent_)
      if (!t->isFree(*g)) return false;
  return true;
}

void Trace::plan() {
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
  lent_.clear();
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
}
bool Trace::isFree(const Given& g) const {
  return g.tensor.use_count() == 1 &&
         static_cast<int64_t>(g.tensor.storage().use_count()) == expected_[program_.values[g.value].buffer];
}
void Trace::forget() {
  state = State::empty;
  executable_.reset();
  program_ = {};
  inputs_.clear();
  events_.clear();
  gradients_.clear();
  generators_.clear();
  state_.clear();
  written_.clear();
  lent_.clear();
}

Session::Session(Trace& trace, const std::vector<at::Tensor>& inputs, void (*told)()) : trace_(trace), told_(told) {
  if (session != nullptr) fail("PROGRAM_NESTED", "a step is being recorded or replayed already: steps do not nest");
  if (trace_.state == Trace::State::refused || recording != nullptr || js->watchers > 0) return;
  session = this;
  if (trace_.state == Trace::State::empty) {
    mode_ = Mode::recording;
    trace_.settings_ = settings;
    recorder_ = std::make_unique<Recorder>();
    recorder_->followsJavaScript = true;
    recorder_->onRefusal = told;
    recorder_->onOperation = [this] { noteDeaths(trace_.events_.size()); };
    recording = recorder_.get();
    for (const at::Tensor& t : inputs) {
      const int32_t v = recorder_->know(t);
      trace_.inputs_.push_back(v);
      const auto buffer = v < 0 ? 0 : static_cast<size_t>(recorder_->program.values[v].buffer);
      if (v < 0) continue;
      if (isBound_.size() <= buffer) isBound_.resize(buffer + 1);
      isBound_[buffer] = true;
    }
    return;
  }
  anotherForm_ = inputs.size() != trace_.inputs_.size();
  for (size_t i = 0; i < inputs.size() && !anotherForm_; i++)
    anotherForm_ = trace_.inputs_[i] < 0 || !sameForm(trace_.program_.values[trace_.inputs_[i]], inputs[i]);
  if (anotherForm_) {
    session = nullptr;
    return;
  }
  if (trace_.settings_ != settings) {
    trace_.forget();  // recorded anew, in the next step
    trace_.reason = "a setting of the process has changed";
    session = nullptr;
    return;
  }
  if (!trace_.othersAreFree()) {
    trace_.reason = "a result of an earlier step is still in use";
    session = nullptr;
    return;
  }
  if (trace_.executable_ != nullptr && !trace_.sharing_.arena.isCurrent(trace_.executable_->block())) trace_.rest();
  if (trace_.executable_ == nullptr) trace_.plan();
  if (!trace_.executable_->isWhereItWas()) {
    trace_.forget();  // recorded anew, in the next step
    trace_.reason = "the memory of a parameter or of state is another now";
    session = nullptr;
    return;
  }
  isBound_.assign(trace_.program_.buffers.size(), false);
  mode_ = Mode::replaying;
  leaveReplay = leaveSession;
  for (at::Generator& g : trace_.generators_) {
    const std::lock_guard<std::mutex> lock(g.mutex());
    seeds_.push_back(g.get_state());
  }
  const at::NoGradGuard noGrad;
  for (const int32_t v : trace_.state_) saved_.push_back(trace_.executable_->tensor(v).detach().clone());
}

Session::~Session() {
  if (session != this) return;
  session = nullptr;
  leaveReplay = nullptr;
  if (recorder_ != nullptr) recording = nullptr;
  listen(false);
}

Event Session::begin(uint32_t op, bool backward) {
  noteDeaths(trace_.events_.size());
  Event e;
  e.backward = backward;
  e.op = op;
  e.modes = modesNow();
  e.policies = activePolicies();
  Reader in = message();
  if (!backward) in.number();
  e.words.assign(in.at, in.end);
  const auto& kinds = backward ? backwardKinds() : signatureOf(op).arguments;
  eachTensor(e.words.data(), e.words.data() + e.words.size(), kinds, [&](uint32_t at, double handle) {
    const at::Tensor& t = get(handle);
    e.tensors.push_back({at, recorder_->know(t), t.requires_grad()});
  });
  e.firstOperation = static_cast<uint32_t>(recorder_->program.operations.size());
  return e;
}

void Session::call(uint32_t op, const char*& name) {
  if (mode_ == Mode::recording && recorder_->refusal().empty() && !listens()) return record(op, name);
  if (mode_ == Mode::replaying) {
    const char* why = "JavaScript makes more calls than it did when the step was recorded";
    if (next_ < trace_.events_.size() && follows(trace_.events_[next_], op, false, why)) {
      Event& event = trace_.events_[next_];
      name = signatureOf(op).name.c_str();
      bool ran = true;
      try {
        trace_.executable_->run(event.firstOperation, event.endOperation);
      } catch (const std::exception&) { ran = false; }  // eagerly it fails with all that belongs to its error
      if (ran) {
        next_++;
        return give(event);
      }
      why = "an operator failed";
    }
    leave(why);
  }
  callOperator(op, name);
}

bool Session::takes(int32_t value, const at::Tensor& t, const char*& why) {
  const Value& v = trace_.program_.values[value];
  const bool external = !trace_.program_.isMade(value);
  {
    const at::Tensor& now = trace_.executable_->tensor(value);
    if (now.defined() && t.has_storage() &&
        now.storage().unsafeGetStorageImpl() == t.storage().unsafeGetStorageImpl() &&
        now.storage_offset() == t.storage_offset() && sameForm(v, t))
      return true;
    if (external && trace_.placement_.bound[v.buffer] && !isBound_[v.buffer]) {
      if (!sameForm(v, t)) {
        why = "a tensor has another shape or dtype than when the step was recorded";
        return false;
      }
      trace_.executable_->bind(value, t);
      return isBound_[v.buffer] = true;
    }
  }
  const Buffer& buffer = trace_.program_.buffers[v.buffer];
  if (external && !trace_.placement_.bound[v.buffer] && sameForm(v, t) && !v.tensor.requires_grad() &&
      buffer.origin == Buffer::Origin::external && !buffer.written) {
    // One that is made anew in every step: from the next on it may be another.
    trace_.placement_.bound[v.buffer] = true;
    replans_ = true;
    why = "a tensor is another than when the step was recorded";
    return false;
  }
  why = "a call has another tensor than when the step was recorded";
  return false;
}

bool Session::follows(Event& event, uint32_t op, bool backward, const char*& why) {
  why = "JavaScript makes other calls than when the step was recorded";
  if (event.backward != backward || (!backward && event.op != op) || event.modes != modesNow() ||
      event.policies != (js->watchers == 0 ? 0 : activePolicies()))
    return false;
  Reader in = message();
  if (!backward) in.number();
  if (static_cast<size_t>(in.end - in.at) != event.words.size()) return false;
  for (const Given* g : event.mustBeFree)
    if (!trace_.isFree(*g)) {
      why = "a result is kept longer than when the step was recorded";
      return false;
    }
  const char* const number = "a call has another number than when the step was recorded";
  why = number;
  bool matches = true;
  size_t word = 0;
  for (size_t i = 0; i < event.tensors.size(); i++) {
    const auto [at, value, requiresGrad] = event.tensors[i];
    for (; word < at; word++)
      if (!equalBits(in.at[word], event.words[word])) return false;
    const at::Tensor& t = get(in.at[at]);
    word = at + 1;
    if (t.requires_grad() != requiresGrad) {
      why = "a tensor requires gradients and did not when the step was recorded, or the other way round";
      return false;
    }
    // All that are others are noted before the step goes on eagerly.
    if (const char* other = nullptr; !takes(value, t, other)) {
      if (matches) why = other;
      matches = false;
    } else if (trace_.program_.isMade(value)) event.made[i] = t.unsafeGetTensorImpl();
    else event.externals[i] = t;
  }
  for (; word < event.words.size(); word++)
    if (!equalBits(in.at[word], event.words[word])) {
      why = number;
      return false;
    }
  return matches;
}

void Session::give(Event& event) {
  reserveSlots(event.given.size());
  Writer out(event.reply.size(), event.given.size());
  size_t next = 0;
  for (uint32_t at = 0; at < event.reply.size(); at++) {
    if (next == event.given.size() || event.given[next].at != at) {
      out.number(event.reply[at]);
      continue;
    }
    const Given& g = event.given[next];
    const at::Tensor& now = trace_.executable_->tensor(g.value);
    const Value& v = trace_.program_.values[g.value];
    event.gave[next++] = !trace_.program_.isMade(g.value) ? now
                         : g.tensor.defined()
                             ? g.tensor
                             : given(storageOf(now), v, now.storage_offset() - v.offset, g.requiresGrad);
    out.tensor(at::Tensor(event.gave[next - 1]));
    if (g.tensor.defined()) event.gave[next - 1].reset();  // who has it is counted
  }
  if (js->drainNeeded.load(std::memory_order_relaxed)) [[unlikely]]
    drain();
}

void Session::record(uint32_t op, const char*& name) {
  Event e = begin(op, false);
  listen(true);
  try {
    callOperator(op, name);
  } catch (...) {
    listen(false);
    recorder_->refuse("an operator failed");
    throw;
  }
  listen(false);
  if (!recorder_->refusal().empty()) return;
  e.endOperation = static_cast<uint32_t>(recorder_->program.operations.size());
  Reader out(js->buffer, js->buffer + js->bufferLength);
  const auto tensor = [&] {
    const double h = out.number();
    e.reply.push_back(h);
    if (h == 0) return;
    const at::Tensor& t = get(h);
    const size_t known = recorder_->program.values.size();
    const int32_t v = recorder_->know(t);
    if (v < 0) return;
    if (static_cast<size_t>(v) >= known)
      return recorder_->refuse(std::string(name) + " returns a tensor that no operator has made");
    e.given.push_back({static_cast<uint32_t>(e.reply.size() - 1), v, t.requires_grad(), {}});
    if (recorder_->program.isMade(v)) exposed_.push_back(recorder_->program.values[v].buffer);
    else if (!recorder_->program.values[v].tensor.is_same(t))
      recorder_->refuse(std::string(name) + " returns a view of a tensor that was there before");
  };
  for (const Return& r : signatureOf(op).returns) {
    if (r.alias >= 0) continue;
    if (r.kind.kind != 't') return recorder_->refuse(std::string(name) + " returns numbers");
    if (!r.kind.list) {
      tensor();
    } else {
      const auto n = static_cast<size_t>(out.peek());
      e.reply.push_back(out.number());
      for (size_t i = 0; i < n; i++) tensor();
    }
  }
  trace_.events_.push_back(std::move(e));
}

void Session::noteDeaths(size_t event) {
  const Program& p = recorder_->program;
  diedBefore_.resize(p.buffers.size(), -1);
  diedAt_.resize(p.buffers.size(), 0);
  for (size_t i = 0; i < exposed_.size();) {
    const int32_t b = exposed_[i];
    if (diedBefore_[b] < 0 && p.buffers[b].where.use_count() == 0) {
      diedBefore_[b] = static_cast<int64_t>(event);
      diedAt_[b] = static_cast<uint32_t>(p.operations.size());
    }
    if (diedBefore_[b] >= 0) exposed_.erase(exposed_.begin() + static_cast<int64_t>(i));
    else i++;
  }
}

void Session::backward(bool keepsGraph, const std::function<void()>& eagerly) {
  if (mode_ == Mode::recording && recorder_->refusal().empty() && !listens()) {
    if (keepsGraph) recorder_->refuse("backward keeps its graph");
    else return recordBackward(eagerly);
  }
  if (mode_ == Mode::replaying) {
    const char* why = "backward is called where it was not when the step was recorded";
    if (!keepsGraph && next_ < trace_.events_.size() && follows(trace_.events_[next_], 0, true, why)) {
      Event& event = trace_.events_[next_];
      bool same = true;
      for (const LeafGradient& g : trace_.gradients_) {
        const at::Tensor& now = g.leaf.grad();
        same = now.defined() == (g.before >= 0);
        if (!same) why = "another parameter had a gradient when the step was recorded";
        else if (g.before >= 0) same = takes(g.before, now, why);
        if (!same) break;
      }
      if (same) {
        trace_.executable_->run(event.firstOperation, event.endOperation);
        next_++;
        for (const LeafGradient& g : trace_.gradients_)
          if (g.after >= 0) {
            const at::Tensor& made = trace_.executable_->tensor(g.after);
            const Value& v = trace_.program_.values[g.after];
            g.leaf.mutable_grad() =
                made.requires_grad() ? given(storageOf(made), v, made.storage_offset() - v.offset, false) : made;
          }
        return;
      }
    }
    leave(why);
  }
  eagerly();
}

void Session::leaves(const Event&) {
  leaves_.clear();
  for (const Value& v : recorder_->program.values)
    if (v.tensor.defined() && v.tensor.requires_grad() && v.tensor.is_leaf())
      leaves_.emplace_back(v.tensor, v.tensor.grad().defined());
}

void Session::recordBackward(const std::function<void()>& eagerly) {
  Event e = begin(0, true);
  leaves(e);
  std::vector<int32_t> before;
  for (const auto& [leaf, had] : leaves_) before.push_back(had ? recorder_->know(leaf.grad()) : -1);
  listen(true);
  try {
    eagerly();
  } catch (...) {
    listen(false);
    recorder_->refuse("backward failed");
    throw;
  }
  listen(false);
  if (!recorder_->refusal().empty()) return;
  e.endOperation = static_cast<uint32_t>(recorder_->program.operations.size());
  for (size_t i = 0; i < leaves_.size(); i++) {
    const at::Tensor& leaf = leaves_[i].first;
    if (!leaf.grad().defined()) continue;
    const int32_t v = find(recorder_->program, leaf.grad());
    if (v == before[i] && v >= 0) {
      if (recorder_->program.buffers[recorder_->program.values[v].buffer].written)
        trace_.gradients_.push_back({leaf, v, -1});
    } else if (v >= 0 && recorder_->program.isMade(v)) {
      trace_.gradients_.push_back({leaf, before[i], v});
    } else {
      recorder_->refuse("a gradient is a tensor that no operator of the step has made");
    }
  }
  trace_.events_.push_back(std::move(e));
}

bool Session::close() {
  if (session != this) return false;
  session = nullptr;
  leaveReplay = nullptr;
  if (mode_ == Mode::recording) {
    recording = nullptr;
    finishRecording();
    return false;
  }
  if (mode_ != Mode::replaying) return false;
  if (next_ != trace_.events_.size()) {
    session = this;
    leave("JavaScript made fewer calls than when the step was recorded");
    session = nullptr;
    return false;
  }
  for (Event& e : trace_.events_) {
    for (auto& t : e.externals) t.reset();
    for (auto& t : e.gave) t.reset();
  }
  trace_.executable_->finish();
  for (const at::Tensor& t : trace_.written_) t.unsafeGetTensorImpl()->bump_version();
  trace_.replayed++;
  trace_.reason.clear();
  return true;
}

void Session::finishRecording() {
  noteDeaths(trace_.events_.size());
  Program& p = recorder_->program;
  const auto refuse = [&](const std::string& why) {
    trace_.state = Trace::State::refused;
    trace_.reason = why;
    trace_.events_.clear();
    trace_.gradients_.clear();
  };
  if (!recorder_->refusal().empty()) return refuse(recorder_->refusal());
  if (trace_.events_.empty() || !trace_.events_.back().backward) return refuse("the step has no backward");
  const size_t n = p.buffers.size();
  std::vector<bool> named(n);
  for (const Event& e : trace_.events_)
    for (const Word& w : e.tensors)
      if (w.value >= 0) named[p.values[w.value].buffer] = true;
  for (const LeafGradient& g : trace_.gradients_)
    if (g.before >= 0) named[p.values[g.before].buffer] = true;
  isBound_.resize(n);
  trace_.placement_ = {std::move(isBound_), std::vector<bool>(n), std::vector<uint32_t>(n)};
  size_t stateBytes = 0;
  const uint32_t forward = trace_.events_.back().firstOperation;
  std::vector<bool> isState(n);
  for (uint32_t i = 0; i < p.operations.size(); i++) {
    const Operation& o = p.operations[i];
    for (const int32_t v : o.written)
      if (i < forward && !p.isMade(v) && trace_.placement_.bound[p.values[v].buffer])
        return refuse("forward writes into its input");
      else if (i < forward && !p.isMade(v) && !isState[p.values[v].buffer]) {
        isState[p.values[v].buffer] = true;
        trace_.state_.push_back(v);
        stateBytes += p.buffers[p.values[v].buffer].bytes;
      }
    if (!o.op.hasTag(at::Tag::nondeterministic_seeded)) continue;
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    for (const Argument& a : o.arguments)
      if (a.constant.isGenerator() && a.constant.toGenerator().defined()) generator = a.constant.toGenerator();
    if (std::find(trace_.generators_.begin(), trace_.generators_.end(), generator) == trace_.generators_.end())
      trace_.generators_.push_back(generator);
  }
  if (stateBytes > (size_t{16} << 20)) return refuse("forward writes more than 16 MiB of state");
  for (size_t b = 0; b < n; b++) {
    const Buffer& buffer = p.buffers[b];
    if (buffer.origin == Buffer::Origin::external && !named[b])
      return refuse("an operator reads a tensor that no call names");
    if (buffer.origin != Buffer::Origin::made) continue;
    trace_.placement_.outlives[b] = buffer.where.use_count() > 0;
    if (diedBefore_[b] < 0) continue;
    trace_.placement_.heldUntil[b] = diedAt_[b] == 0 ? 0 : diedAt_[b] - 1;
    if (static_cast<size_t>(diedBefore_[b]) < trace_.events_.size())
      trace_.events_[diedBefore_[b]].letGo.push_back(static_cast<int32_t>(b));
  }
  for (const Value& v : p.values)
    if (v.tensor.defined() && p.buffers[v.buffer].written && !v.tensor.is_inference())
      trace_.written_.push_back(v.tensor);
  trace_.program_ = std::move(p);
  trace_.state = Trace::State::recorded;
}

void Session::leave(const char* reason) {
  if (mode_ != Mode::replaying) return;
  mode_ = Mode::eager;
  leaveReplay = nullptr;
  session = nullptr;
  trace_.reason = reason;
  trace_.left++;
  told_();
  makeAgain();
  for (Event& e : trace_.events_) {
    for (auto& t : e.externals) t.reset();
    for (auto& t : e.gave) t.reset();
  }
  trace_.executable_->finish();
  if (replans_) trace_.rest();
}

void Session::makeAgain() {
  const double written = js->buffer[0];
  const auto length =
      written >= 1 && written <= static_cast<double>(js->bufferLength) ? static_cast<size_t>(written) : 0;
  const std::vector<double> message(js->buffer, js->buffer + length);
  {
    const at::NoGradGuard noGrad;
    for (size_t i = 0; i < seeds_.size(); i++) {
      const std::lock_guard<std::mutex> lock(trace_.generators_[i].mutex());
      trace_.generators_[i].set_state(seeds_[i]);
    }
    for (size_t i = 0; i < saved_.size(); i++)
      trace_.program_.values[trace_.state_[i]].tensor.detach().copy_(saved_[i]);
  }
  std::unordered_map<const c10::TensorImpl*, double> again;  // handles of what takes their place
  std::vector<double> handles;
  const char* name = nullptr;
  for (size_t i = 0; i < next_; i++) {
    const Event& e = trace_.events_[i];
    const Modes modes(e.modes);
    std::vector<double> words = e.words;
    for (size_t w = 0; w < e.tensors.size(); w++) {
      double handle = 0;
      if (const auto found = again.find(e.made[w]); e.externals[w].defined()) {
        handle = newHandle(e.externals[w]);
        handles.push_back(handle);
      } else if (found != again.end()) {
        handle = found->second;
      } else {
        fail("REPLAY_LOST", "a step that left its recording cannot be made again: train with replay: false");
      }
      words[e.tensors[w].at] = handle;
    }
    if (words.size() + 2 > js->bufferLength) growBuffer(words.size() + 2);
    js->buffer[0] = static_cast<double>(words.size() + 2);
    js->buffer[1] = e.op;
    std::copy(words.begin(), words.end(), js->buffer + 2);
    callOperator(e.op, name);
    for (size_t g = 0; g < e.given.size(); g++) {
      const double handle = js->buffer[e.given[g].at];
      handles.push_back(handle);
      if (!trace_.program_.isMade(e.given[g].value)) continue;
      const at::Tensor& gave = e.given[g].tensor.defined() ? e.given[g].tensor : e.gave[g];
      again[gave.unsafeGetTensorImpl()] = handle;
    }
  }
  replaceTensors([&](const at::Tensor& t) -> const at::Tensor* {
    const auto found = again.find(t.unsafeGetTensorImpl());
    return found == again.end() ? nullptr : &get(found->second);
  });
  for (const double handle : handles) release(handle);
  if (length > js->bufferLength) growBuffer(length);
  std::copy(message.begin(), message.end(), js->buffer);
}

}  // namespace nbit::program
