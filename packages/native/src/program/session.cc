#include "program/session.h"

#include "binding/dispatch.h"
#include "program/calls.h"

namespace nbit::program {

constinit thread_local Session* session __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

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

}  // namespace nbit::program
