// What a profiler hears of the memory of CPU tensors.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace nbit {

/** Some profiler of this process observes memory: allocations and frees cost a look at this, else. */
extern std::atomic<bool> memoryReported;

/** `live`: bytes of all CPU tensors from then on. */
void reportAllocation(void* data, size_t bytes, int64_t live);
void reportFree(void* data, int64_t live);

}  // namespace nbit
