// What JavaScript holds by a number.
#pragma once
#include "binding/registry.h"

#include <c10/cuda/CUDAStream.h>

namespace nbit {

/** The stream that JavaScript knows by this id. */
c10::cuda::CUDAStream& streamAt(double id);

}  // namespace nbit
