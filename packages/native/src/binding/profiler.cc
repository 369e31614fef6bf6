// libtorch's own profiler (Kineto): operators, ranges of the program's own, memory and, on a GPU, its kernels. The same
// collector that PyTorch's torch.profiler stands on, so the events and the trace file are the same.
#include "binding/core.h"
#include "entries/profiler.h"
#include "memory/reports.h"
#include "program/recorder.h"

#include <ATen/Context.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ApproximateClock.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <unordered_map>

namespace nbit {

std::atomic<bool> memoryReported{false};

namespace {

namespace kineto = torch::autograd::profiler;
using kineto::ActivityType;

// ---------------------------------------------------------------- memory
/** Bytes that each block was asked for: a free is to take away what its allocation added. */
struct Blocks {
  std::mutex mutex;
  std::unordered_map<void*, size_t> bytes;
};
Blocks blocks;

// ---------------------------------------------------------------- the profiler of an environment
/** Collecting is one at a time in a process: the environment that does. */
std::atomic<Environment*> collector{nullptr};

void stopReports() {
  memoryReported = false;
  const std::lock_guard<std::mutex> lock(blocks.mutex);
  blocks.bytes.clear();
}

struct Profiler {
  std::unique_ptr<kineto::ProfilerConfig> config;
  std::set<ActivityType> activities;
  std::unique_ptr<kineto::ProfilerResult> result;
  Environment* owner = nullptr;
  bool running = false;
  int64_t began = 0;
  std::unordered_map<uint64_t, std::unique_ptr<at::RecordFunction>> ranges;
  uint64_t lastRange = 0;

  std::unique_ptr<kineto::ProfilerResult> end() {
    running = false;
    if (owner != nullptr) --owner->watchers;
    stopReports();
    collector = nullptr;
    return kineto::disableProfiler();
  }
  ~Profiler() {
    ranges.clear();
    if (!running) {
      Environment* mine = owner;
      if (mine != nullptr) collector.compare_exchange_strong(mine, nullptr);
      return;
    }
    owner = nullptr;  // it is closing
    try {
      end();
    } catch (const std::exception&) {
      // Nobody is left to hear of it.
    }
  }
};
const EnvironmentLocal<Profiler> profilers;

/** Kineto writes a line to stderr for every beginning and end, unless somebody says how much it is to say. */
void quietKineto() {
  static std::once_flag once;
  std::call_once(once, [] { setenv("KINETO_LOG_LEVEL", "99", 0); });
}

constexpr int kCpu = 1, kCuda = 2;
std::set<ActivityType> activitiesOf(double bits) {
  const int b = static_cast<int>(wholeNumber(bits));
  std::set<ActivityType> activities;
  if (b & kCpu) activities.insert(ActivityType::CPU);
  if (b & kCuda) activities.insert(ActivityType::CUDA);
  if (activities.empty()) fail("ERR_ARGUMENT", "expected something to observe");
  return activities;
}

// ---------------------------------------------------------------- what was collected, as JSON
void writeText(std::string& o, const std::string& text) {
  o += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') (o += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20) o += ' ';
    else o += c;
  }
  o += '"';
}
void writeNumber(std::string& o, int64_t n) { (o += ',') += std::to_string(n); }

void writeShapes(std::string& o, c10::ArrayRef<std::vector<int64_t>> shapes) {
  o += '[';
  for (size_t i = 0; i < shapes.size(); i++) {
    o += i == 0 ? "[" : ",[";
    for (size_t j = 0; j < shapes[i].size(); j++) (o += j == 0 ? "" : ",") += std::to_string(shapes[i][j]);
    o += ']';
  }
  o += ']';
}
void writeDtypes(std::string& o, c10::ArrayRef<std::string> dtypes) {
  o += '[';
  for (size_t i = 0; i < dtypes.size(); i++) {
    if (i != 0) o += ',';
    writeText(o, dtypes[i]);
  }
  o += ']';
}

/** One event; its fields in the order of `RawEvent` (profiler/parse.ts). */
void writeEvent(std::string& o, const kineto::KinetoEvent& e, int64_t began) {
  o += '[';
  writeText(o, e.name());
  writeNumber(o, static_cast<int64_t>(e.startNs()) - began);
  writeNumber(o, static_cast<int64_t>(e.durationNs()));
  writeNumber(o, static_cast<int64_t>(e.startThreadId()));
  writeNumber(o, static_cast<int64_t>(e.fwdThreadId()));
  writeNumber(o, e.sequenceNr());
  writeNumber(o, e.scope());
  writeNumber(o, e.activityType());
  writeNumber(o, static_cast<int64_t>(e.deviceType()));
  writeNumber(o, e.deviceIndex());
  writeNumber(o, static_cast<int64_t>(e.correlationId()));
  writeNumber(o, static_cast<int64_t>(e.linkedCorrelationId()));
  writeNumber(o, e.isAsync() ? 1 : 0);
  writeNumber(o, e.nBytes());
  writeNumber(o, static_cast<int64_t>(e.flops()));
  o += ',';
  if (e.hasShapes()) writeShapes(o, e.shapes());
  else o += "null";
  o += ',';
  if (e.hasTypes()) writeDtypes(o, e.dtypes());
  else o += "null";
  o += ']';
}

}  // namespace

