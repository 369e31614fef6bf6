// Recorded graphs whose small memsets are kernels.
#pragma once
#include <cuda_runtime_api.h>

namespace nbit {

/**
 * Puts a kernel in the place of every small memset of a graph that is not instantiated yet. cuBLAS and cuDNN clear
 * counters before products and attention; between kernels of a replayed graph such a memset takes some 6 µs of the
 * device, a kernel 2. What the driver does not let change stays as it is. Returns how many were replaced.
 */
int memsetsToKernels(cudaGraph_t graph);

}  // namespace nbit
