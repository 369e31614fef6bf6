// What only a CUDA libtorch has: devices, streams, events, memory statistics, whole-step graphs. Compiled only against such a libtorch.
#include "branches.h"
#include "core.h"
#include "weight_casts.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <memory>

namespace nbit {
namespace {

using c10::cuda::CUDACachingAllocator::DeviceStats;
using c10::CachingAllocator::StatType;

// Streams, events and graphs that JavaScript holds, by id.
template <class T>
class Registry {
 public:
  double add(std::unique_ptr<T> item) {
    items_.emplace(++last_, std::move(item));
    return last_;
  }
  T& at(double id, const char* what) {
    auto found = items_.find(id);
    if (found == items_.end()) fail("ERR_ARGUMENT", std::string("expected a ") + what + " that is in use");
    return *found->second;
  }
  void remove(double id) { items_.erase(id); }

 private:
  std::map<double, std::unique_ptr<T>> items_;
  double last_ = 0;
};
/**
 * Where this thread's graphs are warmed up and recorded: one stream a device, for as long as the thread lives. Streams of libtorch's pool would be another for each graph, and with each came workspaces of
 * cuBLAS (some 32 MiB) that nobody gives back.
 */
c10::cuda::CUDAStream recordingStream() {
  thread_local std::map<c10::DeviceIndex, cudaStream_t> made;
  const c10::DeviceIndex device = c10::cuda::current_device();
  cudaStream_t& stream = made[device];
  if (stream == nullptr) C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return c10::cuda::getStreamFromExternal(stream, device);
}
struct Capture {
  at::cuda::CUDAGraph graph;
  decltype(at::cuda::graph_pool_handle()) pool;
  c10::cuda::CUDAStream side;  // where it is recorded: of one pool, memory is reused on one stream only
  c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream();

