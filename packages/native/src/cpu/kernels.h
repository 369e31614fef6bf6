// Which CPU kernels run for 16-bit operators: ours ("fast") or libtorch's.
#pragma once
#include "cpu/attention.h"
#include "cpu/norm.h"
#include "cpu/product.h"

#include <c10/core/ScalarType.h>

#include <atomic>

namespace nbit::cpu {

/** Of the whole process. Float32 and float64 run on libtorch's kernels in either case. */
extern std::atomic<bool> fast;

enum class Way : uint8_t {
  libtorch,  // its kernel
  widened,   // libtorch's float32 kernel between two casts
  own,       // productsOf(dtype)
};

/** How a product of so many multiply-adds in 16 bits is computed. The same in every run on the same kind of machine. */
Way wayOf(c10::ScalarType dtype, double multiplyAdds);

/** Whether 16-bit operators without a kernel of ours go through float32: libtorch has only plain loops for them. */
bool widens(c10::ScalarType dtype);

/** Kernels of attention in 16 bits; null: libtorch's. */
const AttentionKernels* attentionOf(c10::ScalarType dtype);

/** Kernels of batch norm in 16 bits; null: libtorch's. */
const NormKernels* normOf(c10::ScalarType dtype);

/** The kernels of `Way::own`. */
const ProductKernels& productsOf(c10::ScalarType dtype);

}  // namespace nbit::cpu
