// Matrix products in 16 bits with float32 sums, rounded once.
#pragma once
#include "cpu/kernels.h"

#include <ATen/core/Tensor.h>

#include <optional>

namespace nbit::cpu {

/** left · right [+ added], of matrices whose elements are first rounded to `dtype` where they are float32. Undefined
 * where that is not computed here. `result`: float32 or `dtype`. */
at::Tensor roundedProduct(const at::Tensor& left, const at::Tensor& right, const at::Tensor& added,
                          c10::ScalarType dtype, c10::ScalarType result);

/** Plain numbers: `out` (float32, or the 16 bits of `kernels`) = left · right, on this thread and its idle ones. */
void multiply(const ProductKernels& kernels, const Operand& left, const Operand& right, const Result& result, int64_t m,
              int64_t n, int64_t depth);

}  // namespace nbit::cpu