  Capture(decltype(pool) memory, c10::cuda::CUDAStream stream) : pool(memory), side(stream) { ++alive; }
  ~Capture() { --alive; }
  static inline std::atomic<int> alive{0};  // of all threads
  static std::unique_ptr<Capture> alone() { return std::make_unique<Capture>(at::cuda::graph_pool_handle(), recordingStream()); }
  std::unique_ptr<Capture> sibling() const { return std::make_unique<Capture>(pool, side); }
};
// Those of an environment. At the end of the process they stay: the driver may be gone before them.
const EnvironmentLocal<Registry<c10::cuda::CUDAStream>> streamsHere;
const EnvironmentLocal<Registry<at::cuda::CUDAEvent>> eventsHere;
const EnvironmentLocal<Registry<Capture>> graphsHere;

}  // namespace

// (index) → { name, major, minor, totalMemory, multiprocessors, l2CacheSize }
NBIT_FN(cudaProperties) {
  Args a(env, info);
  NBIT_TRY
  const auto* p = at::cuda::getDeviceProperties(a.deviceIndex(0));
  napi_value o;
  napi_create_object(env, &o);
  napi_set_named_property(env, o, "name", toJs(env, std::string(p->name)));
  napi_set_named_property(env, o, "major", toJs(env, static_cast<double>(p->major)));
  napi_set_named_property(env, o, "minor", toJs(env, static_cast<double>(p->minor)));
  napi_set_named_property(env, o, "totalMemory", toJs(env, static_cast<double>(p->totalGlobalMem)));
  napi_set_named_property(env, o, "multiprocessors", toJs(env, static_cast<double>(p->multiProcessorCount)));
  napi_set_named_property(env, o, "l2CacheSize", toJs(env, static_cast<double>(p->l2CacheSize)));
  return o;
  NBIT_CATCH("cuda")
}
NBIT_FN(cudaVersions) {
  NBIT_TRY
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  js->buffer[0] = runtime;
  js->buffer[1] = driver;
  return nullptr;
  NBIT_CATCH("cuda")
}
NBIT_FN(cudaSynchronize_) {
  Args a(env, info);
  NBIT_TRY
  const c10::cuda::CUDAGuard guard(a.deviceIndex(0));
  c10::cuda::device_synchronize();
  return nullptr;
  NBIT_CATCH("cuda.synchronize")
}
NBIT_FN(cudaCurrentDevice) {
  NBIT_TRY
  return toJs(env, static_cast<double>(c10::cuda::current_device()));
  NBIT_CATCH("cuda")
}
NBIT_FN(cudaSetDevice_) {
  Args a(env, info);
  NBIT_TRY
  c10::cuda::set_device(a.deviceIndex(0));
  return nullptr;
  NBIT_CATCH("cuda")
}
// (index) → buffer: allocated, peak allocated, reserved, peak reserved, device free, device total, allocation retries, out-of-memory errors
NBIT_FN(cudaMemory) {
  Args a(env, info);
  NBIT_TRY
  const auto index = a.deviceIndex(0);
  const c10::cuda::CUDAGuard guard(index);
  const auto all = static_cast<size_t>(StatType::AGGREGATE);
  DeviceStats s{};
  if (c10::cuda::CUDACachingAllocator::get()->initialized()) s = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  const double values[] = {static_cast<double>(s.allocated_bytes[all].current), static_cast<double>(s.allocated_bytes[all].peak), static_cast<double>(s.reserved_bytes[all].current),
                           static_cast<double>(s.reserved_bytes[all].peak), static_cast<double>(free), static_cast<double>(total), static_cast<double>(s.num_alloc_retries), static_cast<double>(s.num_ooms)};
  for (size_t i = 0; i < 8; i++) js->buffer[i] = values[i];
  return nullptr;
  NBIT_CATCH("cuda.memory")
}
NBIT_FN(cudaResetPeak) {
  Args a(env, info);
  NBIT_TRY
  c10::cuda::CUDACachingAllocator::resetPeakStats(a.deviceIndex(0));
  return nullptr;
  NBIT_CATCH("cuda.memory")
}
NBIT_FN(cudaEmptyCache) {
  NBIT_TRY
  c10::cuda::CUDACachingAllocator::emptyCache();
  return nullptr;
  NBIT_CATCH("cuda.emptyCache")
}
// → whether the workspaces of cuBLAS and cuBLASLt were given back to the allocator. A graph may have recorded them, so they stay while there is one; the next product makes new ones.
NBIT_FN(cudaClearWorkspaces) {
  NBIT_TRY
  const bool unused = Capture::alive == 0;
  if (unused) at::cuda::clearCublasWorkspaces();
  return toJs(env, unused);
  NBIT_CATCH("cuda.clearCublasWorkspaces")
}
// (fraction, index): tensors may take this share of the device's memory
NBIT_FN(cudaMemoryFraction) {
  Args a(env, info);
  NBIT_TRY
  const auto index = a.deviceIndex(1);
  const c10::cuda::CUDAGuard guard(index);
  at::globalContext().lazyInitDevice(at::kCUDA);
  c10::cuda::CUDACachingAllocator::setMemoryFraction(a.number(0), index);
  return nullptr;
  NBIT_CATCH("cuda.memory")
}
// (mode): 0 silent, 1 warn, 2 throw on every operation that makes the host wait for the device
NBIT_FN(cudaSyncDebug) {
  Args a(env, info);
  NBIT_TRY
  c10::cuda::warning_state().set_sync_debug_mode(static_cast<c10::cuda::SyncDebugMode>(codeBelow(a.number(0), 3, "a mode")));
  return nullptr;
  NBIT_CATCH("cuda")
}

// ---------------------------------------------------------------- streams and events
NBIT_FN(streamCreate) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, streamsHere().add(std::make_unique<c10::cuda::CUDAStream>(c10::cuda::getStreamFromPool(a.flag(1), a.deviceIndex(0)))));
  NBIT_CATCH("Stream")
}
NBIT_FN(streamCurrent) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, streamsHere().add(std::make_unique<c10::cuda::CUDAStream>(c10::cuda::getCurrentCUDAStream(a.deviceIndex(0)))));
  NBIT_CATCH("Stream")
}
NBIT_FN(streamSetCurrent) {
  Args a(env, info);
  NBIT_TRY
  c10::cuda::setCurrentCUDAStream(streamsHere().at(a.number(0), "stream"));
  return nullptr;
  NBIT_CATCH("Stream")
}
NBIT_FN(streamSynchronize) {
  Args a(env, info);
  NBIT_TRY
  streamsHere().at(a.number(0), "stream").synchronize();
  return nullptr;
  NBIT_CATCH("Stream")
}
NBIT_FN(streamQuery) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, streamsHere().at(a.number(0), "stream").query());
  NBIT_CATCH("Stream")
}
// (tensor, id): the tensor's memory is given to others only when this stream has passed what it is given until then
NBIT_FN(streamUses) {
  Args a(env, info);
  NBIT_TRY
  const at::Tensor& t = get(a.number(0));
  if (!t.is_cuda()) fail("ERR_ARGUMENT", "expected a tensor on a CUDA device");
  c10::cuda::CUDACachingAllocator::recordStream(t.storage().data_ptr(), streamsHere().at(a.number(1), "stream"));
  return nullptr;
  NBIT_CATCH("Stream")
}
NBIT_FN(streamFree) {
  Args a(env, info);
  NBIT_TRY
  streamsHere().remove(a.number(0));
  return nullptr;
  NBIT_CATCH("Stream")
}
NBIT_FN(eventCreate) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, eventsHere().add(std::make_unique<at::cuda::CUDAEvent>(a.flag(0) ? cudaEventDefault : cudaEventDisableTiming)));
  NBIT_CATCH("Event")
}
NBIT_FN(eventRecord) {
  Args a(env, info);
  NBIT_TRY
  at::cuda::CUDAEvent& e = eventsHere().at(a.number(0), "event");
  if (a.number(1) > 0) e.record(streamsHere().at(a.number(1), "stream")); else e.record();
  return nullptr;
  NBIT_CATCH("Event")
}
NBIT_FN(eventWait) {
  Args a(env, info);
  NBIT_TRY
  eventsHere().at(a.number(0), "event").block(a.number(1) > 0 ? streamsHere().at(a.number(1), "stream") : c10::cuda::getCurrentCUDAStream());
  return nullptr;
  NBIT_CATCH("Event")
}
NBIT_FN(eventSynchronize) {
  Args a(env, info);
  NBIT_TRY
  eventsHere().at(a.number(0), "event").synchronize();
  return nullptr;
  NBIT_CATCH("Event")
}
NBIT_FN(eventQuery) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, eventsHere().at(a.number(0), "event").query());
  NBIT_CATCH("Event")
}
NBIT_FN(eventElapsed) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, static_cast<double>(eventsHere().at(a.number(0), "event").elapsed_time(eventsHere().at(a.number(1), "event"))));
  NBIT_CATCH("Event")
}
NBIT_FN(eventFree) {
  Args a(env, info);
  NBIT_TRY
  eventsHere().remove(a.number(0));
  return nullptr;
  NBIT_CATCH("Event")
}

