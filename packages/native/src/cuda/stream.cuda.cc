// CUDA streams and events.
#include "cuda/registry.h"
#include "entries/stream.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

namespace nbit {
namespace {
// Those of an environment. At the end of the process they stay: the driver may be gone before them.
const EnvironmentLocal<Registry<c10::cuda::CUDAStream>> streamsHere;
const EnvironmentLocal<Registry<at::cuda::CUDAEvent>> eventsHere;
}  // namespace

c10::cuda::CUDAStream& streamAt(double id) { return streamsHere().at(id, "stream"); }

double entries::streamCreate(const Args& a) {
  return streamsHere().add(
      std::make_unique<c10::cuda::CUDAStream>(c10::cuda::getStreamFromPool(a.flag(1), a.deviceIndex(0))));
}
double entries::streamCurrent(const Args& a) {
  return streamsHere().add(std::make_unique<c10::cuda::CUDAStream>(c10::cuda::getCurrentCUDAStream(a.deviceIndex(0))));
}
void entries::streamSetCurrent(const Args& a) { c10::cuda::setCurrentCUDAStream(streamAt(a.number(0))); }
void entries::streamSynchronize(const Args& a) { streamAt(a.number(0)).synchronize(); }
bool entries::streamQuery(const Args& a) { return streamAt(a.number(0)).query(); }
void entries::streamUses(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  if (!t.is_cuda()) fail("ERR_ARGUMENT", "expected a tensor on a CUDA device");
  c10::cuda::CUDACachingAllocator::recordStream(t.storage().data_ptr(), streamAt(a.number(1)));
}
void entries::streamFree(const Args& a) { streamsHere().remove(a.number(0)); }
double entries::eventCreate(const Args& a) {
  return eventsHere().add(std::make_unique<at::cuda::CUDAEvent>(a.flag(0) ? cudaEventDefault : cudaEventDisableTiming));
}
void entries::eventRecord(const Args& a) {
  at::cuda::CUDAEvent& e = eventsHere().at(a.number(0), "event");
  if (a.number(1) > 0) e.record(streamAt(a.number(1)));
  else e.record();
}
void entries::eventWait(const Args& a) {
  eventsHere()
      .at(a.number(0), "event")
      .block(a.number(1) > 0 ? streamAt(a.number(1)) : c10::cuda::getCurrentCUDAStream());
}
void entries::eventSynchronize(const Args& a) { eventsHere().at(a.number(0), "event").synchronize(); }
bool entries::eventQuery(const Args& a) { return eventsHere().at(a.number(0), "event").query(); }
double entries::eventElapsed(const Args& a) {
  return static_cast<double>(eventsHere().at(a.number(0), "event").elapsed_time(eventsHere().at(a.number(1), "event")));
}
void entries::eventFree(const Args& a) { eventsHere().remove(a.number(0)); }

}  // namespace nbit
