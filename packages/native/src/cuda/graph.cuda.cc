// Whole steps as CUDA graphs.
#include "cuda/graph.h"

#include "amp/weight_casts.h"
#include "cuda/branches.h"
#include "cuda/memset_nodes.h"
#include "cuda/registry.h"
#include "entries/graph.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>

namespace nbit {
namespace {
/**
 * Where this thread's graphs are warmed up and recorded: one stream a device, for as long as the thread lives. Streams
 * of libtorch's pool would be another for each graph, and with each came workspaces of cuBLAS (some 32 MiB) that nobody
 * gives back.
 */
c10::cuda::CUDAStream recordingStream() {
  thread_local std::map<c10::DeviceIndex, cudaStream_t> made;
  const c10::DeviceIndex device = c10::cuda::current_device();
  cudaStream_t& stream = made[device];
  if (stream == nullptr) C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return c10::cuda::getStreamFromExternal(stream, device);
}
struct Capture {
  at::cuda::CUDAGraph graph{/*keep_graph=*/true};  // what is recorded is changed before it is made executable
  decltype(at::cuda::graph_pool_handle()) pool;
  c10::cuda::CUDAStream side;  // where it is recorded: of one pool, memory is reused on one stream only
  c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream();
  std::vector<RecordedCast> casts;  // that it reads

  Capture(decltype(pool) memory, c10::cuda::CUDAStream stream) : pool(memory), side(stream) { ++alive; }
  ~Capture() { --alive; }
  static inline std::atomic<int> alive{0};  // of all threads
  static std::unique_ptr<Capture> alone() {
    return std::make_unique<Capture>(at::cuda::graph_pool_handle(), recordingStream());
  }
  std::unique_ptr<Capture> sibling() const { return std::make_unique<Capture>(pool, side); }
};
// Those of an environment. At the end of the process they stay: the driver may be gone before them.
const EnvironmentLocal<Registry<Capture>> graphsHere;
}  // namespace

int liveGraphs() { return Capture::alive; }

double entries::graphCreate(const Args& a) {
  auto c = a.number(0) > 0 ? graphsHere().at(a.number(0), "graph").sibling() : Capture::alone();
  return graphsHere().add(std::move(c));
}
void entries::graphBegin(const Args& a) {
  Capture& c = graphsHere().at(a.number(0), "graph");
  beginRecordedCasts(c.casts);
  c10::cuda::device_synchronize();
  c.before = c10::cuda::getCurrentCUDAStream();
  c10::cuda::setCurrentCUDAStream(c.side);
  try {
    c.graph.capture_begin(c.pool, cudaStreamCaptureModeThreadLocal);
  } catch (...) {
    c10::cuda::setCurrentCUDAStream(c.before);
    endRecordedCasts(c.casts);
    throw;
  }
  recordingGraph = graphSteps = true;
}
void entries::graphEnd(const Args& a) {
  Capture& c = graphsHere().at(a.number(0), "graph");
  struct Restore {
    Capture& c;
    ~Restore() {
      recordingGraph = graphSteps = false;
      endRecordedCasts(c.casts);
      c10::cuda::setCurrentCUDAStream(c.before);
    }
  } restore{c};
  c.graph.capture_end();
  memsetsToKernels(c.graph.raw_cuda_graph());
  c.graph.instantiate();
}
void entries::graphReplay(const Args& a) {
  Capture& c = graphsHere().at(a.number(0), "graph");
  refreshRecordedCasts(c.casts);
  c.graph.replay();
  replayedRecordedCasts(c.casts);
}
void entries::graphFree(const Args& a) { graphsHere().remove(a.number(0)); }
void entries::graphSideStream(const Args& a) {
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
}

}  // namespace nbit