// ---------------------------------------------------------------- graphs
// (id of a graph whose memory pool and recording stream it shares, or 0)
NBIT_FN(graphCreate) {
  Args a(env, info);
  NBIT_TRY
  auto c = a.number(0) > 0 ? graphsHere().at(a.number(0), "graph").sibling() : Capture::alone();
  return toJs(env, graphsHere().add(std::move(c)));
  NBIT_CATCH("CudaGraph")
}
// (id): from here to graphEnd everything on this thread's stream is recorded, not run
NBIT_FN(graphBegin) {
  Args a(env, info);
  NBIT_TRY
  Capture& c = graphsHere().at(a.number(0), "graph");
  c10::cuda::device_synchronize();
  c.before = c10::cuda::getCurrentCUDAStream();
  c10::cuda::setCurrentCUDAStream(c.side);
  try {
    c.graph.capture_begin(c.pool, cudaStreamCaptureModeThreadLocal);
  } catch (...) {
    c10::cuda::setCurrentCUDAStream(c.before);
    throw;
  }
  recordingGraph = graphSteps = true;
  return nullptr;
  NBIT_CATCH("CudaGraph")
}
NBIT_FN(graphEnd) {
  Args a(env, info);
  NBIT_TRY
  Capture& c = graphsHere().at(a.number(0), "graph");
  struct Restore {
    Capture& c;
    ~Restore() {
      recordingGraph = graphSteps = false;
      c10::cuda::setCurrentCUDAStream(c.before);
    }
  } restore{c};
  c.graph.capture_end();
  return nullptr;
  NBIT_CATCH("CudaGraph")
}
NBIT_FN(graphReplay) {
  Args a(env, info);
  NBIT_TRY
  graphsHere().at(a.number(0), "graph").graph.replay();
  return nullptr;
  NBIT_CATCH("CudaGraph")
}
NBIT_FN(graphFree) {
  Args a(env, info);
  NBIT_TRY
  graphsHere().remove(a.number(0));
  return nullptr;
  NBIT_CATCH("CudaGraph")
}
// (id): run `fn` warm-ups on the same side stream that the capture will use
NBIT_FN(graphSideStream) {
  Args a(env, info);
  NBIT_TRY
  Capture& c = graphsHere().at(a.number(0), "graph");
  graphSteps = a.flag(1);
  if (graphSteps) {
    c.before = c10::cuda::getCurrentCUDAStream();
    at::cuda::CUDAEvent done;
    done.record(c.before);
    done.block(c.side);
    c10::cuda::setCurrentCUDAStream(c.side);
  } else {
    at::cuda::CUDAEvent done;
    done.record(c.side);
    done.block(c.before);
    c10::cuda::setCurrentCUDAStream(c.before);
  }
  return nullptr;
  NBIT_CATCH("CudaGraph")
}

std::vector<Entry> cudaEntries() {
  return {{"cudaProperties", cudaProperties}, {"cudaVersions", cudaVersions}, {"cudaSynchronize", cudaSynchronize_}, {"cudaCurrentDevice", cudaCurrentDevice}, {"cudaSetDevice", cudaSetDevice_},
          {"cudaMemory", cudaMemory}, {"cudaResetPeak", cudaResetPeak}, {"cudaEmptyCache", cudaEmptyCache}, {"cudaClearWorkspaces", cudaClearWorkspaces}, {"cudaSyncDebug", cudaSyncDebug}, {"cudaMemoryFraction", cudaMemoryFraction}, {"streamQuery", streamQuery}, {"streamUses", streamUses},
          {"streamCreate", streamCreate}, {"streamCurrent", streamCurrent}, {"streamSetCurrent", streamSetCurrent}, {"streamSynchronize", streamSynchronize}, {"streamFree", streamFree},
          {"eventCreate", eventCreate}, {"eventRecord", eventRecord}, {"eventWait", eventWait}, {"eventSynchronize", eventSynchronize}, {"eventQuery", eventQuery}, {"eventElapsed", eventElapsed}, {"eventFree", eventFree},
          {"graphCreate", graphCreate}, {"graphBegin", graphBegin}, {"graphEnd", graphEnd}, {"graphReplay", graphReplay}, {"graphFree", graphFree}, {"graphSideStream", graphSideStream}};
}

}  // namespace nbit
