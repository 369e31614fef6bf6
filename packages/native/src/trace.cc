// Tracing: RecordFunction callbacks that exist only while a trace runs, so that a run without one pays nothing.
#include "core.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>

#include <chrono>
#include <memory>
#include <mutex>

namespace nbit {
namespace {

using Clock = std::chrono::steady_clock;

struct Event {
  std::string name;
  int depth = 0;
  bool backward = false;
  int64_t sequence = -1;
  std::string inputs;   // JSON
  std::string outputs;  // JSON
  double start = 0;     // seconds since the trace began
  double seconds = 0;
};
constexpr size_t kMaxEvents = 1 << 20;
std::mutex eventsMutex;
std::vector<Event> events;
size_t dropped = 0;
Clock::time_point began;
at::CallbackHandle callback = 0;
bool tracing = false;
bool checking = false;  // also read every value, to find where one stopped being finite
thread_local int depth = 0;

// 0: all finite (or not a number that could be otherwise). 1: infinity. 2: NaN.
int badness(const at::Tensor& t) {
  if (!t.is_floating_point() || t.layout() != c10::kStrided || t.numel() == 0 || t.is_meta()) return 0;
  const at::DisableRecordFunctionGuard unseen;
  const at::NoGradGuard noGrad;
  const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
  try {
    if (at::isfinite(t).all().item<bool>()) return 0;
    return at::isnan(t).any().item<bool>() ? 2 : 1;
  } catch (const std::exception&) {
    return 0;  // dtypes without arithmetic (float8, packed ones)
  }
}

// Memory that nobody has written yet holds anything.
bool isUninitialised(const std::string& name) {
  return name.find("::empty") != std::string::npos || name.find("::new_empty") != std::string::npos || name.find("::resize_") != std::string::npos || name.find("::set_") != std::string::npos;
}

void describeTensor(std::string& o, const at::Tensor& t, bool check) {
  if (!t.defined()) {
    o += "null";
    return;
  }
  o += "{\"dtype\":" + std::to_string(static_cast<int>(t.scalar_type())) + ",\"device\":" + std::to_string(static_cast<int>(encodeDevice(t.device()))) + ",\"shape\":[";
  bool first = true;
  for (auto s : t.sizes()) {
    o += (first ? "" : ",") + std::to_string(s);
    first = false;
  }
  o += "]";
  if (checking) o += ",\"id\":" + std::to_string(reinterpret_cast<uintptr_t>(t.unsafeGetTensorImpl())) + ",\"bad\":" + std::to_string(check ? badness(t) : 0);
  o += "}";
}
// Tensors only, lists of tensors flattened: what a precision report asks for.
template <class Values>
std::string describeValues(const Values& values, bool check) {
  std::string o = "[";
  for (const c10::IValue& v : values) {
    if (v.isTensor()) {
      if (o.size() > 1) o += ",";
      describeTensor(o, v.toTensor(), check);
    } else if (v.isTensorList()) {
      for (const at::Tensor t : v.toTensorList()) {
        if (o.size() > 1) o += ",";
        describeTensor(o, t, check);
      }
    }
  }
  return o + "]";
}

struct Started : at::ObserverContext {
  size_t index;
  Clock::time_point at;
};

std::unique_ptr<at::ObserverContext> onStart(const at::RecordFunction& fn) {
  Event e;
  e.name = fn.name();  // copied: a node's name dies with the node
  e.depth = depth++;
  e.backward = fn.scope() == at::RecordScope::BACKWARD_FUNCTION;
  e.sequence = fn.seqNr();
  e.inputs = describeValues(fn.inputs(), !isUninitialised(e.name));
  auto started = std::make_unique<Started>();
  started->at = Clock::now();
  e.start = std::chrono::duration<double>(started->at - began).count();
  std::lock_guard<std::mutex> lock(eventsMutex);
  if (events.size() < kMaxEvents) {
    started->index = events.size();
    events.push_back(std::move(e));
  } else {
    started->index = SIZE_MAX;
    ++dropped;
  }
  return started;
}
void onEnd(const at::RecordFunction& fn, at::ObserverContext* context) {
  --depth;
  auto* started = static_cast<Started*>(context);
  const double seconds = std::chrono::duration<double>(Clock::now() - started->at).count();
  std::string outputs = describeValues(fn.outputs(), !isUninitialised(fn.name()));
  std::lock_guard<std::mutex> lock(eventsMutex);
  if (started->index >= events.size()) return;
  events[started->index].seconds = seconds;
  events[started->index].outputs = std::move(outputs);
}
}  // namespace

// (check the values too?)
NBIT_FN(traceStart) {
  Args a(env, info);
  NBIT_TRY
  const bool check = a.count > 0 && a.flag(0);
  if (tracing) fail("TRACE_NESTED", "a trace is already running: traces do not nest");
  events.clear();
  dropped = 0;
  depth = 0;
  checking = check;
  began = Clock::now();
  callback = at::addGlobalCallback(at::RecordFunctionCallback(onStart, onEnd).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  tracing = true;
  return nullptr;
  NBIT_CATCH("trace")
}
// → the number of events so far; lets JavaScript note where a module begins and ends
NBIT_FN(traceMark) {
  (void)info;
  std::lock_guard<std::mutex> lock(eventsMutex);
  return toJs(env, static_cast<double>(events.size()));
}
// → JSON list of events
NBIT_FN(traceStop) {
  (void)info;
  NBIT_TRY
  if (!tracing) return toJs(env, std::string("{\"dropped\":0,\"events\":[]}"));
  at::removeCallback(callback);
  tracing = false;
  std::lock_guard<std::mutex> lock(eventsMutex);
  std::string o = "{\"dropped\":" + std::to_string(dropped) + ",\"events\":[";
  bool first = true;
  for (const auto& e : events) {
    if (!first) o += ",";
    first = false;
    std::string name;
    for (char c : e.name) {
      if (c == '"' || c == '\\') name += '\\';
      name += c;
    }
    o += "{\"name\":\"" + name + "\",\"depth\":" + std::to_string(e.depth) + ",\"backward\":" + (e.backward ? "true" : "false") + ",\"sequence\":" + std::to_string(e.sequence) + ",\"start\":" +
         std::to_string(e.start) + ",\"seconds\":" + std::to_string(e.seconds) + ",\"inputs\":" + e.inputs + ",\"outputs\":" + (e.outputs.empty() ? "[]" : e.outputs) + "}";
  }
  events.clear();
  events.shrink_to_fit();
  return toJs(env, o + "]}");
  NBIT_CATCH("trace")
}

std::vector<Entry> traceEntries() { return {{"traceStart", traceStart}, {"traceMark", traceMark}, {"traceStop", traceStop}}; }

}  // namespace nbit
