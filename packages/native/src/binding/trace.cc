// Tracing: RecordFunction callbacks that exist only while a trace runs, so that a run without one pays nothing.
#include "binding/core.h"
#include "entries/trace.h"
#include "program/recorder.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>

#include <chrono>
#include <cmath>
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
  std::string all;      // JSON of every argument by position; empty where nobody asked
  double start = 0;     // seconds since the trace began
  double seconds = 0;
};
constexpr size_t kMaxEvents = 1 << 20;

/** The trace of an environment; operators of its backward may come from threads of autograd. */
struct Trace {
  std::mutex mutex;
  std::vector<Event> events;
  size_t dropped = 0;
  Clock::time_point began;
  at::CallbackHandle callback = 0;
  bool running = false;
  bool checking = false;    // also read every value, to find where one stopped being finite
  bool everything = false;  // also list arguments that are no tensors
};
const EnvironmentLocal<Trace> traces;
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
  return name.find("::empty") != std::string::npos || name.find("::new_empty") != std::string::npos ||
         name.find("::resize_") != std::string::npos || name.find("::set_") != std::string::npos;
}

void describeTensor(std::string& o, const at::Tensor& t, bool checking, bool check) {
  if (!t.defined()) {
    o += "null";
    return;
  }
  o += "{\"dtype\":" + std::to_string(static_cast<int>(t.scalar_type())) +
       ",\"device\":" + std::to_string(static_cast<int>(encodeDevice(t.device()))) + ",\"shape\":[";
  bool first = true;
  for (auto s : t.sizes()) {
    o += (first ? "" : ",") + std::to_string(s);
    first = false;
  }
  o += "]";
  if (checking)
    o += ",\"id\":" + std::to_string(reinterpret_cast<uintptr_t>(t.unsafeGetTensorImpl())) +
         ",\"bad\":" + std::to_string(check ? badness(t) : 0);
  o += "}";
}
// Tensors only, lists of tensors flattened: what a precision report asks for.
template <class Values>
std::string describeValues(const Values& values, bool checking, bool check) {
  std::string o = "[";
  for (const c10::IValue& v : values) {
    if (v.isTensor()) {
      if (o.size() > 1) o += ",";
      describeTensor(o, v.toTensor(), checking, check);
    } else if (v.isTensorList()) {
      for (const at::Tensor t : v.toTensorList()) {
        if (o.size() > 1) o += ",";
        describeTensor(o, t, checking, check);
      }
    }
  }
  return o + "]";
}

void describeArgument(std::string& o, const c10::IValue& v) {
  const auto list = [&](const auto& items) {
    o += "[";
    bool first = true;
    for (const c10::IValue item : items) {
      if (!first) o += ",";
      first = false;
      describeArgument(o, item);
    }
    o += "]";
  };
  if (v.isTensor() && v.toTensor().defined()) list(v.toTensor().sizes().vec());
  else if (v.isBool()) o += v.toBool() ? "true" : "false";
  else if (v.isInt()) o += std::to_string(v.toInt());
  else if (v.isDouble() && std::isfinite(v.toDouble())) o += std::to_string(v.toDouble());
  else if (v.isList()) list(v.toListRef());
  else o += "null";
}
/** Every argument by position: a tensor as its shape. */
template <class Values>
std::string describeArguments(const Values& values) {
  std::string o = "[";
  for (const c10::IValue& v : values) {
    if (o.size() > 1) o += ",";
    describeArgument(o, v);
  }
  return o + "]";
}

struct Started : at::ObserverContext {
  Trace* trace;
  size_t index;
  Clock::time_point at;
};

std::unique_ptr<at::ObserverContext> onStart(const at::RecordFunction& fn) {
  Environment* const here = workingFor();
  if (here == nullptr || here->watchers == 0) return nullptr;
  Trace& trace = traces.of(*here);
  Event e;
  e.name = fn.name();  // copied: a node's name dies with the node
  e.depth = depth++;
  e.backward = fn.scope() == at::RecordScope::BACKWARD_FUNCTION;
  e.sequence = fn.seqNr();
  e.inputs = describeValues(fn.inputs(), trace.checking, !isUninitialised(e.name));
  if (trace.everything) e.all = describeArguments(fn.inputs());
  auto started = std::make_unique<Started>();
  started->at = Clock::now();
  e.start = std::chrono::duration<double>(started->at - trace.began).count();
  started->trace = &trace;
  std::lock_guard<std::mutex> lock(trace.mutex);
  if (trace.events.size() < kMaxEvents) {
    started->index = trace.events.size();
    trace.events.push_back(std::move(e));
  } else {
    started->index = SIZE_MAX;
    ++trace.dropped;
  }
  return started;
}
void onEnd(const at::RecordFunction& fn, at::ObserverContext* context) {
  if (context == nullptr) return;
  --depth;
  auto* started = static_cast<Started*>(context);
  Trace& trace = *started->trace;
  const double seconds = std::chrono::duration<double>(Clock::now() - started->at).count();
  std::string outputs = describeValues(fn.outputs(), trace.checking, !isUninitialised(fn.name()));
  std::lock_guard<std::mutex> lock(trace.mutex);
  if (started->index >= trace.events.size()) return;
  trace.events[started->index].seconds = seconds;
  trace.events[started->index].outputs = std::move(outputs);
}
}  // namespace

void entries::traceStart(const Args& a) {
  const bool check = a.count > 0 && a.flag(0);
  const bool everything = a.count > 1 && a.flag(1);
  program::needsGraph("operators are traced");
  Trace& trace = traces();
  if (trace.running) fail("TRACE_NESTED", "a trace is already running: traces do not nest");
  trace.events.clear();
  trace.dropped = 0;
  depth = 0;
  trace.checking = check;
  trace.everything = everything;
  trace.began = Clock::now();
  // This thread's: others go on unseen. Autograd hands it on to the threads of a backward.
  trace.callback =
      at::addThreadLocalCallback(at::RecordFunctionCallback(onStart, onEnd)
                                     .needsInputs(true)
                                     .needsOutputs(true)
                                     .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  trace.running = true;
  ++js->watchers;
}
double entries::traceMark() {
  Trace& trace = traces();
  std::lock_guard<std::mutex> lock(trace.mutex);
  return static_cast<double>(trace.events.size());
}
std::string entries::traceStop() {
  Trace& trace = traces();
  if (!trace.running) return std::string("{\"dropped\":0,\"events\":[]}");
  at::removeCallback(trace.callback);
  trace.running = false;
  --js->watchers;
  std::lock_guard<std::mutex> lock(trace.mutex);
  std::string o = "{\"dropped\":" + std::to_string(trace.dropped) + ",\"events\":[";
  bool first = true;
  for (const auto& e : trace.events) {
    if (!first) o += ",";
    first = false;
    std::string name;
    for (char c : e.name) {
      if (c == '"' || c == '\\') name += '\\';
      name += c;
    }
    o += "{\"name\":\"" + name + "\",\"depth\":" + std::to_string(e.depth) +
         ",\"backward\":" + (e.backward ? "true" : "false") + ",\"sequence\":" + std::to_string(e.sequence) +
         ",\"start\":" + std::to_string(e.start) + ",\"seconds\":" + std::to_string(e.seconds) +
         (e.all.empty() ? "" : ",\"arguments\":" + e.all) + ",\"inputs\":" + e.inputs +
         ",\"outputs\":" + (e.outputs.empty() ? "[]" : e.outputs) + "}";
  }
  trace.events.clear();
  trace.events.shrink_to_fit();
  return o + "]}";
}

}  // namespace nbit
