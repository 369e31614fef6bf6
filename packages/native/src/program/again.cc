// A step that did not go on as it was recorded: the calls so far are made again, eagerly, and so with a graph.
#include "binding/dispatch.h"
#include "program/calls.h"
#include "program/session.h"

#include <unordered_map>

namespace nbit::program {

void Session::leave(const char* reason) {
  if (mode_ != Mode::replaying) return;
  mode_ = Mode::eager;
  leaveReplay = nullptr;
  session = nullptr;
  trace_.reason = reason;
  trace_.left++;
  told_();
  struct Over {
    Session& step;
    ~Over() { step.letGo(); }
  } over{*this};
  makeAgain();
}

void Session::letGo() {
  for (Event& e : trace_.events_) {
    for (auto& t : e.externals) t.reset();
    for (auto& t : e.gave) t.reset();
  }
  if (trace_.executable_ != nullptr) trace_.executable_->finish();
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
  struct Handles : std::vector<double> {
    ~Handles() {
      for (const double handle : *this) release(handle);
    }
    /** Room comes first: what is made is known. */
    void room(size_t n) { reserve(size() + n); }
  } handles;
  const char* name = nullptr;
  for (size_t i = 0; i < next_; i++) {
    const Event& e = trace_.events_[i];
    const Modes modes(e.modes);
    std::vector<double> words = e.words;
    handles.room(e.tensors.size() + e.given.size());
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
    for (const Given& g : e.given) handles.push_back(js->buffer[g.at]);
    for (size_t g = 0; g < e.given.size(); g++) {
      const double handle = js->buffer[e.given[g].at];
      if (!trace_.program_.isMade(e.given[g].value)) continue;
      const at::Tensor& gave = e.given[g].tensor.defined() ? e.given[g].tensor : e.gave[g];
      again[gave.unsafeGetTensorImpl()] = handle;
    }
  }
  replaceTensors([&](const at::Tensor& t) -> const at::Tensor* {
    const auto found = again.find(t.unsafeGetTensorImpl());
    return found == again.end() ? nullptr : &get(found->second);
  });
  if (length > js->bufferLength) growBuffer(length);
  std::copy(message.begin(), message.end(), js->buffer);
}

}  // namespace nbit::program
