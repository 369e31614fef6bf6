// Work of one node that has no order among itself, side by side on a GPU.
#pragma once
#include <c10/core/Device.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/FunctionRef.h>

#include <atomic>

namespace nbit {

/**
 * Steps are warmed up for a CUDA graph or recorded into one. There launches cost the host nothing, so what small
 * kernels leave idle of the GPU may be used by others beside them; eager steps would only pay for more launches.
 */
extern std::atomic<bool> graphSteps;

using Work = c10::function_ref<void()>;

/**
 * Runs all parts: the first on the current stream, the others on streams of their own, which begin where the current
 * one is and for which it waits at the end. Absent (null) in an addon built for a libtorch without CUDA.
 *
 * Memory needs no record of its users: what parts allocate belongs to their streams, whose later work always begins
 * after the current stream's.
 */
__attribute__((weak)) void sideBySide(c10::Device device, c10::ArrayRef<Work> parts);

}  // namespace nbit
