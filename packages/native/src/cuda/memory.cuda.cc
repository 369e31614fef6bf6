// Memory of CUDA devices.
#include "binding/core.h"
#include "cuda/graph.h"
#include "entries/cuda.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {

using c10::CachingAllocator::StatType;
using c10::cuda::CUDACachingAllocator::DeviceStats;

void entries::cudaMemory(const Args& a) {
  const auto index = a.deviceIndex(0);
  const c10::cuda::CUDAGuard guard(index);
  const auto all = static_cast<size_t>(StatType::AGGREGATE);
  DeviceStats s{};
  if (c10::cuda::CUDACachingAllocator::get()->initialized()) s = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  const double values[] = {static_cast<double>(s.allocated_bytes[all].current),
                           static_cast<double>(s.allocated_bytes[all].peak),
                           static_cast<double>(s.reserved_bytes[all].current),
                           static_cast<double>(s.reserved_bytes[all].peak),
                           static_cast<double>(free),
                           static_cast<double>(total),
                           static_cast<double>(s.num_alloc_retries),
                           static_cast<double>(s.num_ooms)};
  for (size_t i = 0; i < 8; i++) js->buffer[i] = values[i];
}
void entries::cudaResetPeak(const Args& a) { c10::cuda::CUDACachingAllocator::resetPeakStats(a.deviceIndex(0)); }
void entries::cudaEmptyCache() { c10::cuda::CUDACachingAllocator::emptyCache(); }
bool entries::cudaClearWorkspaces() {
  const bool unused = liveGraphs() == 0;
  if (unused) at::cuda::clearCublasWorkspaces();
  return unused;
}
void entries::cudaMemoryFraction(const Args& a) {
  const auto index = a.deviceIndex(1);
  const c10::cuda::CUDAGuard guard(index);
  at::globalContext().lazyInitDevice(at::kCUDA);
  c10::cuda::CUDACachingAllocator::setMemoryFraction(a.number(0), index);
}

}  // namespace nbit
