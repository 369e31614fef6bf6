// Replays that follow JavaScript: whether a call is the recorded one, and what it returns.
#include "amp/policy.h"
#include "program/calls.h"
#include "program/session.h"

namespace nbit::program {

bool Session::takes(int32_t value, const at::Tensor& t, const char*& why) {
  const Value& v = trace_.program_.values[value];
  const bool external = !trace_.program_.isMade(value);
  const at::Tensor& now = trace_.executable_->tensor(value);
  if (now.defined() && t.has_storage() && now.storage().unsafeGetStorageImpl() == t.storage().unsafeGetStorageImpl() &&
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

}  // namespace nbit::program