void reportAllocation(void* data, size_t bytes, int64_t live) {
  if (!c10::memoryProfilingEnabled()) return;  // another thread's
  {
    const std::lock_guard<std::mutex> lock(blocks.mutex);
    blocks.bytes[data] = bytes;
  }
  c10::reportMemoryUsageToProfiler(data, static_cast<int64_t>(bytes), static_cast<size_t>(live), 0,
                                   c10::Device(c10::kCPU));
}
void reportFree(void* data, int64_t live) {
  size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(blocks.mutex);
    const auto found = blocks.bytes.find(data);
    if (found == blocks.bytes.end()) return;  // of before
    bytes = found->second;
    blocks.bytes.erase(found);
  }
  if (c10::memoryProfilingEnabled())
    c10::reportMemoryUsageToProfiler(data, -static_cast<int64_t>(bytes), static_cast<size_t>(live), 0,
                                     c10::Device(c10::kCPU));
}

double entries::profilerActivities() { return kCpu | (at::hasCUDA() ? kCuda : 0); }

void entries::profilerPrepare(const Args& a) {
  auto activities = activitiesOf(a.number(0));
  const auto options = a.integer(1);
  Profiler& p = profilers();
  quietKineto();
  Environment* none = nullptr;
  if (!collector.compare_exchange_strong(none, js) && !(none == js && !p.running))
    fail("PROFILER_NESTED", "a profiler is running already, and a process has one at a time: stop it first");
  p.owner = js;
  p.result.reset();
  p.activities = std::move(activities);
  const auto state = (options & 8) != 0    ? kineto::ProfilerState::NVTX
                     : (options & 16) != 0 ? kineto::ProfilerState::ITT
                                           : kineto::ProfilerState::KINETO;
  p.config = std::make_unique<kineto::ProfilerConfig>(state, (options & 1) != 0, (options & 2) != 0, false,
                                                      (options & 4) != 0, false);
  try {
    kineto::prepareProfiler(*p.config, p.activities);
  } catch (...) {
    collector = nullptr;
    throw;
  }
}
void entries::profilerStart() {
  Profiler& p = profilers();
  if (p.running || collector != js || !p.config) fail("PROFILER_STATE", "the profiler is not prepared");
  program::needsGraph("operators are profiled");
  kineto::enableProfiler(*p.config, p.activities);
  p.began = c10::getTime();
  p.running = true;
  ++js->watchers;
  if (p.config->profile_memory) memoryReported = true;
}
std::string entries::profilerStop() {
  Profiler& p = profilers();
  if (!p.running) {
    if (collector == js) collector = nullptr;  // prepared only
    return std::string("{\"events\":[]}");
  }
  const int64_t began = p.began;
  p.result = p.end();
  if (!p.result) return std::string("{\"events\":[]}");  // marks alone
  std::string o = "{\"events\":[";
  bool first = true;
  for (const kineto::KinetoEvent& event : p.result->events()) {
    if (!first) o += ',';
    first = false;
    writeEvent(o, event, began);
  }
  return o + "]}";
}
void entries::profilerSave(const Args& a) {
  const std::string path = a.text(0);
  Profiler& p = profilers();
  if (!p.result) fail("PROFILER_STATE", "there is no trace: it was saved, or another began");
  p.result->save(path);
  p.result.reset();
}
void entries::profilerForget() {
  Profiler& p = profilers();
  if (p.running) p.end();
  if (collector == js) collector = nullptr;
  p.result.reset();
}
void entries::profilerToggle(const Args& a) {
  const bool on = a.flag(0);
  const auto activities = activitiesOf(a.number(1));
  if (profilers().running) kineto::toggleCollectionDynamic(on, activities);
}
double entries::profilerClock() { return static_cast<double>(c10::getTime() - profilers().began); }

double entries::recordFunctionEnter(const Args& a) {
  auto range = std::make_unique<at::RecordFunction>(at::RecordScope::USER_SCOPE);
  if (!range->isActive()) return 0;
  range->before(a.text(0));
  Profiler& p = profilers();
  p.ranges.emplace(++p.lastRange, std::move(range));
  return static_cast<double>(p.lastRange);
}
void entries::recordFunctionExit(const Args& a) {
  profilers().ranges.erase(static_cast<uint64_t>(a.integer(0)));  // its destructor ends it
}

}  // namespace nbit
