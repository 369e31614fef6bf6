// Streams for parts of a node that run side by side.
#include "cuda/branches.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>
#include <vector>

namespace nbit {
namespace {

// Not of libtorch's pool, which hands its streams out to others as well: nobody else allocates on these. They live as
// long as the process.
c10::cuda::CUDAStream branch(c10::DeviceIndex device, size_t i) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made = *new std::map<c10::DeviceIndex, std::vector<cudaStream_t>>;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& own = made[device];
  while (own.size() <= i) {
    cudaStream_t stream = nullptr;
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    own.push_back(stream);
  }
  return c10::cuda::getStreamFromExternal(own[i], device);
}

}  // namespace

void sideBySide(c10::Device device, c10::ArrayRef<Work> parts) {
  const c10::cuda::CUDAGuard on(device);
  const auto current = c10::cuda::getCurrentCUDAStream(device.index());
  at::cuda::CUDAEvent begun;
  begun.record(current);
  std::vector<at::cuda::CUDAEvent> ended(parts.size());
  for (size_t i = 1; i < parts.size(); i++) {
    const auto stream = branch(device.index(), i - 1);
    begun.block(stream);
    const c10::cuda::CUDAStreamGuard guard(stream);
    parts[i]();
    ended[i].record(stream);
  }
  parts[0]();
  for (size_t i = 1; i < parts.size(); i++) ended[i].block(current);
}

}  // namespace nbit
