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
  // Nobody knows this step before everything that may fail is done.
  if (trace_.state == Trace::State::empty) {
    beginRecording(inputs);
    recording = recorder_.get();
    mode_ = Mode::recording;
  } else {
    if (!beginReplay(inputs)) return;
    leaveReplay = leaveSession;
    mode_ = Mode::replaying;
  }
  session = this;
}

void Session::beginRecording(const std::vector<at::Tensor>& inputs) {
  trace_.forget();
  trace_.settings_ = settings;
  recorder_ = std::make_unique<Recorder>();
  recorder_->followsJavaScript = true;
  recorder_->onRefusal = told_;
  recorder_->onOperation = [this] { noteDeaths(trace_.events_.size()); };
  for (const at::Tensor& t : inputs) {
    const int32_t v = recorder_->know(t);
    trace_.inputs_.push_back(v);
    if (v < 0) continue;
    const auto buffer = static_cast<size_t>(recorder_->program.values[v].buffer);
    if (isBound_.size() <= buffer) isBound_.resize(buffer + 1);
    isBound_[buffer] = true;
  }
}

bool Session::beginReplay(const std::vector<at::Tensor>& inputs) {
  anotherForm_ = inputs.size() != trace_.inputs_.size();
  for (size_t i = 0; i < inputs.size() && !anotherForm_; i++)
    anotherForm_ = trace_.inputs_[i] < 0 || !sameForm(trace_.program_.values[trace_.inputs_[i]], inputs[i]);
  if (anotherForm_) return false;
  const auto no = [&](const char* why) {
    trace_.reason = why;
    return false;
  };
  const auto anew = [&](const char* why) {  // recorded again, in the next step
    trace_.forget();
    return no(why);
  };
  if (trace_.settings_ != settings) return anew("a setting of the process has changed");
  if (!trace_.othersAreFree()) return no("a result of an earlier step is still in use");
  if (trace_.executable_ != nullptr && !trace_.sharing_.arena.isCurrent(trace_.executable_->block())) trace_.rest();
  if (trace_.executable_ == nullptr) trace_.plan();
  if (!trace_.executable_->isWhereItWas()) return anew("the memory of a parameter or of state is another now");
  isBound_.assign(trace_.program_.buffers.size(), false);
  for (at::Generator& g : trace_.generators_) {
    const std::lock_guard<std::mutex> lock(g.mutex());
    seeds_.push_back(g.get_state());
  }
  const at::NoGradGuard noGrad;
  for (const int32_t v : trace_.state_) saved_.push_back(trace_.executable_->tensor(v).detach().clone());
  return true;
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
    try {
      finishRecording();
    } catch (const std::bad_alloc&) {
      trace_.forget();  // for the next step
      trace_.reason = "there is no memory for its recording";
    }
    return false;
  }
  if (mode_ != Mode::replaying) return false;
  if (next_ != trace_.events_.size()) {
    session = this;
    try {
      leave("JavaScript made fewer calls than when the step was recorded");
    } catch (const std::exception&) {}  // a result that somebody still has tells that it has no graph
    session = nullptr;
    return false;
  }
  letGo();
  for (const at::Tensor& t : trace_.written_) t.unsafeGetTensorImpl()->bump_version();
  trace_.replayed++;
  trace_.reason.clear();
  return true;
}

}  // namespace nbit::program
