// The first step of a signature: JavaScript's calls, noted down with what they do below autograd.
#include "amp/policy.h"
#include "binding/dispatch.h"
#include "program/calls.h"
#include "program/session.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <algorithm>

namespace nbit::program {

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

void Session::recordBackward(const std::function<void()>& eagerly) {
  Event e = begin(0, true);
  std::vector<at::Tensor> leaves;
  for (const Value& v : recorder_->program.values)
    if (v.tensor.defined() && v.tensor.requires_grad() && v.tensor.is_leaf()) leaves.push_back(v.tensor);
  std::vector<int32_t> before;
  for (const at::Tensor& leaf : leaves) before.push_back(leaf.grad().defined() ? recorder_->know(leaf.grad()) : -1);
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
  for (size_t i = 0; i < leaves.size(); i++) {
    const at::Tensor& leaf = leaves[i];
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

}  // namespace nbit::program
