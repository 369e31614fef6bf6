// What a memset of a recorded graph does, as a kernel.
#include "cuda/kernels/common.cuh"

// `count` elements of SIZE bytes.
extern "C" __global__ void __launch_bounds__(256) fill(void* to, u32 value, i64 count) {
#if SIZE == 1
  typedef u8 Element;
#elif SIZE == 2
  typedef u16 Element;
#else
  typedef u32 Element;
#endif
  const i64 step = (i64)gridDim.x * 256;
  for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < count; i += step) static_cast<Element*>(to)[i] = (Element)value;
}
