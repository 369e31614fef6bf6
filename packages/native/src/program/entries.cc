// Recorded steps for JavaScript, by id.
#include "amp/autocast.h"
#include "binding/core.h"
#include "binding/registry.h"
#include "entries/program.h"
#include "program/executable.h"
#include "program/recorder.h"
#include "program/session.h"
#include "program/text.h"

namespace nbit {
namespace {

/** One whole step: what runs again is the program alone. */
struct Recorded {
  program::Program program;
  program::Arena arena;
  std::unique_ptr<program::Executable> executable;
  std::vector<int32_t> results;
  std::vector<std::pair<at::Tensor, int32_t>> gradients;
  std::vector<at::Tensor> written;
};
struct Programs {
  Registry<Recorded> all;
  program::Sharing sharing;
  Registry<program::Trace> traces;
  std::unique_ptr<program::Recorder> recorder;
  std::unique_ptr<program::Session> session;
  std::string refusal;
  napi_ref onRefusal = nullptr;
  napi_ref onNoted = nullptr;
};
const EnvironmentLocal<Programs> programs;

void forget(napi_ref& callback) {
  if (callback != nullptr) napi_delete_reference(js->env, callback);
  callback = nullptr;
}
/** Also in the middle of an operator: what JavaScript does here is look at its own stack. */
void call(napi_ref callback) {
  napi_value fn = nullptr, global = nullptr, result = nullptr;
  if (callback == nullptr || napi_get_reference_value(js->env, callback, &fn) != napi_ok) return;
  napi_get_global(js->env, &global);
  // What it throws is not the business of whoever is at work here.
  if (napi_call_function(js->env, global, fn, 0, nullptr, &result) != napi_ok)
    napi_get_and_clear_last_exception(js->env, &result);
}
void tell() { call(programs().onRefusal); }
std::vector<at::Tensor> listed(int64_t n) {
  const double* list = numbers(n);
  std::vector<at::Tensor> tensors;
  for (int64_t i = 0; i < n; i++) tensors.push_back(get(list[i]));
  return tensors;
}
Recorded& recordedAt(double id) { return programs().all.at(id, "recorded step"); }

void write(const program::Counts& c) {
  Writer out(7);
  for (const int64_t n : {c.operators, c.steps, c.straight, c.folded, c.allocating}) out.number(static_cast<double>(n));
  out.number(static_cast<double>(c.arenaBytes));
  out.number(static_cast<double>(c.ownBytes));
}

}  // namespace

void entries::programBegin(const Args& a) {
  Programs& p = programs();
  if (program::recording != nullptr || program::session != nullptr)
    fail("PROGRAM_NESTED", "a step is being recorded or replayed already: steps do not nest");
  p.recorder = std::make_unique<program::Recorder>();
  p.recorder->onRefusal = tell;
  p.recorder->runs = a.flag(0);
  program::recording = p.recorder.get();
  program::listen(true);
}
void entries::programNoted(const Args& a) {
  forget(programs().onNoted);
  programs().onNoted = a.function(0);
  if (program::recording == nullptr) fail("ERR_ARGUMENT", "expected a recording that has begun");
  program::recording->onNoted = [] { call(programs().onNoted); };
}
double entries::programEnd(const Args& a) {
  Programs& p = programs();
  if (p.recorder == nullptr) fail("ERR_ARGUMENT", "expected a recording that has begun");
  const int64_t parameters = a.integer(0);
  const int64_t results = a.integer(1);
  const auto tensors = listed(parameters + results);
  program::listen(false);
  program::recording = nullptr;
  forget(p.onNoted);
  const auto recorder = std::move(p.recorder);
  p.refusal = recorder->refusal();
  if (!p.refusal.empty()) return 0.0;
  auto recorded = std::make_unique<Recorded>();
  recorded->program = std::move(recorder->program);
  for (int64_t i = 0; i < parameters; i++) {
    const at::Tensor& parameter = tensors[static_cast<size_t>(i)];
    if (!parameter.grad().defined()) continue;
    const int32_t v = program::find(recorded->program, parameter.grad());
    if (v >= 0 && recorded->program.isMade(v)) recorded->gradients.emplace_back(parameter, v);
  }
  for (int64_t i = parameters; i < parameters + results; i++)
    recorded->results.push_back(program::find(recorded->program, tensors[static_cast<size_t>(i)]));
  for (const auto& v : recorded->program.values)
    if (v.tensor.defined() && recorded->program.buffers[v.buffer].written && !v.tensor.is_inference())
      recorded->written.push_back(v.tensor);
  return p.all.add(std::move(recorded));
}
std::string entries::programRefusal() { return programs().refusal; }
void entries::programPlan(const Args& a) {
  Recorded& r = recordedAt(a.number(0));
  if (r.executable == nullptr) {
    const size_t n = r.program.buffers.size();
    program::Placement placement{std::vector<bool>(n), std::vector<bool>(n), std::vector<uint32_t>(n)};
    const auto outlives = [&](int32_t v) {
      if (v >= 0) placement.outlives[r.program.values[v].buffer] = true;
    };
    for (const int32_t v : r.results) outlives(v);
    for (const auto& [parameter, v] : r.gradients) outlives(v);
    r.executable = std::make_unique<program::Executable>(r.program, std::move(placement), r.arena);
  }
  write(r.executable->counts());
}
void entries::programRun(const Args& a) {
  Recorded& r = recordedAt(a.number(0));
  if (r.executable == nullptr) fail("ERR_ARGUMENT", "expected a recorded step that is planned");
  if (!r.executable->isWhereItWas())
    fail("PROGRAM_MEMORY_MOVED", "the memory of a tensor that a recorded step uses is another now. Record it again.");
  // As zeroGrad does: two sets of gradients never live at once.
  for (const auto& [parameter, v] : r.gradients) parameter.mutable_grad().reset();
  r.executable->run(0, static_cast<uint32_t>(r.program.operations.size()));
  for (const auto& [parameter, v] : r.gradients) parameter.mutable_grad() = r.executable->tensor(v).detach();
  for (const at::Tensor& t : r.written) t.unsafeGetTensorImpl()->bump_version();
  forgetCasts();
  Writer out(r.results.size(), r.results.size());
  for (const int32_t v : r.results)
    if (v < 0) out.number(0);
    else out.tensor(r.executable->tensor(v).detach());
  r.executable->finish();
}
std::string entries::programText(const Args& a) { return program::toText(recordedAt(a.number(0)).program); }
double entries::programExternal(const Args& a) {
  const program::Program& p = recordedAt(a.number(0)).program;
  const int64_t v = a.integer(1);
  if (v < 0 || v >= static_cast<int64_t>(p.values.size()) || !p.values[static_cast<size_t>(v)].tensor.defined())
    return 0.0;
  return newHandle(p.values[static_cast<size_t>(v)].tensor.detach());
}
double entries::programValue(const Args& a) { return program::find(recordedAt(a.number(0)).program, get(a.number(1))); }
void entries::programFree(const Args& a) { programs().all.remove(a.number(0)); }

double entries::replayCreate() { return programs().traces.add(std::make_unique<program::Trace>(programs().sharing)); }
void entries::replayTell(const Args& a) {
  forget(programs().onRefusal);
  programs().onRefusal = a.function(0);
}
double entries::replayOpen(const Args& a) {
  Programs& p = programs();
  program::Trace& trace = p.traces.at(a.number(0), "replay");
  p.session.reset();
  const auto inputs = listed(a.integer(1));
  try {
    p.session = std::make_unique<program::Session>(trace, inputs, tell);
  } catch (const c10::OutOfMemoryError&) {
    return 0.0;  // the step may do without
  } catch (const std::bad_alloc&) { return 0.0; }
  return p.session->isOfAnotherForm() ? 2.0 : p.session->replays() ? 1.0 : 0.0;
}
double entries::replayClose() {
  Programs& p = programs();
  if (p.session == nullptr) return 0.0;
  const bool replayed = p.session->close();
  p.session.reset();
  return replayed ? 1.0 : 0.0;
}
std::string entries::replayReason(const Args& a) { return programs().traces.at(a.number(0), "replay").reason; }
void entries::replayCounts(const Args& a) {
  const program::Trace& trace = programs().traces.at(a.number(0), "replay");
  write(trace.counts());
  js->buffer[7] = trace.state == program::Trace::State::refused;
  js->buffer[8] = static_cast<double>(trace.replayed);
  js->buffer[9] = static_cast<double>(trace.left);
}
std::string entries::replayText(const Args& a) {
  return program::toText(programs().traces.at(a.number(0), "replay").program());
}
void entries::replayRest() {
  Programs& p = programs();
  if (program::session != nullptr) fail("PROGRAM_NESTED", "a step is being recorded or replayed");
  for (program::Trace* trace : p.sharing.traces) trace->rest();
  p.sharing.arena.rest();
}
void entries::replayFree(const Args& a) {
  Programs& p = programs();
  p.session.reset();
  p.traces.remove(a.number(0));
}

}  // namespace nbit
